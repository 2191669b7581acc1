"""RunPod as the SDK sees it: the REST API for endpoints, and the API of their jobs.

Jobs run on the worker of this machine; unlike ours, the API has no events, answers a first request with
"try again later", as the platform does under load, and knows nothing of what a worker has kept: a job whose
modules are not there is taken, and fails.
"""

from __future__ import annotations

import itertools
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from farcall import EndpointError
from farcall._local import default

# The job of a worker that misses its modules.
_NO_MODULES = "without-modules"


class FakeRunPod:
    """The account: `things` by kind and id, and every request that changed something."""

    def __init__(self) -> None:
        self.things: dict[str, dict[str, dict[str, Any]]] = {
            k: {} for k in ("endpoints", "templates", "networkvolumes")
        }
        self.changes: list[tuple[str, str, Any]] = []
        self.refusals = 0
        self.ids = (f"id{number}" for number in itertools.count(1))
        account = self

        class Handler(_Handler):
            runpod = account

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> FakeRunPod:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    runpod: FakeRunPod

    def _answer(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        if self.headers.get("Authorization") != "Bearer key-of-the-account":
            return self._answer(401, {"error": "unauthorized"})
        if self.runpod.refusals:
            self.runpod.refusals -= 1
            return self._answer(429, {"error": "slow down"})
        version, kind, *rest = self.path.strip("/").split("/")
        if version == "v1":
            return self._manage(kind, rest[0] if rest else None, body)
        if kind not in self.runpod.things["endpoints"] or rest[0] in ("events", "worker"):
            return self._answer(404, {"error": "not found"})
        return self._forward("/".join(rest), body)

    def _manage(self, kind: str, identity: str | None, body: Any) -> None:
        things = self.runpod.things[kind]
        if self.command != "GET":
            self.runpod.changes.append((self.command, kind, body))
        if self.command == "POST":
            identity = next(self.runpod.ids)
            things[identity] = {**body, "id": identity}
        elif self.command == "PATCH" and identity:
            things[identity].update(body)
        elif self.command == "DELETE" and identity:
            things.pop(identity)
            return self._answer(200, None)
        return self._answer(200, things[identity] if identity else list(things.values()))

    def _forward(self, path: str, body: Any) -> None:
        if path == f"status/{_NO_MODULES}":
            output = {"success": False, "error": "not here", "failure": {"kind": "modules_missing"}}
            return self._answer(200, {"id": _NO_MODULES, "status": "COMPLETED", "output": output})
        transport = default().client()._transport
        try:
            answer = transport.call(self.command, f"/local/{path}", body)
        except EndpointError as error:
            if error.status == 409:
                return self._answer(200, {"id": _NO_MODULES, "status": "IN_QUEUE"})
            return self._answer(error.status or 502, {"error": str(error)})
        return self._answer(200, answer)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve

    def log_message(self, *_: object) -> None:
        """Says nothing."""
