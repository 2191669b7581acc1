"""HTTP to one server: kept connections, retries where they are safe, server-sent events.

The standard library's `http.client`, and not httpx: importing that takes longer than `import farcall` may,
and a call to a worker on this machine spends more time in it than in everything else.
"""

from __future__ import annotations

import json
import os
import random
import select
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ._errors import EndpointError

# Answers that say "not now", before anything was done.
_NOT_NOW = {429, 502, 503, 504}
_TRIES = 5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    name: str
    id: str
    data: str


class Transport:
    """Requests to one server, from any thread."""

    def __init__(self, base_url: str, api_key: str | None, timeout_s: float = 120.0) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EndpointError(f"`{base_url}` is no http or https URL")
        self._https, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._path = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self._headers = {"Content-Type": "application/json", "User-Agent": "farcall-sdk"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._idle: list[HTTPConnection] = []
        self._process = os.getpid()
        self._lock = threading.Lock()
        self.name = f"{parts.scheme}://{parts.netloc}"

    def __del__(self) -> None:
        for connection in getattr(self, "_idle", []):
            connection.close()

    def call(self, method: str, path: str, body: Any = None, *, repeatable: bool | None = None) -> Any:
        """The answer's JSON. Sent again where nothing can have been done, or where that does not matter."""
        data = None if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        repeatable = method == "GET" if repeatable is None else repeatable
        for attempt in range(_TRIES):
            is_last = attempt == _TRIES - 1
            try:
                response, connection = self._send(method, path, data, {})
                text = response.read()
            except (OSError, HTTPException) as error:
                # Refused: it never arrived.
                if is_last or not (repeatable or isinstance(error, ConnectionRefusedError)):
                    raise _unreachable(self.name, error) from None
                time.sleep(_pause(attempt))
                continue
            self._give_back(connection, response)
            if response.status in _NOT_NOW and not is_last and (repeatable or response.status in (429, 503)):
                time.sleep(_pause(attempt, response.headers.get("Retry-After")))
                continue
            if response.status >= 400:
                raise EndpointError(_refusal(self.name, response.status, text), response.status)
            return json.loads(text) if text else None
        raise AssertionError("the last attempt returns or raises")

    def events(self, path: str, after: str | None) -> Iterator[Event]:
        """Server-sent events until the server ends them. `EndpointError` has the status if there are none."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        response, connection = self._send("GET", path, None, headers)
        if response.status != 200:
            text = response.read()
            self._give_back(connection, response)
            raise EndpointError(_refusal(self.name, response.status, text), response.status)
        is_over = False
        try:
            yield from _events(response)
            is_over = True
        finally:
            if is_over:
                self._give_back(connection, response)
            else:
                connection.close()

    def _send(
        self, method: str, path: str, data: bytes | None, headers: dict[str, str]
    ) -> tuple[HTTPResponse, HTTPConnection]:
        connection = self._take()
        try:
            connection.request(method, self._path + path, data, {**self._headers, **headers})
            return connection.getresponse(), connection
        except BaseException:
            connection.close()
            raise

    def _take(self) -> HTTPConnection:
        with self._lock:
            if self._process != os.getpid():  # a forked child: its parent goes on using them
                self._process, self._idle = os.getpid(), []
            while self._idle:
                connection = self._idle.pop()
                # Readable without having been asked: the server has closed it.
                if connection.sock and not select.select([connection.sock], [], [], 0)[0]:
                    return connection
                connection.close()
        return self._connect()

    def _connect(self) -> HTTPConnection:
        kind = HTTPSConnection if self._https else HTTPConnection
        proxy = getproxies().get("https") if self._https and not proxy_bypass(self._host) else None
        if proxy:
            at = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
            connection = kind(at.hostname or "", at.port, timeout=self._timeout_s)
            connection.set_tunnel(self._host, self._port)
            return connection
        return kind(self._host, self._port, timeout=self._timeout_s)

    def _give_back(self, connection: HTTPConnection, response: HTTPResponse) -> None:
        if response.will_close:
            connection.close()
            return
        with self._lock:
            self._idle.append(connection)


def _events(response: HTTPResponse) -> Iterator[Event]:
    name, event_id = "message", ""
    data: list[str] = []
    for raw in response:
        line = raw.rstrip(b"\r\n").decode()
        if not line:
            if data:
                yield Event(name, event_id, "\n".join(data))
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "id":
            event_id = value
        elif field == "data":
            data.append(value)


def _pause(attempt: int, told: str | None = None) -> float:
    if told and told.isdigit():
        return min(float(told), _LONGEST_PAUSE_S)
    longest = min(_FIRST_PAUSE_S * float(2**attempt), _LONGEST_PAUSE_S)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  (so that clients do not come back all at once)


def _unreachable(name: str, error: Exception) -> EndpointError:
    is_refused = isinstance(error, ConnectionRefusedError)
    reason = "nobody listens there" if is_refused else str(error) or type(error).__name__
    hint = "\nhint: check the address, and that the endpoint runs"
    return EndpointError(f"{name} cannot be reached: {reason}{hint}", is_refused=is_refused)


def _refusal(name: str, status: int, text: bytes) -> str:
    try:
        said = json.loads(text).get("error") or text.decode()
    except (ValueError, AttributeError):
        said = text.decode(errors="replace")[:500]
    hint = "\nhint: give the endpoint's api_key" if status == 401 and "hint" not in str(said) else ""
    return f"{name} refuses ({status}): {said}{hint}"
