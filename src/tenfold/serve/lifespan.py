"""The ASGI lifespan around a framework: the runtime opens first and closes last.

A framework that does not speak the lifespan protocol (a bare ASGI callable) is left alone.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tenfold.serve.exchange import Message, Receive, Scope, Send

RETURN_WITHIN_S = 5.0
"""How long a framework that has said that it is down may take to return."""


class InnerLifespan:
    """Plays the server's part of the lifespan protocol towards the wrapped framework."""

    def __init__(self, app: Any, scope: Scope) -> None:
        self._app = app
        self._scope = scope
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> str | None:
        """Starts the framework. Returns None, or why it would not start."""
        self._task = asyncio.create_task(self._run())
        return await self._ask("startup")

    async def shutdown(self) -> str | None:
        """Stops the framework. Returns None, or what went wrong."""
        if self._task is None or self._task.done():
            return None
        failure = await self._ask("shutdown")
        await asyncio.wait({self._task}, timeout=RETURN_WITHIN_S)
        self._task.cancel()
        return failure

    async def _ask(self, phase: str) -> str | None:
        self._inbox.put_nowait({"type": f"lifespan.{phase}"})
        answer = await self._answers.get()
        if answer is None or answer["type"] != f"lifespan.{phase}.failed":
            return None
        return str(answer.get("message") or f"The framework failed in its {phase}.")

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._inbox.get, self._send)
        except Exception:  # noqa: BLE001 - before its first answer this is how a framework says "not spoken here"
            self._answers.put_nowait(None)
        else:
            self._answers.put_nowait(None)

    async def _send(self, message: Message) -> None:
        if not message["type"].startswith("lifespan."):
            raise RuntimeError("This application answers the lifespan protocol as if it were HTTP.")
        self._answers.put_nowait(message)


async def lifespan(asgi: Any, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
    """Runs the lifespan of `asgi` (a `TenfoldASGI`) and the framework inside it."""
    await receive()
    try:
        await asgi.open()
    except Exception as error:  # noqa: BLE001 - any failure is the answer to "startup"
        asgi.startup_error = error
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    inner = InnerLifespan(app, scope)
    failure = await inner.startup()
    if failure is not None:
        await asgi.close()
        await send({"type": "lifespan.startup.failed", "message": failure})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    failure = await inner.shutdown()
    await asgi.close()
    if failure is not None:
        await send({"type": "lifespan.shutdown.failed", "message": failure})
        return
    await send({"type": "lifespan.shutdown.complete"})
