"""A web server behind a balancer, in the standard library alone: `python tinyback.py NAME PORT [MODE]`.

Answers with its name (`/head`: and the head of the request); `/slow` takes half a second. MODE `failing` answers
everything but `/readyz` with 500. Bodies are read to their end. SIGTERM ends it at once.
"""

from __future__ import annotations

import asyncio
import signal
import sys

NAME, PORT, MODE = sys.argv[1], int(sys.argv[2]), (sys.argv[3:] or [""])[0]


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            method, path, _ = head.split(b"\r\n", 1)[0].split(b" ")
            size = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
            )
            await reader.readexactly(size)
            if path == b"/slow":
                await asyncio.sleep(0.5)
            status = b"500 No" if MODE == "failing" and path != b"/readyz" else b"200 OK"
            body = NAME.encode() + b"\n" + (head if path == b"/head" else b"%s %d" % (method, size))
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        writer.close()


async def main() -> None:
    await asyncio.start_server(serve, "127.0.0.1", PORT, backlog=4096)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()


asyncio.run(main())
