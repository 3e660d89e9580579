"""What of the probe lasts: an event stream that counts, and a WebSocket that sends everything back.

Both begin anew on any process of the service: the client says where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tenfold.prove.probe.limits import ECHO, EVENT_MS

FORBIDDEN, TOO_BIG = 1008, 1009
NUMBER = 18
"""Digits of an event's number, at most."""

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


async def stream(scope: Any, receive: Receive, send: Send, headers: Headers, monotonic: Callable[[], float]) -> None:
    """Answers with numbered events, one every `EVENT_MS`, from the one after `Last-Event-ID`, until the client or the
    server leaves. Each says when it was sent, in microseconds of the machine's monotonic clock."""
    number = _last(scope) + 1
    kind = (b"content-type", b"text/event-stream")
    await send({"type": "http.response.start", "status": 200, "headers": [kind, *headers]})
    left = asyncio.ensure_future(_until_it_leaves(receive))
    try:
        while not left.done():
            text = f"id: {number}\ndata: {round(monotonic() * 1_000_000)}\n\n".encode()
            await send({"type": "http.response.body", "body": text, "more_body": True})
            number += 1
            await asyncio.wait((left,), timeout=EVENT_MS / 1000)
    finally:
        left.cancel()


def _last(scope: Any) -> int:
    given = dict(scope["headers"]).get(b"last-event-id", b"")
    return int(given) if given.isdigit() and len(given) <= NUMBER else 0


async def _until_it_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def echo(receive: Receive, send: Send, welcome: bool, headers: Headers) -> None:
    """Sends every text of a WebSocket back; who is not welcome gets no connection."""
    await receive()
    if not welcome:
        await send({"type": "websocket.close", "code": FORBIDDEN})
        return
    await send({"type": "websocket.accept", "headers": headers})
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text")
        if not isinstance(text, str) or len(text) > ECHO:
            await send({"type": "websocket.close", "code": TOO_BIG})
            return
        await send({"type": "websocket.send", "text": text})
