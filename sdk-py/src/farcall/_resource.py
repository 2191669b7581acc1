"""Where calls go."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from ._errors import PythonMismatch

if TYPE_CHECKING:
    from pathlib import Path

    from ._client import Client
    from ._job import Job


class Resource(ABC):
    """An endpoint that calls go to. Nothing is connected, started or made before the first call."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self._lock = threading.Lock()
        # What the endpoint says of its Python; empty if it says nothing.
        self._told: str | None = None

    def begin(self) -> None:
        """Starts what takes a while, before anything else is done for a first call."""
        return

    @abstractmethod
    def _connect(self) -> Client:
        """Finds the endpoint, or makes it."""

    def files(self) -> Path | None:
        """Where large buffers go as files, if it is on this machine."""
        return None

    def _python(self) -> tuple[int, int] | None:
        """The minor version of its Python, as far as that is known."""
        if self._told is None:
            self._told = self.client().python() or ""
        return minor_version(self._told)

    def client(self) -> Client:
        """The endpoint's client."""
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def submit(self, body: dict[str, Any]) -> tuple[Client, str]:
        """Submits a job."""
        client = self.client()
        return client, client.run(body)

    def job(self, job: str) -> Job[Any]:
        """A job that was submitted earlier, perhaps by another process."""
        from ._job import Job  # noqa: PLC0415  (with all that calls need, and decorators do not)

        return Job(self.client(), job)

    def check_python(self, needed: tuple[int, int] | None, name: str) -> None:
        """Raises `PythonMismatch` if byte code of `needed` cannot run there."""
        if needed is None or (there := self._python()) in (None, needed):
            return
        raise PythonMismatch(
            f"`{name}` has no source file of its own and would be sent as byte code of Python "
            f"{needed[0]}.{needed[1]}, but the worker runs {there[0]}.{there[1]}\n"
            "hint: define it at the top level of a file, or use the worker's Python version here"
        )

    def forget(self) -> None:
        """Connects anew at the next call."""
        with self._lock:
            self._client = None


def minor_version(version: str) -> tuple[int, int] | None:
    """`(3, 11)` for `3.11.7`."""
    numbers = version.split(".")[:2]
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 else None
