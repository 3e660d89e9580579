"""The upper bound: a raw ASGI handler that always gives the same redirect."""

from __future__ import annotations

from typing import Any

HEADERS = [
    (b"location", b"https://example.com/some/page?with=query"),
    (b"cache-control", b"private, max-age=0"),
    (b"content-length", b"0"),
]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers 302, whatever is asked."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 302, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b""})
