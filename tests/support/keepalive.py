"""HTTP/1.1 clients that count every request without a whole answer, and never try again."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field


@dataclass
class Tally:
    """What all clients of a run saw."""

    answered: int = 0
    failed: list[str] = field(default_factory=list)


async def one_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> tuple[bytes, bool]:
    """Status line and whether the connection may be used again. Raises on anything but a whole answer."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    if b"transfer-encoding: chunked" in lines:
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    else:
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        await reader.readexactly(length)
    return lines[0], b"connection: close" not in lines


async def client(
    port: int, path: str, tally: Tally, stop: asyncio.Event, *, pause_s: float = 0.0, keep: bool = True
) -> None:
    """Sends one request after another until told to stop; `pause_s` is the longest (random) rest between two."""
    rest = random.Random(f"{port}{path}{id(tally)}{asyncio.current_task()}")
    while not stop.is_set():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            reuse = True
            while reuse and not stop.is_set():
                status, reuse = await one_request(reader, writer, path)
                assert b" 200 " in status or b" 301 " in status, status
                tally.answered += 1
                reuse = reuse and keep
                if pause_s:
                    await asyncio.sleep(rest.uniform(0, pause_s))
        except (OSError, EOFError, ValueError, AssertionError) as error:
            tally.failed.append(f"{path}: {error!r}")
        finally:
            writer.close()
