"""One WebSocket between the server and the framework, as `exchange` is for one request.

The token of the client comes with the handshake and goes with its answer; what is read and written later goes by the
same scope, so that the socket reads its own writes for as long as it is open.
"""

from __future__ import annotations

import contextlib
from typing import Any

from tenfold.blocks.database.scope import RequestScope
from tenfold.core.errors import TenfoldError, Unavailable
from tenfold.serve.exchange import CLIENT_LEFT, Message, Receive, Scope, Send, check_response, token_headers
from tenfold.serve.problem import problem_response

INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013
FORBIDDEN = 403
"""What servers answer when the framework closes before it accepts."""


class Conversation:
    """State of one WebSocket. `status` is the handshake's: 101 once accepted."""

    __slots__ = ("_receive", "_send", "bytes_sent", "closed", "request", "scope", "seen", "status")

    def __init__(self, scope: Scope, receive: Receive, send: Send, request: RequestScope) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self.request = request
        self.seen = request.token
        self.status = 0
        self.bytes_sent = 0
        self.closed = False
        """Either side has closed it, or the handshake was answered with something else."""

    async def receive(self) -> Message:
        """The next message of the client, or that it left."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self.closed = True
        return message

    async def send(self, message: Message) -> None:
        """Passes a message on. Raises `HeaderRefusedError` for an answer to the handshake that must not be sent, and
        `OSError` when the client is not there any more."""
        kind = message["type"]
        if kind == "websocket.send":
            self.bytes_sent += len(message.get("bytes") or message.get("text") or b"")
        elif kind == "websocket.accept":
            message = self._accepting(message)
            self.status = 101
        elif kind == "websocket.close":
            self.status = self.status or FORBIDDEN
            self.closed = True
        elif kind == "websocket.http.response.start":
            check_response(message["status"], message.get("headers", ()))
            self.status = message["status"]
        elif not message.get("more_body", False):
            self.closed = True
        try:
            await self._send(message)
        except OSError:
            self.closed = True
            raise

    async def fail(self, error: Exception) -> None:
        """Tells the client what it may know of an error: a problem document before the handshake, a code after it."""
        if self.closed:
            return
        with contextlib.suppress(OSError):  # it left at this very moment
            if self.status:
                code = TRY_AGAIN_LATER if isinstance(error, Unavailable) else INTERNAL_ERROR
                reason = error.code if isinstance(error, TenfoldError) else "TF-INTERNAL"
                await self.send({"type": "websocket.close", "code": code, "reason": reason})
            elif "websocket.http.response" in self.scope.get("extensions", {}):
                response = problem_response(error, self.request.request_id)
                start = {"status": response.status, "headers": response.headers}
                await self.send({"type": "websocket.http.response.start", **start})
                await self.send({"type": "websocket.http.response.body", "body": response.body})
            else:
                await self.send({"type": "websocket.close"})

    def says_nothing_new(self, error: Exception) -> bool:
        """Whether an exception only says that the client left, as frameworks do after the end of a socket."""
        return self.closed and (isinstance(error, OSError) or type(error).__name__ == "WebSocketDisconnect")

    def outcome(self) -> int:
        """The status of the handshake, for the log."""
        return self.status or (CLIENT_LEFT if self.closed else 500)

    def _accepting(self, message: Any) -> Message:
        headers = list(message.get("headers") or ())
        protocol = message.get("subprotocol")
        check_response(101, [*headers, (b"sec-websocket-protocol", (protocol or "").encode("latin-1", "replace"))])
        if self.request.token != self.seen:
            # The answer to a handshake is for one client only: no cache stores it.
            headers += token_headers(self.request.token, secure=self.scope.get("scheme") == "wss")
        return {**message, "headers": headers}
