"""One HTTP/1.1 exchange after the other over real connections, and what the client may conclude from each.

A lean client on purpose: it shares its core with the checkers, and a library's retries and pools would hide what is to
be seen. It never repeats a request by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httptools

from tenfold.prove.history import Status
from tenfold.prove.workloads.base import Answer, Request

CONNECT_S = 5.0
ANSWER_S = 20.0
READ_BYTES = 64 * 1024
BODY_LIMIT = 8 * 1024 * 1024

_MAYBE_APPLIED = frozenset({500, 502, 504})
_SURELY_NOT = frozenset({503, 507})


@dataclass(frozen=True, slots=True)
class Target:
    """Where the load goes: one address, and the probe's secret for requests below its path."""

    host: str
    port: int
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back: an answer, or none. `sent` says whether any byte of the request may have arrived, `begun` whether
    an answer that never became whole had begun."""

    answer: Answer | None
    sent: bool
    begun: bool = False


def status_of(heard: Heard) -> Status:
    """What the client may conclude.

    Refused connections and answers 4xx are surely not applied; so are our own 503 and 507, which say so in a problem
    document with a code. Everything without an answer, 500, 502, 504 and a bare 503 may have been applied.
    """
    answer = heard.answer
    if answer is None:
        return Status.UNKNOWN if heard.sent else Status.FAIL
    if answer.status in _MAYBE_APPLIED:
        return Status.UNKNOWN
    if answer.status in _SURELY_NOT:
        problem = answer.json()
        return Status.FAIL if isinstance(problem, dict) and problem.get("code") else Status.UNKNOWN
    if answer.status >= 500:
        return Status.UNKNOWN
    return Status.FAIL if answer.status >= 400 else Status.OK


class _Parsed:
    """Collects one response; the parser calls it back."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.begun = False
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        if key == "set-cookie" and key in self.headers:
            text = f"{self.headers[key]}\n{text}"  # the one header that cannot be joined with commas
        self.headers[key] = text

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True


class Connection:
    """A client's connection to one address; opened when needed, kept while the server keeps it."""

    def __init__(self, host: str, port: int, now_us: Callable[[], int] = lambda: 0) -> None:
        """`now_us` is the clock that `opened_us` is read from."""
        self.opened_us = 0
        self._now_us = now_us
        self._host = host
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def exchange(self, request: Request, headers: dict[str, str], *, slow_s: float = 0.0) -> Heard:
        """Sends one request and waits for its answer, at most `ANSWER_S`; `slow_s` lies between the two halves of its
        body."""
        sent = False
        parsed = _Parsed()
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await self._open()
            sent = True
            async with asyncio.timeout(ANSWER_S):
                await self._send(writer, request, headers, slow_s)
                answer = await _receive(reader, parsed)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, httptools.HttpParserError):
            self.close()
            return Heard(None, sent, parsed.begun)
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
        return Heard(answer, True)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._writer is not None and self._reader is not None and not _closed(self._writer):
            return self._reader, self._writer
        self.close()
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        self.opened_us = self._now_us()
        return self._reader, self._writer

    async def _send(
        self, writer: asyncio.StreamWriter, request: Request, headers: dict[str, str], slow_s: float
    ) -> None:
        head = head_of(request, headers, f"{self._host}:{self._port}")
        if not slow_s or not request.body:
            writer.write(head + request.body)
        else:
            half = len(request.body) // 2
            writer.write(head + request.body[:half])
            await asyncio.sleep(slow_s)
            writer.write(request.body[half:])
        await writer.drain()

    def close(self) -> None:
        """Closes the connection, if there is one."""
        if self._writer is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._writer.close()
        self._reader = self._writer = None

    async def aclose(self) -> None:
        """Closes the connection and waits until it is gone."""
        writer = self._writer
        self.close()
        if writer is not None:
            with contextlib.suppress(OSError, RuntimeError):
                await writer.wait_closed()


def _closed(writer: asyncio.StreamWriter) -> bool:
    """Whether the server has ended the connection, as the kernel knows it now: the loop may not have looked yet."""
    if writer.is_closing():
        return True
    looked = select.poll()
    looked.register(writer.get_extra_info("socket").fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(looked.poll(0))  # an idle connection has nothing to read but its end


def head_of(request: Request, headers: dict[str, str], host: str) -> bytes:
    """The head of a request as it goes over the wire."""
    lines = [f"{request.method} {request.path} HTTP/1.1", f"host: {host}"]
    lines += [f"{name}: {value}" for name, value in {**headers, **request.headers}.items()]
    if request.body or request.method == "POST":
        lines.append(f"content-length: {len(request.body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _receive(reader: asyncio.StreamReader, parsed: _Parsed) -> Answer:
    parser: Any = httptools.HttpResponseParser(parsed)
    while not parsed.complete:
        data = await reader.read(READ_BYTES)
        if not data or len(parsed.body) > BODY_LIMIT:
            raise asyncio.IncompleteReadError(bytes(parsed.body), None)
        parsed.begun = True
        parser.feed_data(data)
    return Answer(parser.get_status_code(), parsed.headers, bytes(parsed.body))
