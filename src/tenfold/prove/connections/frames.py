"""What goes over a WebSocket (RFC 6455) and an event stream (HTML, 9.2), as pure functions of bytes.

Only what a small test client needs: whole messages, no extensions. What a server may not send raises `ProtocolError`.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_FINAL, _MASKED = 0x80, 0x80
NO_CODE = 1005
"""What a close frame without a code counts as."""
EVENT_LIMIT = 1 << 20
"""Bytes of one event, at most."""


class ProtocolError(Exception):
    """The other side sent what it may not send."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame."""

    opcode: int
    payload: bytes

    @property
    def code(self) -> int:
        """The code of a close frame."""
        return int.from_bytes(self.payload[:2], "big") if len(self.payload) >= 2 else NO_CODE


def accept_of(key: str) -> str:
    """What a server answers to a `Sec-WebSocket-Key`."""
    return base64.b64encode(hashlib.sha1(key.encode("ascii") + _MAGIC, usedforsecurity=False).digest()).decode("ascii")


def encode(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """One frame as a client sends it; `mask` is four bytes."""
    size = len(payload)
    head = bytes([_FINAL | opcode])
    if size < 126:
        head += bytes([_MASKED | size])
    elif size < 1 << 16:
        head += bytes([_MASKED | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([_MASKED | 127]) + size.to_bytes(8, "big")
    return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


class Frames:
    """Takes bytes as they come from a server and gives whole frames."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole now; raises `ProtocolError`."""
        self._buffer += data
        found = []
        while (frame := self._next()) is not None:
            found.append(frame)
        return found

    def _next(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        if not buffer[0] & _FINAL or buffer[0] & 0x70 or not buffer[0] & 0x0F:
            raise ProtocolError("a fragment, or an extension that was not agreed on")
        if buffer[1] & _MASKED:
            raise ProtocolError("a server does not mask")
        size, begin = buffer[1] & 0x7F, 2
        if size >= 126:
            begin = 4 if size == 126 else 10
            if len(buffer) < begin:
                return None
            size = int.from_bytes(buffer[2:begin], "big")
        if size > EVENT_LIMIT:
            raise ProtocolError(f"a frame of {size} bytes")
        if len(buffer) < begin + size:
            return None
        self._buffer = buffer[begin + size :]
        return Frame(buffer[0] & 0x0F, buffer[begin : begin + size])


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its id and its data."""

    id: str
    data: str


class Events:
    """Takes the body of an event stream as it comes and gives whole events."""

    def __init__(self) -> None:
        self._buffer = b""
        self._id = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[Event]:
        """The events that are whole now; raises `ProtocolError`. Lines end with LF, CRLF or CR."""
        self._buffer += data
        if len(self._buffer) > EVENT_LIMIT:
            raise ProtocolError("a line without an end")
        # A CR at the very end may be the first half of CRLF.
        held = b"\r" if self._buffer.endswith(b"\r") else b""
        text = self._buffer[: len(self._buffer) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        self._buffer = rest + held
        return [event for line in lines if (event := self._line(line.decode("utf-8", "replace"))) is not None]

    def _line(self, line: str) -> Event | None:
        if not line:
            event = Event(self._id, "\n".join(self._data)) if self._data else None
            self._data = []
            return event
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "id":
            self._id = value
        return None
