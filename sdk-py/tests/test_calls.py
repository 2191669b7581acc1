"""Calls of functions, on the worker of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from farcall import CallCancelled, CallTimedOut, Job, Local, remote


@remote
def double(x: int, *, by: int = 2) -> int:
    """Doubles."""
    return x * by


@remote
async def later(x: int) -> int:
    import asyncio

    await asyncio.sleep(0.01)
    return x + 1


@remote
def count(to: int) -> Iterator[int]:
    for number in range(to):
        print("at", number)
        yield number


@remote
async def acount(to: int) -> AsyncIterator[int]:
    for number in range(to):
        yield number


@remote
def touch_and_wait(path: str) -> None:
    import pathlib
    import time

    pathlib.Path(path).touch()
    time.sleep(60)


def await_file(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_call_returns_what_the_function_returns() -> None:
    assert double.remote(4) == 8
    assert double.remote(4, by=3) == 12
    assert double.local(5) == 10
    assert later.remote(1) == 2


def test_event_loops_await_calls_side_by_side() -> None:
    async def main() -> list[int]:
        return list(await asyncio.gather(double(1), double.remote.aio(2), later(3)))

    assert asyncio.run(main()) == [2, 4, 4]


def test_a_decorated_function_keeps_its_name_and_signature() -> None:
    assert (vars(double)["__name__"], double.__doc__) == ("double", "Doubles.")
    assert str(inspect.signature(double)) == "(x: 'int', *, by: 'int' = 2) -> 'int'"


def test_what_it_prints_is_printed_here(capfd: pytest.CaptureFixture[str]) -> None:
    @remote
    def shout(word: str) -> None:
        import sys

        print(word)
        print("and more", file=sys.stderr)

    shout.remote("hello")
    assert capfd.readouterr().out == "hello\nand more\n"
    shout.with_options(output=False).remote("hello")
    assert capfd.readouterr().out == ""


def test_a_job_is_found_again_by_its_id() -> None:
    job = double.spawn(21)
    again: Job[int] = double.job(job.id)
    assert again.result(timeout=30) == 42
    assert again.status() == job.status() == "COMPLETED"
    assert job.result() == 42


def test_waiting_ends_and_the_job_goes_on(tmp_path: Path) -> None:
    job = touch_and_wait.spawn(str(tmp_path / "began"))
    await_file(tmp_path / "began")
    with pytest.raises(TimeoutError, match="has not ended after"):
        job.result(timeout=0.05)
    assert job.status() == "IN_PROGRESS"
    job.cancel()
    with pytest.raises(CallCancelled):
        job.result()


def test_a_call_that_takes_too_long_is_ended() -> None:
    @remote(timeout=0.3)
    def sleep() -> None:
        import time

        time.sleep(60)

    with pytest.raises(CallTimedOut, match="timed out") as caught:
        sleep.remote()
    assert isinstance(caught.value, TimeoutError)
    assert "time.sleep(60)" in str(caught.value) or "line" in str(caught.value), "it says where"


def test_cancelling_a_task_cancels_the_call(tmp_path: Path) -> None:
    async def main() -> None:
        task = asyncio.create_task(touch_and_wait.remote.aio(str(tmp_path / "began")))
        await asyncio.to_thread(await_file, tmp_path / "began")
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert double.remote(1) == 2, "the worker is free again"


def test_generators_stream(capfd: pytest.CaptureFixture[str]) -> None:
    items = count.stream(3)
    assert next(items) == 0
    assert list(items) == [1, 2]
    assert capfd.readouterr().out == "at 0\nat 1\nat 2\n"
    assert count.remote(3) == [0, 1, 2]
    assert list(acount.stream(2)) == [0, 1]
    assert list(double.stream(2)) == [4], "what is no generator yields its result"


def test_generators_stream_to_event_loops() -> None:
    async def main() -> list[int]:
        return [item async for item in count.astream(3)]

    assert asyncio.run(main()) == [0, 1, 2]


def test_a_stream_that_is_left_is_cancelled(tmp_path: Path) -> None:
    @remote
    def forever(path: str) -> Iterator[int]:
        import pathlib
        import time

        try:
            while True:
                yield 1
                time.sleep(0.01)
        finally:
            pathlib.Path(path).touch()

    for item in forever.stream(str(tmp_path / "ended")):
        assert item == 1
        break
    await_file(tmp_path / "ended")


def test_a_stream_raises_what_its_generator_raises() -> None:
    @remote
    def breaks() -> Iterator[int]:
        yield 1
        raise KeyError("enough")

    items = breaks.stream()
    assert next(items) == 1
    with pytest.raises(KeyError, match="enough"):
        next(items)


def test_map_keeps_the_order_and_tells_exceptions() -> None:
    @remote
    def half(x: int) -> int:
        if x % 2:
            raise ValueError(f"{x} is odd")
        return x // 2

    assert list(half.map(range(0, 12, 2), concurrency=3)) == [0, 1, 2, 3, 4, 5]
    assert sorted(half.map(range(0, 12, 2), order=False)) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="1 is odd"):
        list(half.map(range(4)))
    kept = list(half.map([2, 3], return_exceptions=True))
    assert kept[0] == 1
    assert isinstance(kept[1], ValueError)


def test_map_takes_items_as_there_is_room() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = double.map(items(), concurrency=2)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert len(taken) < 10


def test_a_failed_call_is_made_again_if_that_is_asked_for(tmp_path: Path) -> None:
    @remote(retries=2)
    def flaky(path: str) -> int:
        with open(path, "a") as log:  # noqa: PTH123
            log.write("x")
        with open(path) as log:  # noqa: PTH123
            tries = len(log.read())
        if tries < 3:
            raise ConnectionError("not yet")
        return tries

    assert flaky.remote(str(tmp_path / "tries")) == 3
    with pytest.raises(ConnectionError):
        flaky.with_options(retries=0).remote(str(tmp_path / "more"))


def test_decorating_says_what_is_wrong() -> None:
    with pytest.raises(TypeError, match="takes a resource"):
        remote("gpu")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="not one string"):
        remote(Local(), dependencies="numpy")
    assert vars(remote(Local(), local=True)(count.local)) == {}, "it is the function itself"
