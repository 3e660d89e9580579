"""The middleware: pure ASGI around any framework.

    app = tf.asgi(app, hot={"/{code}": redirect})

For each request it gives an id and a scope (token, idempotency key), keeps the body within its limit, answers hot
routes and health by itself, turns errors into problem documents, counts, and writes a line of the access log. A
WebSocket gets the same id, scope and line. It speaks only ASGI, so the service runs under any ASGI server; the web
process of Tenfold adds the drain and the control socket.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from tenfold.blocks.database.scope import RequestScope, enter_scope, leave_scope
from tenfold.blocks.database.token import EMPTY, decode
from tenfold.core.errors import ContractError, TenfoldError
from tenfold.core.trace import Traces
from tenfold.serve.access import AccessLog
from tenfold.serve.bodies import BodyLimits
from tenfold.serve.conversation import Conversation
from tenfold.serve.exchange import (
    CLIENT_LEFT,
    BodyTooLargeError,
    ClientLeftError,
    Exchange,
    Receive,
    Scope,
    Send,
    nobody,
)
from tenfold.serve.head import NOTHING, Head, RequestIds, check_path, named_headers, read_head
from tenfold.serve.health import ALIVE, INTERNAL_PATHS, metrics_response, readiness
from tenfold.serve.hot import Handler, HotRoutes, Request, Response
from tenfold.serve.lifespan import lifespan
from tenfold.serve.limiting import answered, counted
from tenfold.serve.metrics import INTERNAL, HttpMetrics
from tenfold.serve.noted import Noted
from tenfold.serve.noting import note
from tenfold.serve.numbers import Numbers
from tenfold.serve.problem import problem_response
from tenfold.serve.replay import is_passing, wait_before
from tenfold.serve.runtime import Runtime
from tenfold.serve.settings import settings_of

if TYPE_CHECKING:
    from tenfold.topology.map import Map

LOOKED_LONG_AGO_S = 1.0
"""A process that has not looked at its map for so long was paused, or had no time: it looks before it goes on."""

log = logging.getLogger("tenfold.serve")


class ResponseAbortedError(Exception):
    """Tells the server to cut a connection whose response cannot be completed. The reason is in the log already."""


class TenfoldASGI:
    """An ASGI application: Tenfold around the service's own one.

    Guarantees to clients: an error is a problem document and never a stack trace; a response that had begun when its
    handler failed is cut off visibly rather than ended as if it were whole; a header that could break out of its line
    is never sent.
    """

    def __init__(
        self,
        app: Any,
        runtime: Runtime,
        hot: Mapping[str, Handler] | None = None,
        body_limits: Mapping[str, str | int] | None = None,
    ) -> None:
        """`app` is any ASGI 3 application, `hot` maps path templates to handlers (`tenfold.serve.hot`), `body_limits`
        maps them to what takes the place of `public.body_limit` there (`tenfold.serve.bodies`).

        Raises `ContractError` for a template, handler or limit that cannot work.
        """
        self._app = app
        self._runtime = runtime
        self._routes = HotRoutes(hot or {})
        self._body_limits = BodyLimits(body_limits) if body_limits else None
        self._settings = settings_of(runtime.map)
        self._ids = RequestIds(runtime.randomness)
        self._traces = Traces(runtime.randomness)
        self._monotonic = runtime.clock.monotonic
        self._limits = runtime.limits
        self.metrics = HttpMetrics()
        self.numbers = Numbers(runtime, self.metrics, self._look_at_numbers)
        self.noted = Noted()
        self.access: AccessLog | None = None
        """Set by the web process; under another server that server logs."""
        self.leaving = ""
        """Why this process takes no new clients (a drain); empty while it does."""
        self.startup_error: BaseException | None = None
        self.visitor: Callable[[Scope], bytes] = nobody
        """Names the session that a request belongs to; set by what knows of sessions."""
        self._look: Callable[[], object] | None = None
        self._look_after = math.inf
        self._epoch = _epoch_of(runtime.map)

    @property
    def runtime(self) -> Runtime:
        """The blocks behind this application."""
        return self._runtime

    async def open(self) -> None:
        """Opens the blocks; the ASGI lifespan calls it."""
        await self._runtime.open()
        self._settings = settings_of(self._runtime.map)
        self._epoch = _epoch_of(self._runtime.map)
        await self.numbers.push.start()

    async def close(self) -> None:
        """Closes the blocks; the ASGI lifespan calls it."""
        await self._runtime.close()
        await self.numbers.push.stop()  # with what was counted last

    def adopt(self, new: Map) -> None:
        """Goes by a new map from the next request on."""
        self._runtime.adopt(new)
        self._settings = settings_of(new)
        self._epoch = new.epoch

    def watch(self, look: Callable[[], object]) -> None:
        """Registers what looks at the map file at once and adopts a newer map (and does not raise). From now on
        `looked` is called at least every 250 ms."""
        self._look = look
        self._runtime.on_stale(look)
        self.looked()

    def looked(self) -> None:
        """The map file has just been looked at."""
        self._look_after = self._monotonic() + LOOKED_LONG_AGO_S

    def _look_now(self) -> None:
        """Before a request is begun by a map that may be old: this process was paused, or its client has seen more."""
        if self._look is not None:
            self.looked()
            self._look()

    def ready(self) -> tuple[bool, str]:
        """Whether new clients should come here, and why not."""
        return (False, self.leaving) if self.leaving else self._runtime.ready()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await lifespan(self, self._app, scope, receive, send)
            elif scope["type"] == "websocket":
                await self._websocket(scope, receive, send)
            else:
                await self._app(scope, receive, send)
            return
        began = self._monotonic()
        if began > self._look_after:
            self._look_now()
        metrics = self.metrics
        metrics.in_flight += 1
        exchange = self._exchange(scope, receive, send)
        entered = enter_scope(exchange.request)
        try:
            await self._answer(exchange, began)
        except (ClientLeftError, BodyTooLargeError):
            pass  # nobody is there to be answered; or the answer was given where the limit was met
        finally:
            leave_scope(entered)
            metrics.in_flight -= 1
            self._account(exchange, began)

    def _exchange(self, scope: Scope, receive: Receive, send: Send) -> Exchange:
        head = read_head(scope["headers"])
        request = self._request(head)
        request.http = scope
        limit = self._settings.body_limit
        if self._body_limits is not None:
            limit = self._body_limits.of(scope["path"], limit)
        exchange = Exchange(scope, receive, send, head=head, request=request, limit=limit, now=self._monotonic)
        exchange.visitor = self.visitor
        return exchange

    def _request(self, head: Head) -> RequestScope:
        token = EMPTY
        if head.token:
            token = decode(head.token)
            if token.epoch > self._epoch:
                self._look_now()
        request = RequestScope(request_id=head.request_id or self._ids.next(), token=token)
        request.trace = self._traces.next(head.caller() if head.traceparents else None)
        return request

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket, from its handshake to its end."""
        began = self._monotonic()
        if began > self._look_after:
            self._look_now()
        head = read_head(scope["headers"])
        conversation = Conversation(scope, receive, send, self._request(head))
        conversation.request.http = scope
        scope["headers"] = named_headers(scope["headers"], head, conversation.request.request_id)
        self.metrics.websockets_open += 1
        entered = enter_scope(conversation.request)
        try:
            check_path(scope)
            if self._limits.routes is not None:
                await self._count(conversation)
            await self._app(scope, conversation.receive, conversation.send)
            if not conversation.status and not conversation.closed:
                raise RuntimeError("The application returned without an answer to the handshake.")
        except Exception as error:  # noqa: BLE001 - the boundary, as for requests
            if not conversation.says_nothing_new(error):
                _report(error, scope, conversation.request.request_id)
                await conversation.fail(error)
        finally:
            leave_scope(entered)
            self.metrics.websockets_open -= 1
            self._account_websocket(conversation, began)

    async def _answer(self, exchange: Exchange, began: float) -> None:
        """Answers, in another attempt if need be; only errors that need no answer come out."""
        while True:
            try:
                scope = exchange.scope
                unusual = exchange.head is not NOTHING or self._limits.routes is not None
                if unusual and not exchange.replays and await self._prepare(exchange):
                    return
                if not scope["path"].isascii():
                    check_path(scope)
                if (scope["method"] == "GET" or scope["method"] == "HEAD") and await self._answer_here(exchange):
                    return
                if not exchange.replays:
                    scope["headers"] = named_headers(scope["headers"], exchange.head, exchange.request.request_id)
                exchange.fresh = dict(scope)
                await self._app(scope, exchange.receive, exchange.send)
                await exchange.release()
                if not exchange.started and not exchange.client_left:
                    raise RuntimeError("The application returned without a response.")
                return
            except ClientLeftError:
                raise
            except BodyTooLargeError as error:
                if exchange.started and not exchange.complete:
                    raise ResponseAbortedError(exchange.request.request_id) from error
                raise
            except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, the client gets a problem document
                if not is_passing(error) or not await self._may_try_again(exchange, began):
                    await self._fail(exchange, error)
                    return
            exchange.begin_anew()
            self.metrics.replays += 1

    async def _count(self, conversation: Conversation) -> None:
        """Counts a handshake as a GET. Raises `LimitExceeded`."""
        decision = await counted(self._limits, conversation.scope)
        if decision is not None and not decision.allowed:
            raise self._limits.exceeded(decision)

    async def _may_try_again(self, exchange: Exchange, began: float) -> bool:
        """Waits until another attempt is due; False when there shall be none."""
        if not exchange.may_run_again():
            return False
        spent_s = self._monotonic() - began
        wait_s = wait_before(exchange.replays + 1, spent_s, self._settings.hold_s, self._runtime.randomness)
        if wait_s is None:
            return False
        await asyncio.sleep(wait_s)
        return True

    async def _answer_here(self, exchange: Exchange) -> bool:
        """Answers a GET or HEAD without the framework, if its path is internal or hot."""
        scope = exchange.scope
        path = scope["path"]
        if path in INTERNAL_PATHS:
            exchange.route = INTERNAL
            await self._internal(exchange, path)
            return True
        found = self._routes.find(path)
        if found is None:
            return False
        route, parameters = found
        exchange.route = route.template
        response = route.handler(Request(scope, exchange.request.request_id), **parameters)
        if response is not None and response.__class__ is not Response:
            response = await _settled(response, route.template)
        if response is None:
            return False
        await exchange.respond(response)
        return True

    async def _prepare(self, exchange: Exchange) -> bool:
        """What is done before the first attempt. True when a limit has deferred the request, and it is answered."""
        if self._limits.routes is not None and await answered(self._limits, exchange):
            return True
        head = exchange.head
        if head.malformed:
            raise head.malformed
        await exchange.check_length()
        key = head.key()
        if key is not None:
            await exchange.identify(key)
        return False

    async def _internal(self, exchange: Exchange, path: str) -> None:
        if path == "/healthz":
            await exchange.respond(ALIVE)
        elif path == "/readyz":
            await exchange.respond(readiness(*self.ready()))
        else:
            await exchange.respond(metrics_response(self.numbers, exchange.scope, self._settings.metrics))

    def _look_at_numbers(self) -> None:
        self.metrics.log_lines_dropped = self.access.dropped if self.access else 0
        self.metrics.holding = self._runtime.holding

    async def _fail(self, exchange: Exchange, error: Exception) -> None:
        """Decides what an exception means for the client by how far its response has come."""
        if exchange.refused or exchange.client_left:
            return
        _report(error, exchange.scope, exchange.request.request_id)
        exchange.failure = error.code if isinstance(error, TenfoldError) else type(error).__name__
        if exchange.complete:
            return  # a background task of the framework failed after the answer
        if exchange.started:
            raise ResponseAbortedError(exchange.request.request_id)
        own_answer = exchange.held_body()
        if own_answer is not None and not _to_replace(error, own_answer):
            await exchange.release()
            return
        await exchange.respond(problem_response(error, exchange.request.request_id))

    def _account(self, exchange: Exchange, began: float) -> None:
        ended = exchange.ended or self._monotonic()
        scope = exchange.scope
        method = scope["method"]
        status = exchange.status or (CLIENT_LEFT if exchange.client_left else 500)
        took = ended - began
        self.metrics.observe(exchange.route, method, status, took)
        noted = self.noted
        if took > noted.above_s or status >= 500 or ended >= noted.until:
            note(noted, exchange, status, took, now=ended, wall_us=self._runtime.clock.wall_us())
        access = self.access
        if access is not None and self._settings.access_log:
            names = _names(exchange.request)
            access.add((ended, *names, method, scope["path"], status, took, exchange.bytes_sent))

    def _account_websocket(self, conversation: Conversation, began: float) -> None:
        """Counts it apart from requests: how long a socket was open says nothing about how fast the service answers."""
        ended, status = self._monotonic(), conversation.outcome()
        self.metrics.websocket(status)
        access = self.access
        if access is not None and self._settings.access_log:
            names, path = _names(conversation.request), conversation.scope["path"]
            access.add((ended, *names, "GET", path, status, ended - began, conversation.bytes_sent))


