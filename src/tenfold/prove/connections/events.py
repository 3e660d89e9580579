"""A client of an event stream: it names the last event that it has when it comes back, as browsers do."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import httptools

from tenfold.prove.checkers.streams import CUT, WHOLE
from tenfold.prove.client import ANSWER_S, CONNECT_S, READ_BYTES, Heard, head_of, status_of
from tenfold.prove.connections.frames import Event, Events, ProtocolError
from tenfold.prove.connections.ground import Diary, Ground
from tenfold.prove.history import Status
from tenfold.prove.probe.limits import EVENT_MS
from tenfold.prove.workloads.base import Answer, Request, probe_path

NAME = "events"
CLIENTS = 3
AGAIN_S = 0.05


class _Stream:
    """Collects one response as it comes; the parser calls it back."""

    def __init__(self) -> None:
        self.parser: Any = httptools.HttpResponseParser(self)
        self.began = False
        self.complete = False
        self._events = Events()
        self._ready: list[Event] = []

    def on_headers_complete(self) -> None:
        self.began = True

    def on_body(self, data: bytes) -> None:
        self._ready += self._events.feed(data)

    def on_message_complete(self) -> None:
        self.complete = True

    def feed(self, data: bytes) -> list[Event]:
        """The events that have come; raises what a broken response raises."""
        self.parser.feed_data(data)
        found, self._ready = self._ready, []
        return found


class Client:
    """Reads numbered events over as many connections as it takes."""

    def __init__(self, ground: Ground, number: int) -> None:
        self._ground = ground
        self._diary = Diary(ground, NAME, f"{ground.run}-{NAME}-{number}")
        self._last = "0"
        self._heard_us = 0
        """When the last event came; the next one is due from then on."""
        self._alive_us = 0
        """When the server sent the last event. A busy client may hear of it after the server has died."""

    async def live(self) -> None:
        """Reads until it is over."""
        while not self._ground.over.is_set():
            await self._once()
            await self._ground.rest(AGAIN_S)

    async def _once(self) -> None:
        """One connection to its end."""
        ground, diary, writer = self._ground, self._diary, None
        diary.last_us = max(diary.last_us, ground.now_us())
        stream = _Stream()
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(ground.target.host, ground.target.port)
            diary.opened_us = self._alive_us = ground.now_us()
            writer.write(self._head())
            await self._read(reader, stream)
        except TimeoutError:
            self._broke(stream, writer is not None, silent=True)
        except (OSError, ProtocolError, httptools.HttpParserError):
            self._broke(stream, writer is not None, silent=False)
        if writer is not None:
            with contextlib.suppress(OSError, RuntimeError):
                writer.close()
                await writer.wait_closed()

    def _head(self) -> bytes:
        target = self._ground.target
        request = Request("GET", probe_path("events"), "connect", "", headers={"last-event-id": self._last})
        return head_of(request, self._ground.probe(), f"{target.host}:{target.port}")

    async def _read(self, reader: asyncio.StreamReader, stream: _Stream) -> None:
        connected = False
        while not self._ground.over.is_set():
            async with asyncio.timeout(ANSWER_S):
                data = await reader.read(READ_BYTES)
            if not data:
                raise OSError("the connection ended")
            events = stream.feed(data)
            if stream.began and not connected:
                connected = self._connected(stream)
                if not connected:
                    return
            for event in events:
                self._event(event)
            if stream.complete:
                self._diary.note("end", WHOLE, Status.OK)
                return

    def _connected(self, stream: _Stream) -> bool:
        http = stream.parser.get_status_code()
        status = status_of(Heard(Answer(http), True))
        self._diary.note("connect", None, Status.FAIL if status is Status.OK and http != 200 else status, http=http)
        return bool(http == 200)

    def _event(self, event: Event) -> None:
        diary = self._diary
        value = int(event.id) if event.id.isascii() and event.id.isdigit() else -1
        # The server sends one in a while; only what is more than that is a wait.
        diary.note("event", value, Status.OK, start_us=self._heard_us, own_us=EVENT_MS * 1000)
        self._last, self._heard_us = event.id, diary.last_us
        sent_us = int(event.data) if event.data.isascii() and event.data.isdigit() else 0
        self._alive_us = min(max(sent_us, self._alive_us), diary.last_us)

    def _broke(self, stream: _Stream, sent: bool, *, silent: bool) -> None:
        if not stream.began:
            self._diary.note("connect", None, status_of(Heard(None, sent)))
        elif silent:
            self._diary.note("event", None, Status.UNKNOWN, start_us=self._heard_us)
        else:
            self._diary.note("end", CUT, Status.UNKNOWN, alive_us=self._alive_us)
