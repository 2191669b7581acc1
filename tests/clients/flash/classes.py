"""Classes of flash 1.21: instances that live between calls, one for each object of the client."""

import asyncio

from runpod_flash import LiveServerless, remote

config = LiveServerless(name="classes")


@remote(config)
class Counter:
    """Something with a state."""

    def __init__(self, start, step=1):
        self.value, self.step = start, step

    def add(self, times=1):
        """Count."""
        self.value += times * self.step
        return self.value

    async def read(self):
        """Read the count, from a coroutine."""
        return self.value

    def fail(self):
        """Raise, after a change."""
        self.value += 1000
        raise KeyError("gone")


async def main():
    """Count on two objects."""
    first, second = Counter(10), Counter(0, step=5)
    assert [await first.add(), await first.add(3)] == [11, 14]
    assert await second.add(times=2) == 10
    assert await first.read() == 14
    try:
        await first.fail()
    except Exception as error:
        assert "gone" in str(error) and "Traceback" in str(error), error
    else:
        raise AssertionError("it did not raise")
    assert await first.read() == 1014
    assert await second.read() == 10
    print("OK")


if __name__ == "__main__":
    asyncio.run(main())
