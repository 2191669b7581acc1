"""Functions of runpod 2.0: arguments, results, exceptions, submitted jobs. For `rp flash dev FILE --once`."""

import asyncio

import runpod
from runpod.apps.errors import RemoteExecutionError

app = runpod.App("functions")

GREETING = "hello"
LOADS = []
LOADS.append(len(LOADS))


def shout(text):
    """Do something for a function, from its module."""
    return text.upper()


@app.queue(name="greet", cpu="cpu3c-1-2")
def greet(name, *, times=1):
    """Use the module's own names."""
    return " ".join([shout(f"{GREETING} {name}")] * times)


@app.queue(name="echo", cpu="cpu3c-1-2", dependencies=["runpod"])
async def echo(value=None):
    """Return what came."""
    await asyncio.sleep(0)
    print("echoed")
    return value


@app.queue(name="loads", cpu="cpu3c-1-2")
def loads():
    """Say how often the module was executed in its namespace, and count the calls."""
    LOADS.append(len(LOADS))
    return len(LOADS)


@app.queue(name="fail", cpu="cpu3c-1-2")
def fail(text):
    """Raise."""
    raise ValueError(text)


@app.queue(name="unserializable", cpu="cpu3c-1-2")
def unserializable():
    """Return what JSON has no form for."""
    return object()


@runpod.local_entrypoint
async def main():
    """Call each of them."""
    assert await greet.remote.aio("you", times=2) == "HELLO YOU HELLO YOU"
    for value in [None, True, 0, -1.5, "é ☃", [], [1, [2]], {}, {"a": None}, [{"success": True}]]:
        got = await echo.remote.aio(value)
        assert got == value and type(got) is type(value), (got, value)
    assert await echo.remote.aio() is None
    calls = [await loads.remote.aio() for _ in range(2)]
    assert calls == [2, 3], f"the module is executed once per source: {calls}"
    for function, arguments, words in [
        (fail, ["no such luck"], ["no such luck", "ValueError", "in fail"]),
        (unserializable, [], ["serializ"]),
    ]:
        try:
            got = await function.remote.aio(*arguments)
        except RemoteExecutionError as error:
            assert all(word in str(error) for word in words), error
        else:
            raise AssertionError(f"{function} returned {got!r}")
    jobs = [await echo.spawn.aio(number) for number in range(3)]
    assert [await job.result.aio() for job in jobs] == [0, 1, 2]
    assert await jobs[0].status.aio() == "COMPLETED" and jobs[0].done
    again = await echo.job.aio(jobs[1].id)
    assert await again.result.aio() == 1
    failed = await fail.spawn.aio("later")
    try:
        await failed.result.aio()
    except RemoteExecutionError as error:
        assert "later" in str(error), error
    else:
        raise AssertionError("the job did not fail")
    print("OK")
