"""A server that takes its time: each answer waits for `BENCH_WAIT_MS`, and at most `BENCH_WORKERS` at once."""

from __future__ import annotations

import asyncio
import os
from typing import Any

WAIT_S = float(os.environ.get("BENCH_WAIT_MS", "5")) / 1000
WORKERS = asyncio.Semaphore(int(os.environ.get("BENCH_WORKERS", "8")))
HEADERS = [(b"content-length", b"2"), (b"content-type", b"text/plain")]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers 200, after its time."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    async with WORKERS:
        await asyncio.sleep(WAIT_S)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"ok"})
