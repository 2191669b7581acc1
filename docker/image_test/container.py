"""A container of the image under test: started, asked, watched, and removed."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from .engine import Engine, Failed
from .images import certificates

# Where the machine's certificates are in a container that installs packages.
_CERTIFICATES = "/certificates.pem"


class Container:
    """Runs until the `with` block ends. `options` go to `docker run`, `arguments` to farcall."""

    def __init__(
        self, engine: Engine, image: str, options: tuple[str, ...] = (), arguments: tuple[str, ...] = ()
    ) -> None:
        self._engine = engine
        self.id = engine.run("run", "--detach", *options, image, *arguments)

    def __enter__(self) -> Container:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(f"    the container's log ends so:\n{self.log()[-3000:]}", flush=True)
        self._engine.attempt("rm", "--force", "--volumes", self.id)

    def inspect(self, field: str) -> Any:
        """A field of the container's description, such as `State.ExitCode`."""
        return json.loads(self._engine.run("inspect", "--format", "{{json ." + field + "}}", self.id))

    def log(self) -> str:
        """Both streams so far."""
        done = self._engine.attempt("logs", self.id)
        return done.stdout + done.stderr

    def run(self, *command: str) -> str:
        """Runs a command in it that has to work."""
        return self._engine.run("exec", self.id, *command)

    def stop(self, seconds: int = 30) -> int:
        """SIGTERM; SIGKILL after so many seconds. Returns the exit code."""
        self._engine.run("stop", "--time", str(seconds), self.id)
        return int(self.inspect("State.ExitCode"))

    def wait(self) -> int:
        """Waits for its end. Returns the exit code."""
        return int(self._engine.run("wait", self.id, timeout=120))

    def ask(
        self, method: str, path: str, body: Any = None, *, port: int = 8000, headers: Mapping[str, str] = {}
    ) -> tuple[int, Any]:
        """One HTTP request on a connection of its own. Returns status and decoded body."""
        address = str(self.inspect("NetworkSettings.IPAddress"))
        return ask(address, port, method, path, body, headers)

    def call(self, request: dict[str, Any], port: int = 80) -> dict[str, Any]:
        """A call by `/execute`. Returns the `FunctionResponse`."""
        status, answer = self.ask("POST", "/execute", request, port=port)
        if status != 200:
            raise Failed(f"/execute answers {status}: {answer}")
        return dict(answer)

    def await_ready(self, port: int = 80) -> None:
        """Waits until `/ping` says so."""

        def ready() -> bool:
            try:
                return self.ask("GET", "/ping", port=port)[0] == 200
            except OSError:
                if not self.inspect("State.Running"):
                    raise Failed(f"the container has ended: {self.log()}") from None
                return False

        until(ready, "the worker to be ready")


def ask(
    address: str, port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] = {}
) -> tuple[int, Any]:
    """One HTTP request on a connection of its own. Returns status and decoded body."""
    connection = http.client.HTTPConnection(address, port, timeout=120)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, dict(headers))
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else None
    finally:
        connection.close()


def until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.02)


def on_load_balancer() -> tuple[str, ...]:
    """Options that make it the load-balancer worker, on port 80."""
    return ("--env", "RUNPOD_ENDPOINT_ID=test")


def trusting() -> tuple[str, ...]:
    """Options for a container that downloads: the machine's certificates, if it has its own."""
    path = certificates()
    if path is None:
        return ()
    variables = ("SSL_CERT_FILE", "PIP_CERT")
    options = [option for name in variables for option in ("--env", f"{name}={_CERTIFICATES}")]
    return ("--volume", f"{path}:{_CERTIFICATES}:ro", *options)


def function(name: str, code: str, **fields: Any) -> dict[str, Any]:
    """A request for a function with a JSON result."""
    return {"function_name": name, "function_code": code, "serialization_format": "json", **fields}
