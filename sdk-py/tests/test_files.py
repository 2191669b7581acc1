"""Large arrays go as files between here and the worker on this machine, and nobody notices."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import pytest
from farcall import Endpoint, remote
from farcall._callee import Callee
from farcall._files import Files
from farcall._local import default

numpy = pytest.importorskip("numpy")
LARGE = 300_000  # numbers: 2.4 MB


@remote
def double(array: Any) -> Any:
    array *= 2  # it can be written to
    return array


@remote
async def later(array: Any) -> dict[str, Any]:
    return {"array": array + 1, "text": "small"}


@remote
def halves(array: Any) -> Any:
    if len(array) < LARGE:
        return array
    half = len(array) // 2
    return numpy.concatenate([halves.local(array[:half]), halves.local(array[half:])])


class Holder:
    def __init__(self, array: Any) -> None:
        self.array = array

    def plus(self, array: Any) -> Any:
        return self.array + array


def files() -> list[str]:
    directory = default().files()
    return sorted(path.name for path in directory.iterdir())


def test_arrays_arrive_and_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    complete = Files.complete

    def noted(self: Files, data: bytes) -> bytes:
        written.append(len(data))
        return complete(self, data)

    monkeypatch.setattr(Files, "complete", noted)
    array = numpy.arange(LARGE, dtype=float)
    result = double.remote(array)
    assert (result == numpy.arange(LARGE) * 2).all()
    assert array[1] == 1, "ours is as it was"
    result[0] = 5
    assert max(written) < 1000, "its numbers are not in the pickle"
    assert asyncio.run(later(array))["array"][1] == 2
    assert [len(r) for r in double.map([array, array])] == [LARGE, LARGE]
    assert files() == []


def test_jobs_can_be_read_twice() -> None:
    job = double.spawn(numpy.ones(LARGE))
    assert job.result().sum() == double.job(job.id).result().sum() == 2 * LARGE


def test_a_function_calls_itself_as_it_is() -> None:
    def twice(array: Any, again: bool = True) -> Any:
        return twice(array, False) + 1 if again else array

    assert remote(twice).remote(numpy.zeros(LARGE))[0] == 1


def test_methods_take_them() -> None:
    holder = remote(Holder)(numpy.ones(LARGE))
    assert holder.plus.remote(numpy.ones(LARGE)).sum() == 2 * LARGE
    assert files() == []


def test_frames_of_the_way_are_not_shown() -> None:
    with pytest.raises(TypeError) as caught:
        double.remote({})
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-1] == "double"
    assert "__farcall_call__" not in names
    assert files() == []


def test_other_endpoints_get_no_files() -> None:
    endpoint = Endpoint(url="http://127.0.0.1:1")
    callee = Callee("double", double._plain, endpoint, double._options)
    assert "farcall_large" not in callee.shipment().code
    assert endpoint.files() is None
