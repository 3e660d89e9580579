"""A client that talks over a WebSocket without end: each message is echoed, and over another connection it goes on."""

from __future__ import annotations

import asyncio
import base64
import contextlib

from tenfold.prove.checkers.streams import CUT
from tenfold.prove.client import ANSWER_S, CONNECT_S, READ_BYTES, Heard, head_of, status_of
from tenfold.prove.connections.frames import CLOSE, PING, PONG, TEXT, Frame, Frames, ProtocolError, accept_of, encode
from tenfold.prove.connections.ground import Diary, Ground
from tenfold.prove.history import Status
from tenfold.prove.workloads.base import Answer, Request, probe_path

NAME = "websocket"
CLIENTS = 3
REST_S = 0.1
AGAIN_S = 0.05
"""Between a connection that ended and the next."""
HEAD_LIMIT = 16 * 1024
GOING_AWAY = 1001


class CutError(Exception):
    """The connection ended, and nobody said so."""


class WebSocket:
    """One open connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ground: Ground) -> None:
        self._reader = reader
        self._writer = writer
        self._ground = ground
        self._frames = Frames()
        self._ready: list[Frame] = []

    def send(self, opcode: int, payload: bytes) -> None:
        """Sends one frame."""
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.write(encode(opcode, payload, self._ground.randomness.bytes(4)))

    async def next(self) -> Frame:
        """The next text or close frame; pings are answered. Raises `CutError`."""
        while True:
            while self._ready:
                frame = self._ready.pop(0)
                if frame.opcode in (TEXT, CLOSE):
                    return frame
                if frame.opcode == PING:
                    self.send(PONG, frame.payload)
            try:
                data = await self._reader.read(READ_BYTES)
                self._ready += self._frames.feed(data)
            except (OSError, ProtocolError) as error:
                raise CutError(str(error)) from None
            if not data:
                raise CutError("the connection ended")

    async def close(self) -> None:
        """Ends the connection."""
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.close()
            await self._writer.wait_closed()


async def connect(ground: Ground) -> tuple[WebSocket | None, Heard]:
    """Opens a WebSocket to the probe; without one, what was heard instead says why."""
    key = base64.b64encode(ground.randomness.bytes(16)).decode("ascii")
    upgrade = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-version": "13", "sec-websocket-key": key}
    request = Request("GET", probe_path("socket"), "connect", "", headers=upgrade)
    target, writer, data = ground.target, None, b""
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(target.host, target.port)
        writer.write(head_of(request, ground.probe(), f"{target.host}:{target.port}"))
        async with asyncio.timeout(ANSWER_S):
            data = await reader.readuntil(b"\r\n\r\n")
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        begun = bool(getattr(error, "partial", b""))
        heard = Heard(None, writer is not None, begun)
    else:
        answer = _answer(data)
        heard = Heard(answer, True)
        if answer.status == 101 and answer.headers.get("sec-websocket-accept") == accept_of(key):
            return WebSocket(reader, writer, ground), heard
    if writer is not None:
        writer.close()
    return None, heard


def _answer(head: bytes) -> Answer:
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if ":" in line)
    words = first.split(" ")
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    return Answer(status, {name.strip().lower(): value.strip() for name, _, value in pairs})


class Client:
    """Sends numbered messages, each until its echo has come, over as many connections as it takes."""

    def __init__(self, ground: Ground, number: int) -> None:
        self._ground = ground
        self._diary = Diary(ground, NAME, f"{ground.run}-{NAME}-{number}")
        self._number = 1
        self._due_us = 0
        self._alive_us = 0
        """When the last message that came back was sent. A busy client may hear its echo after the server has died."""

    async def live(self) -> None:
        """Talks until it is over."""
        while not self._ground.over.is_set():
            self._diary.last_us = self._alive_us = max(self._diary.last_us, self._ground.now_us())
            socket, heard = await connect(self._ground)
            status = Status.OK if socket is not None else status_of(heard)
            refused = socket is None and status is Status.OK  # a 200 is no WebSocket
            http = heard.answer.status if heard.answer else 0
            self._diary.opened_us = self._ground.now_us()
            self._diary.note("connect", None, Status.FAIL if refused else status, http=http)
            if socket is not None:
                await self._talk(socket)
                await socket.close()
            await self._ground.rest(AGAIN_S)

    async def _talk(self, socket: WebSocket) -> None:
        """Until the connection ends, or it is over."""
        diary, ground = self._diary, self._ground
        try:
            while not ground.over.is_set():
                closed = await self._say(socket)
                closed = closed or await _rest(socket)
                if closed is not None:
                    socket.send(CLOSE, closed.payload[:2])
                    diary.note("end", closed.code, Status.OK)
                    return
            socket.send(CLOSE, GOING_AWAY.to_bytes(2, "big"))
        except CutError:
            diary.note("end", CUT, Status.UNKNOWN, alive_us=self._alive_us)
        except TimeoutError:
            diary.note("echo", [self._text(), None], Status.UNKNOWN, start_us=self._due_us)
            self._number, self._due_us = self._number + 1, 0

    async def _say(self, socket: WebSocket) -> Frame | None:
        """Sends the message whose turn it is and waits for its echo; the close frame, if one comes instead."""
        diary = self._diary
        diary.last_us = said_us = self._ground.now_us()
        self._due_us = self._due_us or diary.last_us
        socket.send(TEXT, self._text().encode())
        async with asyncio.timeout(ANSWER_S):
            frame = await socket.next()
        if frame.opcode == CLOSE:
            return frame
        diary.note("echo", [self._text(), frame.payload.decode("utf-8", "replace")], Status.OK, start_us=self._due_us)
        self._number, self._due_us, self._alive_us = self._number + 1, 0, said_us
        return None

    def _text(self) -> str:
        return f"{self._diary.key}-{self._number}"


async def _rest(socket: WebSocket) -> Frame | None:
    """Listens for as long as the client has nothing to say; the close frame, if one comes."""
    try:
        async with asyncio.timeout(REST_S):
            frame = await socket.next()
    except TimeoutError:
        return None
    if frame.opcode == CLOSE:
        return frame
    raise CutError("a message that nobody asked for")
