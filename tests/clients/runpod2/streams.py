"""Generators of runpod 2.0: streamed, gathered, failing in the middle. For `rp flash dev FILE --once`."""

import asyncio

import runpod
from runpod.apps.errors import RemoteExecutionError

app = runpod.App("streams")


@app.queue(name="count", cpu="cpu3c-1-2")
def count(to):
    """Yield numbers."""
    yield from range(to)


@app.queue(name="words", cpu="cpu3c-1-2")
async def words(text):
    """Yield words with where they are, slowly enough to be seen one by one."""
    for position, word in enumerate(text.split()):
        await asyncio.sleep(0.01)
        yield {"position": position, "word": word}


@app.queue(name="broken", cpu="cpu3c-1-2")
def broken(after):
    """Fail in the middle."""
    yield from range(after)
    raise ValueError("dried up")


@runpod.local_entrypoint
async def main():
    """Stream each of them, and gather each of them."""
    assert [chunk async for chunk in count.stream.aio(100)] == list(range(100))
    assert [chunk async for chunk in count.stream.aio(0)] == []
    expected = [{"position": 0, "word": "to"}, {"position": 1, "word": "be"}]
    assert [chunk async for chunk in words.stream.aio("to be")] == expected
    assert await words.remote.aio("to be") == expected
    assert await count.remote.aio(3) == [0, 1, 2]
    assert await count.remote.aio(1) == [0], "a list of one stays a list"
    assert await count.remote.aio(0) == []
    seen = []
    try:
        async for chunk in broken.stream.aio(3):
            seen.append(chunk)
    except RemoteExecutionError:
        assert seen == [0, 1, 2][: len(seen)], seen
    else:
        raise AssertionError(f"the stream did not fail: {seen}")
    try:
        got = await broken.remote.aio(3)
    except RemoteExecutionError as error:
        assert "dried up" in str(error), error
    else:
        raise AssertionError(f"the call returned {got!r}")
    print("OK")
