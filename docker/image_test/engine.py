"""A Docker engine: the one that is there, or one of our own for as long as the tests run."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# What images are kept in between runs, where the engine is ours.
_DATA = Path.home() / ".cache/farcall-image-test"
_INSTALL_HINT = "hint: apt-get install docker.io debootstrap"


class NoEngine(Exception):
    """There is no engine, and none can be started. Its text is why, for a person."""


class Failed(Exception):
    """A command that had to work did not."""


@dataclass(frozen=True)
class Engine:
    """A client that reaches an engine."""

    client: str
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """The variables that lead a program to this engine."""
        # What `make` was told is not for the `make` that is called from here.
        own = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MFLAGS"}}
        return {**own, **self.variables}

    def run(self, *arguments: str, timeout: float = 300) -> str:
        """Runs a command of the client that has to work. Returns its standard output."""
        done = self.attempt(*arguments, timeout=timeout)
        if done.returncode != 0:
            raise Failed(f"docker {' '.join(arguments[:3])}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()

    def attempt(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Runs a command of the client, however it ends."""
        return subprocess.run(
            [self.client, *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """The engine that is there. Where there is none, root starts one on a socket of its own, and ends it."""
    client = shutil.which("docker")
    if client is None:
        raise NoEngine(f"there is no docker on PATH\n{_INSTALL_HINT}")
    there = Engine(client)
    if there.attempt("info", timeout=30).returncode == 0:
        yield there
        return
    daemon = shutil.which("dockerd")
    if daemon is None or os.geteuid() != 0:
        why = "only root starts one" if daemon else "there is no dockerd on PATH to start"
        raise NoEngine(f"no Docker engine answers, and {why}\n{_INSTALL_HINT}")
    with tempfile.TemporaryDirectory(prefix="farcall-docker-") as directory:
        yield from _own(client, daemon, Path(directory))


def _own(client: str, daemon: str, directory: Path) -> Iterator[Engine]:
    _DATA.mkdir(parents=True, exist_ok=True)
    host = f"unix://{directory}/engine.sock"
    print(f"no Docker engine answers: starting one, which keeps images in {_DATA}", flush=True)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                daemon,
                *("--host", host),
                *("--data-root", str(_DATA)),
                *("--exec-root", str(directory / "exec")),
                *("--pidfile", str(directory / "pid")),
            ],
            stdout=log,
            stderr=log,
        )
    own = Engine(client, {"DOCKER_HOST": host})
    try:
        deadline = time.monotonic() + 60
        while own.attempt("info", timeout=30).returncode != 0:
            if process.poll() is not None or time.monotonic() > deadline:
                log_end = (directory / "log").read_text(errors="replace").strip().splitlines()[-3:]
                raise NoEngine("dockerd cannot run here:\n" + "\n".join(log_end))
            time.sleep(0.1)
        yield own
    finally:
        process.terminate()
        process.wait(timeout=60)
