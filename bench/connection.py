"""A client that costs little: raw sockets, requests built beforehand."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Pause between attempts to reach a server that is not there yet: next to nothing of the times measured.
POLL_S = 0.0002

# An answer that takes longer does not come. Seconds.
TIMEOUT_S = 60.0

# Has no body, whatever its headers say.
NO_CONTENT = 204

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """A response whose body has a length."""

    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self.socket.close()

    def exchange(self, request: bytes) -> Answer:
        """Sends a request as it is and reads the answer to its end."""
        self.socket.sendall(request)
        received = self.receive(1 << 16)
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self.receive(1 << 16)
        status = int(received[9:12])
        found = LENGTH.search(received, 0, end)
        length = end + 4 + (int(found[1]) if found and status != NO_CONTENT else 0)
        if len(received) < length:
            pieces, missing = [received], length - len(received)
            while missing > 0:
                pieces.append(self.receive(min(missing, 1 << 20)))
                missing -= len(pieces[-1])
            received = b"".join(pieces)
        return Answer(status, received[end + 4 :])

    def receive(self, most: int) -> bytes:
        received = self.socket.recv(most)
        if not received:
            raise ConnectionResetError("the server closed the connection")
        return received


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def post(path: str, document: object) -> bytes:
    body = json.dumps(document, separators=(",", ":")).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def poll(port: int, request: bytes, accepted: Sequence[bytes], deadline_s: float) -> float:
    """Asks until an answer with status 200 holds one of `accepted`; returns the time that was."""
    deadline = time.perf_counter() + deadline_s
    while time.perf_counter() < deadline:
        try:
            connection = Connection(port)
            try:
                while time.perf_counter() < deadline:
                    answer = connection.exchange(request)
                    if answer.status == 200 and any(part in answer.body for part in accepted):
                        return time.perf_counter()
                    time.sleep(POLL_S)
            finally:
                connection.close()
        except OSError:
            time.sleep(POLL_S)
    raise TimeoutError(f"no good answer within {deadline_s} s")
