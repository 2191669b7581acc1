"""A job: a call that somebody else waits for, or nobody."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from ._client import FINAL, Client
from ._failure import failure_of, result_of, value_of
from ._output import Printer
from ._source import Shipment
from ._traceback import seen_from_outside

R = TypeVar("R")

# Between two looks, for results that are waited for with a timeout, in seconds.
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.005, 0.5


class Job(Generic[R]):
    """A call that was submitted. Made by `spawn`, or again from its `id` by `job` of function or endpoint."""

    def __init__(
        self,
        client: Client,
        job: str,
        shipment: Shipment | None = None,
        name: str = "job",
        *,
        output: bool = True,
    ) -> None:
        self.id = job
        self._client, self._shipment = client, shipment
        self._name, self._output = name, output
        self._modules: str | None = None
        self._document: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def status(self) -> str:
        """`IN_QUEUE`, `IN_PROGRESS`, `COMPLETED`, `FAILED`, `CANCELLED` or `TIMED_OUT`."""
        return str(self._look()["status"])

    def result(self, timeout: float | None = None) -> R:
        """Waits for the job's end: returns what it returned, raises what it raised.

        With a `timeout` in seconds, raises `TimeoutError` when that is over; the job goes on.
        """
        if self._document is None:
            if timeout is None:
                self._follow()
            else:
                self._wait(timeout)
        try:
            value: R = result_of(self._look(), self._shipment)
        except Exception as error:
            raise seen_from_outside(error)
        if self._modules:
            self._client.modules.add(self._modules)
        return value

    def brings(self, modules: str) -> None:
        """Where it runs, the local modules of this digest are known by then."""
        self._modules = modules

    def cancel(self) -> None:
        """Ends the job, wherever it is."""
        self._client.cancel(self.id)

    def stream(self) -> Iterator[Any]:
        """What the job's generator yields, as it does; at its end raises what it raised.

        A job that was not submitted by `stream` yields its result, if it is no generator's.
        """
        printer, count = self._printer(), 0
        for kind, data in self._client.follow(self.id, streams=True):
            if kind == "output":
                printer.show(data["text"])
            elif kind == "chunk" and "error" not in data:
                count += 1
                yield value_of(data, self._shipment)
            elif kind == "status":
                self._keep(data, printer)
        printer.end()
        if not self._document:
            return
        if self._document["status"] != "COMPLETED" or self._document.get("error"):
            raise failure_of(self._document, self._shipment)
        result = result_of(self._document, self._shipment)
        if isinstance(self._document.get("output"), list):
            yield from result[count:]
        elif count == 0:
            yield result

    def _follow(self) -> None:
        printer = self._printer()
        for kind, data in self._client.follow(self.id):
            if kind == "output":
                printer.show(data["text"])
            elif kind == "status":
                self._keep(data, printer)
        printer.end()

    def _wait(self, timeout: float) -> None:
        deadline, pause = time.monotonic() + timeout, _FIRST_LOOK_S
        while self._look()["status"] not in FINAL:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"job {self.id} has not ended after {timeout} s")
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_LOOK_S)

    def _look(self) -> dict[str, Any]:
        if self._document is not None:
            return self._document
        document = self._client.status(self.id)
        if document["status"] in FINAL:
            self._document = document
        return document

    def _keep(self, document: dict[str, Any], printer: Printer) -> None:
        if document["status"] not in FINAL:
            printer.state(document["status"])
            return
        self._document = document
        output = document.get("output")
        if not printer.has_shown and isinstance(output, dict):  # an endpoint without events
            printer.show(str(output.get("stdout") or ""))

    def _printer(self) -> Printer:
        return Printer(self._name, is_on=self._output)
