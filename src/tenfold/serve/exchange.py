"""One request and its response, between the server and the framework.

The framework gets `receive` and `send` of the exchange. They keep the body within its limit, look at the headers of the
response, and remember how far the response has come, because what can be done about an error depends on that.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any

from tenfold.blocks.database.scope import RequestScope
from tenfold.blocks.database.token import Token
from tenfold.core.errors import InvalidRequest, TenfoldError
from tenfold.serve.added import with_added
from tenfold.serve.head import EVENTS, KEYED_METHODS, TOKEN_COOKIE, Head, fingerprint_of
from tenfold.serve.hot import Response
from tenfold.serve.problem import problem_response
from tenfold.serve.replay import is_replayable

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LINGER_S = 5.0
"""How long a refused body is still read. Closing at once would reset the connection and take the answer with it."""

LINGER_BYTES = 64 << 20

MAX_HELD_BYTES = 1 << 20
"""A framework's 500 answer is held up to this size, until it is known whether an exception follows it."""

MAX_KEPT_BYTES = 1 << 20
"""A body is kept for another attempt up to this size."""

MAX_KEYED_BYTES = 1 << 20
"""A request with an Idempotency-Key has no larger body, whatever its route takes: it is read whole into memory."""

CLIENT_LEFT = 499
"""What the log says of requests whose client went away before the answer."""

_BAD_NAME = re.compile(rb'[\x00-\x20\x7f()<>@,;:\[\]={}\\"/?]')
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class BodyTooLargeError(InvalidRequest):
    """The request's body exceeds the limit, in bytes."""

    code = "TF-BODY"
    title = "The request's body is too large"
    status = 413
    says = "The body is larger than the {} bytes that are accepted."
    advice = "Send less."

    def __init__(self, limit: int) -> None:
        super().__init__(self.says.format(limit), hint=self.advice)


class KeyedBodyTooLargeError(BodyTooLargeError):
    """The body exceeds what a request with an Idempotency-Key may have, though not what its route takes."""

    code = "TF-BODY-KEYED"
    says = "The body is larger than the {} bytes that a request with an Idempotency-Key may have."
    advice = "Upload it without the key, then name what was uploaded in a small request with the key."


class HeaderRefusedError(TenfoldError):
    """A handler made a response that must not be sent: a header could break out of its line, or the status is none."""

    code = "TF-HEADER"
    title = "The service made a response that cannot be sent"


class ClientLeftError(Exception):
    """The client closed the connection before its request was complete."""


