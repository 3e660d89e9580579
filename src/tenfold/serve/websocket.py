"""WebSocket connections: uvicorn's protocol on `websockets`, with a door, and an end that loses nothing.

A connection begins as an HTTP request, whose head says what the service may know of its client; it is handed over here
when that head asks for a WebSocket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from tenfold.serve.door import Door
from tenfold.serve.head import RELAYED

if TYPE_CHECKING:
    from tenfold.serve.protocol import WebProtocol

SERVICE_RESTART = 1012
REASON = "The server restarts; connect again."


class WebSocketConnection(WebSocketsSansIOProtocol):
    """One WebSocket of the web process."""

    door: Door

    def take_over(self, http: WebProtocol) -> None:
        """Continues the connection of `http`, whose last request asked for a WebSocket."""
        self.door = http.door
        self._waiting = False
        """Whether the application waits for the next message."""
        self._ended = False
        """Whether the connection was ended here, which the application may not know yet."""
        asked: Any = http.scope
        self.connection_made(http.transport)
        self.door.websockets.add(self)
        self._asked = asked
        self.client, self.server = asked["client"], asked["server"]
        self.scheme = "wss" if asked["scheme"] == "https" else "ws"
        http.transport.set_protocol(self)
        self.data_received(_head(asked, http.url))

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.transport.is_closing():
            # `websockets` has an answer to a head that it does not take, which uvicorn does not send.
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_connect(self, event: Request) -> None:
        """The handshake was asked for."""
        super().handle_connect(event)
        if RELAYED in self._asked and hasattr(self, "scope"):
            self.scope[RELAYED] = True  # type: ignore[literal-required]

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of it."""
        self.door.websockets.discard(self)
        super().connection_lost(exc)

    async def receive(self) -> Any:
        """The application waits for a message."""
        self._waiting = True
        try:
            return await super().receive()
        finally:
            self._waiting = False

    async def send(self, message: Any) -> None:
        """The application has a message. Raises `OSError` once the connection was ended here."""
        if self._ended:
            raise ClientDisconnected
        await super().send(message)

    def is_quiet(self) -> bool:
        """Whether the application waits for a message, and none has come."""
        from tenfold.serve.protocol import unread  # noqa: PLC0415 - which imports this module when it is needed

        return self._waiting and self.queue.empty() and not self.frames and not unread(self.transport)

    def end(self) -> None:
        """Sends a close frame with 1012, and waits for the client's; nothing before the handshake is complete."""
        if self.close_sent or not self.handshake_complete or self.transport.is_closing():
            return
        self._ended = self.close_sent = True
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": SERVICE_RESTART, "reason": REASON})
        self.conn.send_close(SERVICE_RESTART, REASON)
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)


def _head(asked: Any, url: bytes) -> bytes:
    """The head of the request once more, without what the service is not to see."""
    lines = [b"GET " + url + b" HTTP/1.1", *(name + b": " + value for name, value in asked["headers"]), b"", b""]
    return b"\r\n".join(lines)
