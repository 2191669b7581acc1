"""Classes whose instances live on the worker."""

from __future__ import annotations

import asyncio

import pytest
from farcall import remote


class Plain:
    """Counts."""

    def __init__(self, start: int = 0, *, step: int = 1) -> None:
        self.value, self.step = start, step
        print("made")

    def add(self, times: int = 1) -> int:
        self.value += times * self.step
        return self.value

    def __call__(self) -> int:
        return self.value


Counter = remote(Plain)


def test_an_instance_keeps_its_state(capfd: pytest.CaptureFixture[str]) -> None:
    counter, other = Counter(10, step=2), Counter()
    assert counter.add.remote() == 12
    assert counter.add.remote(2) == 16
    assert other.add.remote() == 1
    assert counter.remote() == 16
    assert capfd.readouterr().out == "made\nmade\n", "each is made once"


def test_methods_are_awaited_as_in_flash() -> None:
    async def main() -> int:
        counter = Counter(1)
        await counter.add(1)
        return int(await counter())

    assert asyncio.run(main()) == 2


def test_mistakes_are_told_here() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'begin'"):
        Counter(begin=1)  # type: ignore[call-arg]  # the plugin says so, too
    with pytest.raises(AttributeError, match=r"no method `value`.*\n.*it has: add"):
        _ = Counter().value
    assert isinstance(Counter.local(3), Counter)  # type: ignore[arg-type]  # it looks like one
    assert Counter.local(3).add() == 4


def test_a_decorated_class_is_the_same() -> None:
    @remote
    class Sum:
        def of(self, *numbers: int) -> int:
            return sum(numbers)

    assert Sum().of.remote(1, 2) == 3
