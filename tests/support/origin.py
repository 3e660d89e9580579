"""A web server to stand behind HAProxy, in the standard library alone: `python origin.py FD NAME LOG`.

It answers on the listener FD, writes each request that it began into LOG (a line of JSON, before it answers), and does
what the path says:

- /readyz: 200; 503 while the file LOG.unready is there; nothing at all while LOG.deaf is there
- /echo: what it was sent, as JSON; /size: how many bytes the body had
- /slow/SECONDS, /status/CODE, /text (compressible), /drip (pieces of text/plain every 0.1 s)
- /die: ends without a word; /die-once/ID: ends when it is the first to see ID (LOG's folder remembers), else /echo
- /events: server-sent events, one every 0.1 s; /ws: a WebSocket that echoes bytes back as they are, after a 101
- /silent-then-events: the head of an event stream, its first event after 3 s
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import socket
import sys
from pathlib import Path

Head = tuple[str, str, list[tuple[str, str]]]


class Origin:
    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.file = log.open("ab", buffering=0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await read_head(reader):
                await self.answer(head, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, headers = head
        if target == "/readyz":
            return await self.readyz(headers, writer)
        self.note({"begun": target, "method": method, "headers": headers})
        if target == "/ws":
            return await echo_bytes(dict(headers)["sec-websocket-key"], reader, writer)
        body = await read_body(headers, reader, writer)
        told = {"name": self.name, "pid": os.getpid(), "method": method, "target": target, "headers": headers}
        told |= {"body": body[:200].decode("latin-1"), "size": len(body)}
        self.note({"read": target, "size": len(body)})
        return await self.perform(target, told, writer)

    async def perform(self, target: str, told: dict[str, object], writer: asyncio.StreamWriter) -> None:
        kind, _, rest = target.partition("?")[0].removeprefix("/").partition("/")
        if kind == "die" or (kind == "die-once" and self.first(rest)):
            os._exit(9)
        if kind == "slow":
            await asyncio.sleep(float(rest))
        if kind in ("events", "drip", "silent-then-events"):
            return await pieces(kind, writer)
        status = int(rest) if kind == "status" else 200
        data = b"all work and no play " * 1000 if kind == "text" else json.dumps(told).encode()
        kind = "text/plain" if kind == "text" else "application/json"
        send(writer, status, data, kind)
        await writer.drain()
        return None

    def first(self, mark: str) -> bool:
        try:
            os.close(os.open(self.log.parent / f"died-{mark}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    async def readyz(self, headers: list[tuple[str, str]], writer: asyncio.StreamWriter) -> None:
        if Path(f"{self.log}.deaf").exists():
            await asyncio.sleep(3600)
        unready = Path(f"{self.log}.unready").exists()
        self.note({"check": headers}) if Path(f"{self.log}.checks").exists() else None
        send(writer, 503 if unready else 200, b"{}", "application/json")

    def note(self, fact: dict[str, object]) -> None:
        self.file.write(json.dumps({"pid": os.getpid(), **fact}).encode() + b"\n")


def send(writer: asyncio.StreamWriter, status: int, data: bytes, kind: str) -> None:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)


async def pieces(kind: str, writer: asyncio.StreamWriter) -> None:
    mime = "text/plain" if kind == "drip" else "text/event-stream"
    writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {mime}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    await writer.drain()
    await asyncio.sleep(3 if kind == "silent-then-events" else 0)
    for number in range(10):
        data = f"data: {number}\n\n".encode()
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await writer.drain()
        await asyncio.sleep(0.1)
    writer.write(b"0\r\n\r\n")


async def echo_bytes(key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    proof = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
    head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    writer.write(f"{head}sec-websocket-accept: {proof}\r\n\r\n".encode())
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    try:
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = text.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    return method, target, [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]


async def read_body(
    headers: list[tuple[str, str]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bytes:
    facts = dict(headers)
    if "expect" in facts:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if facts.get("transfer-encoding") == "chunked":
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
        return body
    return await reader.readexactly(int(facts.get("content-length", "0")))


async def main(fd: int, name: str, log: Path) -> None:
    origin = Origin(name, log)
    server = await asyncio.start_server(origin.serve, sock=socket.socket(fileno=fd), limit=1 << 20, backlog=4096)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
