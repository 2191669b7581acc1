"""Many calls of one function at once."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from typing import Any

from ._callee import Callee
from ._errors import FarcallError
from ._job import Job
from ._traceback import seen_from_outside


def map_calls(
    callee: Callee, items: Iterable[Any], concurrency: int, *, keep: bool, in_order: bool
) -> Iterator[Any]:
    """The results of calling `callee` with each item. Items are taken as there is room for them."""
    source, running, jobs = iter(items), deque[Future[Any]](), _Jobs(callee)
    with _bar(callee.name, items) as advance, ThreadPoolExecutor(max(1, concurrency), "farcall-map") as pool:
        try:
            while True:
                while len(running) < max(1, concurrency) and (item := next(source, _END)) is not _END:
                    running.append(pool.submit(jobs.run, item))
                if not running:
                    return
                if in_order:
                    ended = [running.popleft()]
                else:
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    ended = [future for future in running if future in done]
                    running = deque(future for future in running if future not in done)
                for future in ended:
                    value = _outcome(future, keep)
                    advance()
                    yield value
        except BaseException:
            jobs.cancel(running)
            raise


class _Jobs:
    """The jobs that run, to be cancelled."""

    def __init__(self, callee: Callee) -> None:
        self._callee = callee
        self._open: dict[int, list[Job[Any]]] = {}
        self._lock = threading.Lock()
        self._is_over = False

    def run(self, item: Any) -> Any:
        mine: list[Job[Any]] = []
        with self._lock:
            if self._is_over:
                raise FarcallError("the map has ended")
            self._open[id(mine)] = mine
        try:
            return self._callee.attempt((item,), {}, mine)
        finally:
            with self._lock:
                del self._open[id(mine)]

    def cancel(self, waiting: Iterable[Future[Any]]) -> None:
        for future in waiting:
            future.cancel()
        with self._lock:
            self._is_over = True
            jobs = [job for mine in self._open.values() for job in mine[-1:]]
        for job in jobs:
            with suppress(FarcallError):
                job.cancel()


def _outcome(future: Future[Any], keep: bool) -> Any:
    try:
        return future.result()
    except Exception as error:
        shown = seen_from_outside(error)
        if not keep:
            raise shown from None
        return shown


def _bar(name: str, items: Iterable[Any]) -> Any:
    """A progress bar on a terminal: what enters gives a function that says one more is done."""
    if not sys.stderr.isatty():
        return nullcontext(lambda: None)
    return _RichBar(name, len(items) if isinstance(items, Sized) else None)


class _RichBar:
    def __init__(self, name: str, total: int | None) -> None:
        from rich.console import Console  # noqa: PLC0415  (terminals only)
        from rich.progress import Progress  # noqa: PLC0415

        self._progress = Progress(console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(name, total=total)

    def __enter__(self) -> Any:
        self._progress.start()
        return lambda: self._progress.advance(self._task)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


_END = object()
