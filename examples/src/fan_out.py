"""An async function: awaited by the runner, so that waits overlap."""

import asyncio


async def ask(model: str, delay: float) -> str:
    await asyncio.sleep(delay)  # stands for a request to another service
    return f"{model} is ready"


async def ask_all(models: list[str]) -> list[str]:
    """Takes as long as the slowest answer, not as long as all of them together."""
    return await asyncio.gather(*(ask(model, delay=0.05) for model in models))
