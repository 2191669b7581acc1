"""A worker on this machine, started when first needed.

All processes of this user that ask for the same (interpreter, directory, settings) share one. It listens on
loopback under a key that only this user can read, and ends by itself when nobody has called for a while.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._errors import EndpointError
from ._process import (
    START_TIMEOUT_S,
    executable,
    free_port,
    is_running,
    listens,
    wait_until_it_listens,
)
from ._resource import Resource

if TYPE_CHECKING:
    from ._client import Client

_ENDPOINT = "local"
# Another program may take the free port that was found before the worker does.
_START_TRIES = 3


class Local(Resource):
    """Workers on this machine: what calls go to that name no resource.

    `concurrency` is how many calls run at once (the number of processors, at most 4, by default), `python`
    the interpreter they run in (this one), `idle_timeout` how many seconds the worker stays when nobody
    calls, `env` what it has in its environment beside this process's.
    """

    def __init__(
        self,
        *,
        concurrency: int | None = None,
        python: str | None = None,
        idle_timeout: int = 300,
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._concurrency = concurrency or min(4, os.cpu_count() or 1)
        self._interpreter = python or sys.executable
        self._idle_timeout = idle_timeout
        self._env = dict(env or {})
        self._known: tuple[Path, Path] | None = None

    def __repr__(self) -> str:
        return f"Local(concurrency={self._concurrency})"

    def submit(self, body: dict[str, Any]) -> tuple[Client, str]:
        """Submits a job, starting the worker if it has ended meanwhile."""
        try:
            return super().submit(body)
        except EndpointError as error:
            if not error.is_refused:
                raise
            self.forget()
            return super().submit(body)

    def begin(self) -> None:
        """Starts the worker, if it is not there: it finds its interpreter while we import what calls need."""
        self.client()

    def stop(self) -> None:
        """Ends the worker, for all who share it. The next call starts another one."""
        self.forget()
        directory = self._directory(executable())
        with _locked(directory / "lock"):
            state = _read(directory)
            if state and _is_alive(state):
                os.kill(state["pid"], 15)
                deadline = time.monotonic() + START_TIMEOUT_S
                while is_running(state["pid"]) and time.monotonic() < deadline:
                    time.sleep(0.01)

    def files(self) -> Path:
        """Where large buffers go."""
        return self._directory(executable()) / "files"

    def _python(self) -> tuple[int, int] | None:
        return sys.version_info[:2] if self._interpreter == sys.executable else super()._python()

    def _connect(self) -> Client:
        program = executable()
        directory = self._directory(program)
        with _locked(directory / "lock"):
            state = _read(directory)
            if not state or not _is_alive(state):
                state = self._start(program, directory)
            (directory / "files").mkdir(mode=0o700, exist_ok=True)
        return _client_of(state)

    def _directory(self, program: str) -> Path:
        if self._known is not None and self._known[0] == Path.cwd():
            return self._known[1]
        identity = [
            program,
            Path(program).stat().st_mtime_ns,
            self._interpreter,
            str(Path.cwd()),
            self._concurrency,
            self._idle_timeout,
            sorted(self._env.items()),
        ]
        key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
        cache = os.environ.get("FARCALL_CACHE_DIR")
        if not cache:
            cache = str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "farcall")
        directory = Path(cache) / "sdk" / key
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._known = (Path.cwd(), directory)
        return directory

    def _start(self, program: str, directory: Path) -> dict[str, Any]:
        shutil.rmtree(directory / "files", ignore_errors=True)  # of clients that were killed
        for attempt in range(_START_TRIES):
            key, port = secrets.token_urlsafe(24), free_port()
            process = self._spawn(program, directory, key, port)
            state = {"pid": process.pid, "port": port, "key": key}
            if wait_until_it_listens(process, port):
                process.returncode = 0  # it outlives us: nobody here waits for its end
                _write(directory, state)
                return state
            said = (directory / "log.txt").read_text(errors="replace").strip()
            if "cannot listen" not in said or attempt == _START_TRIES - 1:
                raise EndpointError(f"the local worker does not start: {said[-2000:] or 'it says nothing'}")
        raise AssertionError("the last attempt returns or raises")

    def _spawn(self, program: str, directory: Path, key: str, port: int) -> subprocess.Popen[bytes]:
        settings = {
            "FARCALL_API_KEY": key,
            "FARCALL_PYTHON": self._interpreter,
            "FARCALL_CONCURRENCY": str(self._concurrency),
            "FARCALL_IDLE_EXIT_S": str(self._idle_timeout),
            "FARCALL_DATA_DIR": str(directory / "data"),
            # What is sent stays on this machine: memory is the limit.
            "FARCALL_RUN_BODY_MB": "2048",
            "FARCALL_MAX_RESULT_MB": "2048",
        }
        with (directory / "log.txt").open("wb") as log:
            return subprocess.Popen(
                [program, "serve", "--mode", "local", "--host", "127.0.0.1", "--port", str(port)],
                env={**os.environ, **settings, **self._env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


@lru_cache(maxsize=1)
def default() -> Local:
    """Where calls go that name no resource."""
    return Local()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(directory: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads((directory / "state.json").read_text())
    except (OSError, ValueError):
        return None
    return state


def _write(directory: Path, state: dict[str, Any]) -> None:
    new = directory / "state.json.new"
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(state, file)
    new.rename(directory / "state.json")


def _client_of(state: dict[str, Any]) -> Client:
    from ._client import Client  # noqa: PLC0415  (HTTP is imported while the worker starts)

    return Client(f"http://127.0.0.1:{state['port']}/v2", _ENDPOINT, state["key"])


def _is_alive(state: dict[str, Any]) -> bool:
    """Whether the worker is there: only it knows the key."""
    if not is_running(state["pid"]) or not listens(state["port"]):
        return False
    try:
        _client_of(state).health()
    except EndpointError:
        return False
    return True
