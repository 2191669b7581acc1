"""A bare ASGI application: what uvicorn costs at least; for `make bench`."""

from collections.abc import Awaitable, Callable
from typing import Any

ANSWER = b'{"success":true,"result":"gAVLAy4=","error":null,"stdout":"","json_result":null}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Reads the body, answers with a constant."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})
