"""A web process in the standard library alone: answers HTTP with its pid and speaks the protocol of a node.

`TINY=hopeless` ends with exit code 3 and says why, `crash` ends with 1, `stubborn` ignores SIGTERM, `slow` answers
after half a second, `child` starts a process of its own, `noisy` logs what it is asked for, `deaf` accepts nothing in
its first life (`TINY_MARK` names a file that it leaves behind).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tenfold.hosts import wire

MODE = os.environ.get("TINY", "")


class Tiny:
    def __init__(self) -> None:
        self.epoch = 0
        self.open_connections = 0
        self.leaving = asyncio.Event()
        self.public = socket.socket(fileno=int(os.environ["TENFOLD_LISTEN_FD"]))

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, (lambda: None) if MODE == "stubborn" else self.leaving.set)
        server = await asyncio.start_server(self.serve, sock=self.public.dup(), start_serving=False)
        if not deaf():
            await server.start_serving()
        node = wire.listen_unix(Path(os.environ["TENFOLD_NODE_SOCKET"]))
        node.setblocking(False)
        asking = loop.create_task(self.answer_forever(node))
        await self.leaving.wait()
        server.close()
        while self.open_connections:
            await asyncio.sleep(0.01)
        asking.cancel()
        node.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if MODE == "slow":
                await asyncio.sleep(0.5)
            if MODE == "noisy":
                print(head.split(b"\r\n")[0].decode(), flush=True)
            body = str(os.getpid()).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()
            self.open_connections -= 1

    async def answer_forever(self, node: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            conn, _ = await loop.sock_accept(node)
            conn.setblocking(True)
            await asyncio.to_thread(self.answer, conn)

    def answer(self, conn: socket.socket) -> None:
        with conn, conn.makefile("rb") as lines:
            line = lines.readline()
            if not line:
                return
            message = json.loads(line)
            if message["op"] == "listener":
                socket.send_fds(conn, [b'{"ok":true}\n'], [self.public.fileno()])
                return
            if message["op"] == "map":
                self.epoch = message["epoch"]
            conn.sendall(wire.encode({"ok": True, "pid": os.getpid(), "ready": True, "epoch": self.epoch}))


def deaf() -> bool:
    if MODE != "deaf" or Path(os.environ["TINY_MARK"]).exists():
        return False
    Path(os.environ["TINY_MARK"]).touch()
    return True


def main() -> int:
    if MODE == "hopeless":
        error = {"code": "TF-APP", "message": "The app does not import.", "hint": "Repair it."}
        print(json.dumps({"error": error}), file=sys.stderr)
        return 3
    if MODE == "crash":
        print("it fell over", file=sys.stderr)
        return 1
    if MODE == "child":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    asyncio.run(Tiny().run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