def _names(request: RequestScope) -> tuple[str, str]:
    """What a request is found by: its own id, and its trace's."""
    return request.request_id, request.trace.trace_id if request.trace else ""


def _epoch_of(current: Map | None) -> float:
    """The map's epoch; without a map no token is from a newer one."""
    return math.inf if current is None else current.epoch


async def _settled(returned: Any, template: str) -> Response | None:
    """What a hot handler that did not simply return a `Response` means by it."""
    if isawaitable(returned):
        returned = await returned
    if returned is None or isinstance(returned, Response):
        return returned
    kind = type(returned)
    raise ContractError(
        f"The handler of the hot route {template} returned a {kind.__module__}.{kind.__qualname__}.",
        hint="Return tenfold.Response, or None to let the framework answer.",
    )


def _to_replace(error: Exception, own_answer: bytes) -> bool:
    """Whether our problem document says more than the 500 that the framework made of the exception, or that one says
    too much. An error page that the service's author wrote stays, unless the error has a status of its own."""
    if isinstance(error, TenfoldError) and error.status != 500:
        return True
    return own_answer in (b"", b"Internal Server Error") or b"Traceback" in own_answer


def _report(error: Exception, scope: Scope, request_id: str) -> None:
    """Client mistakes are in the access log; what the service did wrong goes to the error log with its trace, and what
    a client was told in other words (`outside`) with its message."""
    if isinstance(error, TenfoldError) and error.public:
        if error.status >= 500 or error.outside:
            log.warning("%s", error, extra={"request": request_id})
        return
    what = scope.get("method", "WebSocket")
    log.error("%s %s failed: %s", what, scope["path"], error, exc_info=error, extra={"request": request_id})
