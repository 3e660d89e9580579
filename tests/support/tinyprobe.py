"""The probe in the standard library alone, with one fault of your choice: for the prover's clients of connections.

Faults: `drop` (every few requests the connection is cut without an answer), `cut` (cut in the middle of an answer),
`twice` (an increment counts twice), `lose` (an increment that is acknowledged does not count), `deaf` (503 without a
code), `reset` (streams end without a word), `leave` (streams end properly, so that clients come back), `skip` and
`again` (event numbers), `garble` (echoes), `bye` (WebSockets are closed with 1000).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

from tenfold.prove.connections.frames import CLOSE, TEXT, accept_of

EVERY = 7
LIVES = 4
"""Messages of a stream, where streams end by a fault."""
EVENT_S = 0.01
AGO_US = 15_000
"""How long an event is on its way, as it says."""


class TinyProbe:
    """Serves on one address of loopback: `async with TinyProbe("twice") as server: ... server.port`."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.counts: dict[str, int] = {}
        self.answers: dict[str, int] = {}
        self.heads: list[str] = []
        self.connections = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> TinyProbe:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._one(reader, writer):
                    pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection stays."""
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, path, _ = first.split(" ")
        self.heads.append(f"{method} {path}")
        parts = path.removeprefix("/tf-probe/").split("/")
        if parts[0] == "events":
            return await self._events(writer, int(headers["last-event-id"]))
        if parts[0] == "socket":
            return await self._socket(reader, writer, headers["sec-websocket-key"])
        if self.fault == "drop" and len(self.heads) % EVERY == 0:
            return False
        found = await self._found(method, parts, headers.get("idempotency-key", ""), body)
        status = 503 if self.fault == "deaf" else 200
        answer = json.dumps(found).encode()
        head = f"HTTP/1.1 {status} X\r\ntf-node: tiny\r\ncontent-length: {len(answer)}\r\n\r\n".encode()
        cut = self.fault == "cut" and len(self.heads) % EVERY == 0
        writer.write((head + answer)[:-3] if cut else head + answer)
        await writer.drain()
        return not cut

    async def _found(self, method: str, parts: list[str], once: str, body: bytes) -> Any:
        if parts[0] == "wait":
            await asyncio.sleep(int(parts[1]) / 1000)
            return {"waited_ms": int(parts[1])}
        if method == "GET":
            return {"count": self.counts.get(parts[-1], 0)}
        asked = json.loads(body)
        answer = self.answers.get(once) or self._increment(parts[1])
        if once:
            self.answers[once] = answer
        await asyncio.sleep(asked.get("wait_ms", 0) / 1000)
        return {"count": answer}

    def _increment(self, key: str) -> int:
        before = self.counts.get(key, 0)
        by = {"twice": 2, "lose": 0}.get(self.fault, 1) if before == LIVES else 1
        self.counts[key] = before + by
        return before + 1

    async def _events(self, writer: asyncio.StreamWriter, last: int) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        lives = LIVES if self.fault in ("reset", "leave") else 10_000
        for number in range(last + 1, last + 1 + lives):
            told = number + (self.fault == "skip" and number > LIVES) - (self.fault == "again" and number > LIVES)
            text = f"id: {told}\ndata: {round(time.monotonic() * 1e6) - AGO_US}\n\n".encode()
            writer.write(b"%x\r\n%s\r\n" % (len(text), text))
            await writer.drain()
            await asyncio.sleep(EVENT_S)
        if self.fault != "reset":
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        return False

    async def _socket(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> bool:
        upgrade = "HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: "
        writer.write(f"{upgrade}{accept_of(key)}\r\n\r\n".encode())
        for count in range(10_000):
            opcode, text = await _frame(reader)
            if opcode == CLOSE:
                return False
            if self.fault in ("reset", "leave", "bye") and count == LIVES:
                code = 1000 if self.fault == "bye" else 1012
                writer.write(b"" if self.fault == "reset" else bytes([0x80 | CLOSE, 2]) + code.to_bytes(2, "big"))
                await writer.drain()
                return False
            text = b"x" + text[1:] if self.fault == "garble" and count == LIVES else text
            writer.write(bytes([0x80 | TEXT, len(text)]) + text)
            await writer.drain()
        return False


async def _frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One short masked frame of a client."""
    first, size = await reader.readexactly(2)
    mask = await reader.readexactly(4)
    data = await reader.readexactly(size & 0x7F)
    return first & 0x0F, bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
