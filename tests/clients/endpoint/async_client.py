"""RunPod's endpoint client, asynchronous, against an endpoint that is not RunPod's."""

import asyncio

import aiohttp
import runpod
from runpod import AsyncioEndpoint
from sync_client import ADD, COUNT, SLEEP


async def main():
    """Use every method of the client, several jobs at once."""
    async with aiohttp.ClientSession() as session:
        endpoint = AsyncioEndpoint("anything", session)
        jobs = await asyncio.gather(*(endpoint.run(ADD) for _ in range(8)))
        outputs = await asyncio.gather(*(job.output(timeout=20) for job in jobs))
        assert [output["json_result"] for output in outputs] == [3] * 8, outputs

        counting = await endpoint.run(COUNT)
        chunks = [chunk async for chunk in counting.stream()]
        assert [chunk["json_result"] for chunk in chunks] == [0, 1, 2], chunks

        running = await endpoint.run(SLEEP)
        waiting = await endpoint.run(ADD)
        assert await waiting.status() == "IN_QUEUE"
        assert (await endpoint.health())["jobs"]["inQueue"] == 1
        assert (await endpoint.purge_queue())["removed"] == 1
        assert (await running.cancel())["status"] == "CANCELLED"
        assert await running.status() == "CANCELLED"
    print(f"runpod {runpod.__version__}, asyncio")
    print("OK")


if __name__ == "__main__":
    asyncio.run(main())
