"""What one request carries through the blocks: its idempotency key, its consistency token, its id.

`serve` enters a scope for each request; the database and ids blocks read it. Without a scope (a script, a test, a job
that has none) everything works, only nothing is replayed and no token is carried.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from contextvars import Token as ContextToken
from types import MappingProxyType
from typing import Any

from tenfold.blocks.database.token import EMPTY, Token
from tenfold.core.trace import Trace

Headers = list[tuple[bytes, bytes]]
BeforeAnswer = Callable[[int], Awaitable[Headers]]
NO_HTTP: Mapping[str, Any] = MappingProxyType({})


class RequestScope:
    """State of one request. Not shared between requests; used by one task at a time and its children.

    `idempotency_key` is the client's key or None; `fingerprint` identifies the request's content, so that one key used
    for two different requests is told apart. `token` is what the client has seen so far.
    """

    __slots__ = (
        "_ordinals", "answering", "cache_hits", "cache_loads", "cache_s", "database_calls", "database_s",
        "fingerprint", "gate_s", "http", "idempotency_key", "request_id", "state", "token", "trace",
    )  # fmt: skip

    def __init__(
        self,
        *,
        request_id: str = "",
        idempotency_key: str | None = None,
        fingerprint: bytes = b"",
        token: Token = EMPTY,
    ) -> None:
        self.request_id = request_id
        self.idempotency_key = idempotency_key
        self.fingerprint = fingerprint
        self.token = token
        self._ordinals: dict[str, int] | None = None
        self.trace: Trace | None = None
        """The trace that this work belongs to; None until somebody asks the log block for it."""
        self.http: Mapping[str, Any] = NO_HTTP
        """The ASGI scope of the request or WebSocket; empty outside of one (a job, a script)."""
        self.state: dict[str, Any] | None = None
        """What blocks keep for this request, by the block's name; gone when the request is answered anew."""
        self.answering: list[BeforeAnswer] | None = None
        """Called with the status before the first byte of the response is sent, in order; each returns headers to add.

        One that raises fails the request: its error is answered instead. They are called once an attempt.
        """
        self.gate_s = self.database_s = self.cache_s = 0.0
        """Where its time went, in seconds, over all attempts: at the gate, at the database, waiting for cache loads."""
        self.database_calls = self.cache_hits = self.cache_loads = 0

    def before_answer(self, call: BeforeAnswer) -> None:
        """Adds to `answering`."""
        if self.answering is None:
            self.answering = []
        self.answering.append(call)

    def keep(self, block: str, value: Any) -> None:
        """Keeps something of a block for the rest of this attempt, in `state`."""
        if self.state is None:
            self.state = {}
        self.state[block] = value

    def next_ordinal(self, kind: str) -> int:
        """0, 1, 2 ... for each `kind` of draw ("transaction", "uuid7" ...) in this request.

        A replay of the request makes the same draws in the same order, so (key, kind, ordinal) names the same draw.
        """
        ordinals = self._ordinals
        if ordinals is None:
            ordinals = self._ordinals = {}
        ordinal = ordinals.get(kind, 0)
        ordinals[kind] = ordinal + 1
        return ordinal

    def rewind(self) -> None:
        """The request is answered anew: its draws begin again. The token stays, because it only asks for more."""
        self._ordinals = self.state = self.answering = None

    def inside(self, transaction: int) -> RequestScope:
        """The scope of one attempt of the body of the request's n-th keyed transaction, with draws of its own."""
        scope = RequestScope(
            request_id=self.request_id,
            idempotency_key=f"{self.idempotency_key}\0{transaction}",
            fingerprint=self.fingerprint,
            token=self.token,
        )
        scope.http = self.http
        scope.trace = self.trace
        return scope


_current: ContextVar[RequestScope | None] = ContextVar("tenfold_request", default=None)

current_scope = _current.get
"""The scope of the running request, or None outside of one."""


def enter_scope(scope: RequestScope) -> ContextToken[RequestScope | None]:
    """Makes `scope` the current one; give the result to `leave_scope`."""
    return _current.set(scope)


def leave_scope(entered: ContextToken[RequestScope | None]) -> None:
    """Restores what was current before `enter_scope`."""
    _current.reset(entered)
