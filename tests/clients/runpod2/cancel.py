"""Jobs of runpod 2.0 that are cancelled: running, streaming, waiting. For `rp flash dev FILE --once`."""

import asyncio
import time

import runpod

app = runpod.App("cancel")


@app.queue(name="sleeper", cpu="cpu3c-1-2")
def sleeper(seconds):
    """Keep a slot for longer than the test waits."""
    time.sleep(seconds)
    return "slept"


@app.queue(name="ticker", cpu="cpu3c-1-2")
def ticker():
    """Never end."""
    while True:
        yield "tick"
        time.sleep(0.05)


@app.queue(name="quick", cpu="cpu3c-1-2")
def quick(value):
    """Show that there is a free slot."""
    return value


async def until(job, status):
    """Wait until a job has a status."""
    for _ in range(100):
        if await job.status.aio() == status:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{job} is not {status}")


@runpod.local_entrypoint
async def main():
    """Cancel one of each."""
    running = await sleeper.spawn.aio(600)
    await until(running, "IN_PROGRESS")
    await running.cancel.aio()
    assert await running.status.aio() == "CANCELLED"
    assert await quick.remote.aio(1) == 1
    ticking = await ticker.spawn.aio()
    chunks = []
    async for chunk in ticking.stream.aio():
        chunks.append(chunk)
        if len(chunks) == 3:
            await ticking.cancel.aio()
    assert set(chunks) == {"tick"}, chunks
    assert await quick.remote.aio(2) == 2
    print("OK")
