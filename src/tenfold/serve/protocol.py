"""HTTP/1.1 connections: uvicorn's protocol on httptools, with the limits and the manners it lacks.

- A request's head has at most 32 KB and 10 s; a body that stops coming for 30 s is given up.
- What is not HTTP is answered with a problem document.
- An idle connection is closed only when nothing waits in its receive buffer: closing with unread bytes makes the kernel
  reset the connection, and a request that was on its way is lost.
- While its door closes, the next response of each connection says `Connection: close`; that is the only way in
  HTTP/1.1 to end a connection that a client may be about to use.
- What a client says of itself as if it were a proxy is not believed, and does not reach the service: it sees the same
  headers with and without a balancer in front.

The limits cost nothing per request: one sweep a second looks at all connections.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tenfold.serve.door import Door
from tenfold.serve.head import EVENTS, RELAYED, is_forwarding
from tenfold.serve.problem import raw_problem

MAX_HEAD_BYTES = 32 << 10
HEAD_LIMIT_S = 10.0
BODY_STALL_S = 30.0
SWEEP_S = 1.0

_TOO_LARGE = (431, "head_too_large", f"The request's head is larger than {MAX_HEAD_BYTES} bytes.")
_TOO_SLOW = (408, "head_too_slow", f"The request's head did not arrive within {HEAD_LIMIT_S:.0f} s.")
_STALLED = (408, "body_stalled", f"The request's body stopped coming for {BODY_STALL_S:.0f} s.")
_NOT_HTTP = (400, "not_http", "This is not a valid HTTP/1.1 request.")

_LOOKED_AT = frozenset(b"efx")
"""First bytes of the names that are looked at: `expect`, `forwarded`, `x-...`. The others cost one comparison."""

_NOT_FOR_THE_SERVICE = frozenset({b"x-request-id", b"x-tenfold-door"})


class RefusedError(Exception):
    """Stops the parser; `_refusal` says why."""


class WebProtocol(HttpToolsProtocol):
    """One connection of the web process, of the public door."""

    door = Door()
    """Where it came in; of each connection its own in the web process."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection."""
        super().connection_made(transport)
        self.door.connections.add(self)
        self._since = self.loop.time()
        """When the connection began, its head began, or its body last moved."""
        self._head_bytes = 0
        self._measured = False
        self._refusal = _NOT_HTTP

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of it."""
        self.door.connections.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        # A whole head in a chunk below the limit, the ordinary case, needs no look at its size.
        self._measured = self._head_bytes + len(data) > MAX_HEAD_BYTES
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head():
            if not self._head_bytes:
                self._since = self.loop.time()
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(_TOO_LARGE)
            return
        self._head_bytes = 0
        cycle = self.cycle
        if cycle is not None:
            if cycle.more_body:
                self._since = self.loop.time()
            if self.door.closing:
                self.announce_close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; those that only a balancer may say are set aside."""
        name = name.lower()
        if name[0] in _LOOKED_AT and self._set_aside(name, value):
            return
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole: the last moment to refuse it by its size."""
        if self._measured and self._head_size() > MAX_HEAD_BYTES:
            self._refusal = _TOO_LARGE
            raise RefusedError
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """The parser gave up; `msg` is uvicorn's text for it, which ours replaces."""
        self._refuse(self._refusal)

    def timeout_keep_alive_handler(self) -> None:
        """Idle for the keep-alive time."""
        self.close_if_quiet()

    def shutdown(self) -> None:
        """The server ends: uvicorn calls this for what is left when the drain's limit has passed."""
        if not self.close_if_quiet():
            self.announce_close()

    def announce_close(self) -> None:
        """The response under way, or the last of a pipeline, ends the connection, if its head is not yet sent."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_started:
            cycle.keep_alive = False

    def idle_since(self) -> float | None:
        """The loop's time since when nothing is under way; None while something is."""
        if self._in_head() or (self.cycle is not None and not self.cycle.response_complete):
            return None
        timer = self.timeout_keep_alive_task
        return self._since if timer is None else timer.when() - self.timeout_keep_alive

    def close_if_quiet(self) -> bool:
        """Closes an idle connection whose receive buffer is empty. Returns whether the connection is closing."""
        if self.transport.is_closing():
            return True
        if self.idle_since() is None or unread(self.transport):
            return False
        self.transport.close()
        return True

    def streams(self) -> bool:
        """Whether the answer under way is an event stream."""
        cycle = self.cycle
        return cycle is not None and cycle.response_started and not cycle.response_complete and EVENTS in cycle.scope

    def end_stream(self) -> None:
        """Ends an event stream as its application would: its client comes back, and its application sees it leave."""
        cycle = self.cycle
        if cycle.chunked_encoding:
            self.transport.write(b"0\r\n\r\n")
        cycle.response_complete = cycle.disconnected = True  # what the application still sends is dropped
        cycle.message_event.set()
        self.transport.close()

    def handle_websocket_upgrade(self) -> None:
        """The connection is a WebSocket from now on."""
        # Imported by the first one: it takes 30 ms, and most services have none.
        from tenfold.serve.websocket import WebSocketConnection  # noqa: PLC0415

        self.connections.discard(self)
        self.door.connections.discard(self)
        WebSocketConnection(self.config, self.server_state, self.app_state, self.loop).take_over(self)

    def sweep(self, now: float) -> None:
        """Cuts the connection if it has been too slow."""
        waited = now - self._since
        cycle = self.cycle
        if self.transport.is_closing():
            return
        if self._in_head():
            if waited > HEAD_LIMIT_S:
                self._refuse(_TOO_SLOW)
        elif cycle is None:
            if waited > self.timeout_keep_alive:
                self.close_if_quiet()
        elif cycle.more_body and not self.flow.read_paused and waited > BODY_STALL_S:
            # After an early response this is a body that nobody waits for any more.
            self._refuse(_STALLED) if not cycle.response_complete else self.close_if_quiet()

    def _set_aside(self, name: bytes, value: bytes) -> bool:
        """Whether the service does not get to see this header. `name` is in lower case."""
        if name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
            return False
        # Some frameworks cannot tell `x_forwarded_for` from `x-forwarded-for`.
        plain = name.replace(b"_", b"-")
        if is_forwarding(plain):
            self.scope[RELAYED] = True  # type: ignore[literal-required]
            return True
        return plain in _NOT_FOR_THE_SERVICE

    def _should_upgrade_to_ws(self) -> bool:
        """Whether an `Upgrade: websocket` is meant: only then is it no ordinary request."""
        return (
            self.scope["method"] == "GET"
            and (self.cycle is None or self.cycle.response_complete)
            and any(name == b"sec-websocket-key" for name, _ in self.headers)
        )

    def _unsupported_upgrade_warning(self) -> None:
        """Says nothing: whoever asks for another protocol is answered in this one."""

    def _in_head(self) -> bool:
        # uvicorn makes the scope at the first byte of a request and adds the method when the head is whole.
        return self.scope is not None and "method" not in self.scope

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _refuse(self, refusal: tuple[int, str, str]) -> None:
        status, reason, detail = refusal
        self.config.app.metrics.refused(reason)  # type: ignore[union-attr]
        cycle = self.cycle
        own_body = cycle is not None and cycle.more_body and not cycle.response_started and not self.pipeline
        if cycle is None or cycle.response_complete or own_body:
            self.transport.write(raw_problem(status, detail))
        # Otherwise an earlier response is under way, and anything written now would end up inside it.
        self.transport.close()


def unread(transport: Any) -> int:
    """Bytes of the client that wait in the kernel."""
    buffer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, b"\0\0\0\0")
    count: int = struct.unpack("i", buffer)[0]
    return count