class Exchange:
    """State of one request being answered by the framework."""

    __slots__ = (
        "_from_start",
        "_held",
        "_kept",
        "_more",
        "_now",
        "_origin",
        "_receive",
        "_received",
        "_send",
        "_too_large",
        "bytes_sent",
        "client_left",
        "complete",
        "ended",
        "failure",
        "fresh",
        "head",
        "limit",
        "refused",
        "replays",
        "request",
        "route",
        "scope",
        "seen",
        "started",
        "status",
        "visitor",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        head: Head,
        request: RequestScope,
        limit: int,
        now: Callable[[], float],
    ) -> None:
        self.scope = self._origin = scope
        self._receive = receive
        self._send = send
        self._now = now
        self.head = head
        self.request = request
        self.seen = request.token
        """The token as the client sent it."""
        self.limit = limit
        self._too_large = BodyTooLargeError
        self.route = "app"
        """The route class in the metrics: a hot route's template, `internal`, or `app`."""
        self.status = 0
        self.bytes_sent = 0
        self.started = False
        self.complete = False
        self.ended = 0.0
        """When the answer was complete (monotonic seconds); background tasks of the framework run on after it."""
        self.failure = ""
        """The code of the error that it ended with, or the type of an exception."""
        self.client_left = False
        self.refused = False
        """The 413 was sent; whatever the framework still says is dropped."""
        self.visitor: Callable[[Scope], bytes] = nobody
        """Names the session of the sender."""
        self.replays = 0
        """How often this request was begun anew."""
        self.fresh: Scope | None = None
        """The scope as it came, for another attempt: frameworks write into the one they get."""
        self._received = 0
        self._more = True
        self._kept: list[bytes] | None = []
        """What was read of the body, for another attempt; None once that is too much, or of no use."""
        self._from_start = False
        """Whether what is kept is to be read again, before the rest."""
        self._held: list[Message] | None = None

    # What the framework calls

    async def receive(self) -> Message:
        """The next part of the body. Raises `BodyTooLargeError`, after answering 413, beyond the limit."""
        if self._from_start:
            self._from_start = False
            return {"type": "http.request", "body": b"".join(self._kept or ()), "more_body": self._more}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.client_left = not self.complete
            return message
        self._more = message.get("more_body", False)
        if body := message.get("body", b""):
            self._received += len(body)
            if self._received > self.limit:
                error = self._too_large(self.limit)
                if not self.started:
                    await self.refuse(error)
                raise error
            if self._kept is not None:
                self._keep(body)
        return message

    async def send(self, message: Message) -> None:
        """Passes the response on: a 500 only once it is known whether an exception follows, the rest at once."""
        if self.refused:
            return
        if message["type"] == "http.response.start":
            if check_response(message["status"], message.get("headers", ())):
                self._origin[EVENTS] = True
            if message["status"] == 500:
                self._held = [message]
                return
            await self._start(message)
        elif self._held is not None and message["type"] == "http.response.body":
            await self._hold(message)
        else:
            await self._pass(message)

    # What the middleware calls

    async def respond(self, response: Response) -> None:
        """Sends a complete response, unless it could break out of its headers (`HeaderRefusedError`)."""
        if not response.sendable:
            check_response(response.status, response.headers)
            response.sendable = True
        self._held = None
        await self._start({"type": "http.response.start", "status": response.status, "headers": response.headers})
        if response.stream is not None:
            await self._pour(response.stream)
        await self._pass({"type": "http.response.body", "body": response.body})

    async def refuse(self, error: BodyTooLargeError) -> None:
        """Answers while the client still sends, then reads on for a moment, so that it gets to see the answer."""
        self.refused = True
        response = problem_response(error, self.request.request_id, close=True)
        await self._start({"type": "http.response.start", "status": response.status, "headers": response.headers})
        await self._pass({"type": "http.response.body", "body": response.body, "more_body": True})
        if not self.head.expects_continue:
            await self._linger()
        await self._pass({"type": "http.response.body", "body": b""})

    async def check_length(self) -> None:
        """Raises `BodyTooLargeError`, after answering 413, when the head says that the body exceeds the limit."""
        if self.head.length > self.limit:
            error = self._too_large(self.limit)
            await self.refuse(error)
            raise error

    async def read_up_to(self, size: int) -> bytes | None:
        """The whole body, which the framework gets to read again; None, once that is known, when it is larger than
        `size` bytes. Raises `ClientLeftError`, `BodyTooLargeError`."""
        read, more, parts = 0, True, []
        while more and read <= size:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientLeftError
            parts.append(message.get("body", b""))
            read += len(parts[-1])
            more = message.get("more_body", False)
        body = b"".join(parts)
        self._kept, self._from_start = [body], True
        return body if read <= size else None

    async def identify(self, key: str) -> None:
        """Makes this a keyed request: its transactions are found again when the client sends it once more."""
        if self.scope["method"] in KEYED_METHODS:
            if self.limit > MAX_KEYED_BYTES:
                self.limit, self._too_large = MAX_KEYED_BYTES, KeyedBodyTooLargeError
                await self.check_length()
            body = await self.read_up_to(self.limit)
            assert body is not None, "a larger one was refused"
            self.request.idempotency_key = key
            self.request.fingerprint = fingerprint_of(self.scope, body, self.visitor(self.scope))

    def may_run_again(self) -> bool:
        """Whether another attempt can be made of which the client notices nothing: it has seen nothing yet, all that
        was read is kept, and the endpoint is one that may run again."""
        untouched = not (self.started or self.refused or self.client_left) and self._kept is not None
        return untouched and is_replayable(self.scope["method"], self.scope.get("endpoint"))

    def begin_anew(self) -> None:
        """Puts everything back to how the request came."""
        self.replays += 1
        self._held = None
        self._from_start = bool(self._kept) or not self._more
        self.request.rewind()
        if self.fresh is not None:
            self.scope = self.fresh

    def held_body(self) -> bytes | None:
        """The body of a 500 that the framework made and nobody has seen yet; None when there is none."""
        if self._held is None:
            return None
        return b"".join(message.get("body", b"") for message in self._held[1:])

    async def release(self) -> None:
        """Sends the held 500: it was meant."""
        held, self._held = self._held, None
        if held:
            await self._start(held[0])
            for message in held[1:]:
                await self._pass(message)

    # Inside

    def _keep(self, part: bytes) -> None:
        assert self._kept is not None, "only called while the body is kept"
        if self._received > MAX_KEPT_BYTES or not is_replayable(self.scope["method"], self.scope.get("endpoint")):
            self._kept = None
        else:
            self._kept.append(part)

    async def _start(self, message: Message) -> None:
        if self.request.answering:
            await self._before_answer(message)
        self.status = message["status"]
        if self.request.token is not self.seen and self.request.token != self.seen:
            message["headers"] = self._with_token(list(message.get("headers", ())))
        self.started = True
        await self._send(message)

    async def _before_answer(self, message: Message) -> None:
        """Lets blocks finish what belongs to this request (a session is saved), and adds their headers."""
        calls, self.request.answering = self.request.answering or [], None  # an error of one is answered without them
        added: list[tuple[bytes, bytes]] = []
        for call in calls:
            added += await call(message["status"])
        where = f"{self.scope['method']} {self.scope['path']}"
        headers = with_added(list(message.get("headers", ())), added, where)
        check_response(message["status"], headers)
        message["headers"] = headers

    async def _pass(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            self.bytes_sent += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        await self._send(message)
        if self.complete:
            self.ended = self._now()

    async def _pour(self, stream: AsyncGenerator[bytes, None]) -> None:
        """Sends the pieces as fast as the client takes them; of a HEAD only that there are some."""
        async with contextlib.aclosing(stream):
            if self.scope["method"] != "HEAD":
                async for piece in stream:
                    await self._pass({"type": "http.response.body", "body": piece, "more_body": True})

    async def _hold(self, message: Message) -> None:
        assert self._held is not None, "only called while a response is held"
        self._held.append(message)
        if sum(len(part.get("body", b"")) for part in self._held) > MAX_HELD_BYTES:
            await self.release()

    async def _linger(self) -> None:
        read = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while self._more and read < LINGER_BYTES:
                    message = await self._receive()
                    self._more = message.get("more_body", False)
                    read += len(message.get("body", b""))

    def _with_token(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Adds the token where no shared cache can keep it: on private and no-store responses only."""
        control = b",".join(value for name, value in headers if name.lower() == b"cache-control").lower()
        if not control and self.scope["method"] in KEYED_METHODS:
            # Answers to writes are hardly ever stored; saying so makes it certain.
            headers.append((b"cache-control", b"no-store"))
        elif b"private" not in control and b"no-store" not in control:
            return headers
        headers += token_headers(self.request.token, secure=self.scope.get("scheme") == "https")
        return headers


def nobody(scope: Scope) -> bytes:
    """The name of the session in a service without sessions."""
    return b""


def check_response(status: int, headers: Any) -> bool:
    """Raises `HeaderRefusedError` for a response that must not be sent. Returns whether it is an event stream."""
    if not 100 <= status <= 599:
        raise HeaderRefusedError(f"The response has the status {status}, which is not one of HTTP's.")
    events = False
    for name, value in headers:
        if _BAD_VALUE.search(value) or _BAD_NAME.search(name):
            raise HeaderRefusedError(
                f"The response header {name!r} has characters that could break out of its line: {value[:80]!r}.",
                hint="Percent-encode what came from outside before it becomes a header.",
            )
        if name == b"content-type":
            events = value.startswith(b"text/event-stream")
    return events


def token_headers(token: Token, *, secure: bool) -> list[tuple[bytes, bytes]]:
    """The headers that bring a token to its client, and back: one for programs, a cookie for browsers."""
    text = token.encode().encode("ascii")
    cookie = TOKEN_COOKIE + b"=" + text + b"; Path=/; HttpOnly; SameSite=Lax"
    return [(b"tf-token", text), (b"set-cookie", cookie + b"; Secure" if secure else cookie)]
