"""Functions of flash 1.21: arguments, results of every kind, local modules, exceptions, prints."""

import asyncio

from runpod_flash import CpuInstanceType, Endpoint, LiveServerless, remote

config = LiveServerless(name="functions")


@remote(config)
async def add(first, second=2, *rest, scale=1):
    """Add up."""
    return (first + second + sum(rest)) * scale


@remote(config)
def echo(value=None):
    """Return what came. Not async. An only argument that is None is left out by flash."""
    return value


@remote(config)
async def nothing():
    """Return None."""


@remote(config, dependencies=["cloudpickle"])
async def described(name):
    """Use a local module, and a dependency that is there already."""
    import cloudpickle
    import shapes

    return shapes.describe(name), cloudpickle.__name__


@remote(config)
async def chatty(name):
    """Print."""
    import sys

    print(f"hello {name}")
    print("and to the other side", file=sys.stderr)
    return len(name)


@remote(config)
async def failing(text):
    """Raise, after a print."""
    print("about to fail")
    raise ValueError(text)


@Endpoint(name="endpoint-function", cpu=CpuInstanceType.CPU3G_1_4)
async def through_endpoint(numbers, power=2):
    """Do something, by the decorator that replaces `remote`."""
    return [number**power for number in numbers]


class Opaque:
    """A class that only the client has."""

    def __init__(self, value):
        self.value = value


async def main():
    """Call each of them."""
    assert await add(1) == 3
    assert await add(1, 2, 3, 4, scale=10) == 100
    for value in [None, True, 0, -1.5, "é ☃", b"\x00\xff", [1, [2]], (1, 2), {"a": {1, 2}}, {"error": "x"}]:
        got = await echo(value)
        assert got == value and type(got) is type(value), (got, value)
    assert await nothing() is None
    assert (await echo(Opaque(7))).value == 7
    assert await echo(len) is len
    assert (await echo(lambda x: x + 1))(1) == 2
    big = bytes(range(256)) * 4096
    assert await echo(big) == big
    assert await described("square") == ("SQUARE HAS 4 SIDES!", "cloudpickle")
    assert await chatty("world") == 5
    try:
        await failing("no such luck")
    except Exception as error:
        text = str(error)
        assert text.startswith("Remote execution failed: no such luck"), text
        assert "Traceback" in text and "in failing" in text, text
    else:
        raise AssertionError("it did not raise")
    assert await through_endpoint([1, 2, 3]) == [1, 4, 9]
    assert await asyncio.gather(*(add(n, n) for n in range(5))) == [0, 2, 4, 6, 8]
    print("OK")


if __name__ == "__main__":
    asyncio.run(main())
