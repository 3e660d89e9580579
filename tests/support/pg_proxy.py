"""Stands between a service and its PostgreSQL, and breaks the connection at the worst moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from enum import Enum


class Fate(Enum):
    """What becomes of the next COMMIT that carries a commit row."""

    PASSES = "it arrives, and so does its answer"
    NOT_SENT = "the connection breaks before it reaches the server"
    NOT_ANSWERED = "it reaches the server, and the connection breaks before the answer"
    LATE = "the connection breaks, and the server gets it half a second later"


class Proxy:
    """Forwards bytes; `fates` are used up, one COMMIT each."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.fates: list[Fate] = []
        self.commits = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            to_server = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        mute = asyncio.Event()
        back = asyncio.create_task(self._answers(to_server[0], writer, mute))
        try:
            await self._questions(reader, to_server[1], writer, mute)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            back.cancel()
            to_server[1].transport.abort()
            writer.transport.abort()
            self._tasks.discard(task)

    async def _questions(
        self,
        reader: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
        mute: asyncio.Event,
    ) -> None:
        while data := await reader.read(65536):
            fate = Fate.PASSES
            if b"INSERT INTO tf_commit" in data:
                self.commits += 1
                fate = self.fates.pop(0) if self.fates else Fate.PASSES
            if fate is Fate.NOT_SENT:
                return
            if fate is not Fate.PASSES:
                mute.set()
            if fate is Fate.LATE:
                client.transport.abort()
                await asyncio.sleep(0.5)
            server.write(data)
            with contextlib.suppress(ConnectionError):
                await server.drain()
            if fate is not Fate.PASSES:
                await asyncio.sleep(0.3)  # the server works on it
                return

    async def _answers(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter, mute: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not mute.is_set():
                    client.write(data)
                    await client.drain()
        client.transport.abort()


@contextlib.asynccontextmanager
async def proxied(host: str, port: int) -> AsyncIterator[tuple[Proxy, int]]:
    """A proxy and the port that it listens on."""
    proxy = Proxy(host, port)
    listener = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
    try:
        yield proxy, listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in list(proxy._tasks):
            task.cancel()
        await asyncio.gather(*proxy._tasks, return_exceptions=True)
