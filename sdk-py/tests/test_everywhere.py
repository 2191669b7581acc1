"""One program, wherever its calls go: a worker on this machine, an endpoint by its address, RunPod."""

from __future__ import annotations

from typing import Any

import pytest
from fake_runpod import FakeRunPod
from farcall import Endpoint, PythonMismatch, remote
from farcall._client import Client

PROGRAM = """\
import asyncio
from dataclasses import dataclass
from farcall import {imports}remote

RESOURCE = {resource}

@dataclass
class Point:
    x: int

class Outside(ValueError):
    pass

@remote(RESOURCE)
def move(point, by):
    print("moving by", by)
    if by < 0:
        raise Outside(f"{{point.x + by}} is outside")
    return Point(point.x + by)

@remote(RESOURCE)
async def later(x):
    await asyncio.sleep(0.01)
    return x * 2

@remote(RESOURCE)
def numbers(to):
    yield from range(to)

@remote(RESOURCE)
class Counter:
    def __init__(self, start):
        self.value = start
    def add(self, by):
        self.value += by
        return self.value

async def main():
    counter = Counter(10)
    print(await asyncio.gather(later(1), later(2)), await counter.add(1), await counter.add(1))

print(move.remote(Point(1), 2))
try:
    move.remote(Point(1), -3)
except Outside as error:
    print("outside:", error)
asyncio.run(main())
print(list(numbers.stream(3)), list(later.map(range(4))), move.spawn(Point(5), 1).result() == Point(6))
"""
PRINTED = """\
moving by 2
Point(x=3)
moving by -3
outside: -2 is outside
[2, 4] 11 12
moving by 1
[0, 1, 2] [0, 2, 4, 6] True
"""


def test_on_this_machine(program: Any) -> None:
    assert program(PROGRAM.format(imports="", resource="None")) == (0, PRINTED, "")


def test_by_address(program: Any, address: dict[str, Any]) -> None:
    resource = f"Endpoint(url={address['url']!r}, api_key={address['api_key']!r})"
    assert program(PROGRAM.format(imports="Endpoint, ", resource=resource)) == (0, PRINTED, "")


def test_on_runpod(program: Any, runpod: FakeRunPod) -> None:
    resource = "LiveServerless(name='everywhere', gpus=[GpuGroup.ANY], workersMax=5, idleTimeout=5)"
    text = PROGRAM.format(imports="GpuGroup, LiveServerless, ", resource=resource)
    assert program(text) == (0, PRINTED, "")
    assert [kind for _, kind, _ in runpod.changes] == ["templates", "endpoints"], "made once"


def test_an_endpoint_says_which_python_it_runs(
    address: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert remote(Endpoint(**address))(lambda: 1).remote() == 1
    monkeypatch.setattr(Client, "python", lambda self: "3.9.1")
    with pytest.raises(PythonMismatch, match=r"the worker runs 3.9"):
        remote(Endpoint(**address))(lambda: 1).remote()
