"""What one request carries through the blocks: its idempotency key, its consistency token, its id.

`serve` enters a scope for each request; the database and ids blocks read it. Without a scope (a script, a test, a job
that has none) everything works, only nothing is replayed and no token is carried.
"""

from __future__ import annotations

from contextvars import ContextVar
from contextvars import Token as ContextToken

from tenfold.blocks.database.token import EMPTY, Token


class RequestScope:
    """State of one request. Not shared between requests; used by one task at a time and its children.

    `idempotency_key` is the client's key or None; `fingerprint` identifies the request's content, so that one key used
    for two different requests is told apart. `token` is what the client has seen so far.
    """

    __slots__ = ("_ordinals", "fingerprint", "idempotency_key", "request_id", "token")

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
        self._ordinals = None

    def inside(self, transaction: int) -> RequestScope:
        """The scope of one attempt of the body of the request's n-th keyed transaction, with draws of its own."""
        return RequestScope(
            request_id=self.request_id,
            idempotency_key=f"{self.idempotency_key}\0{transaction}",
            fingerprint=self.fingerprint,
            token=self.token,
        )


_current: ContextVar[RequestScope | None] = ContextVar("tenfold_request", default=None)

current_scope = _current.get
"""The scope of the running request, or None outside of one."""


def enter_scope(scope: RequestScope) -> ContextToken[RequestScope | None]:
    """Makes `scope` the current one; give the result to `leave_scope`."""
    return _current.set(scope)


def leave_scope(entered: ContextToken[RequestScope | None]) -> None:
    """Restores what was current before `enter_scope`."""
    _current.reset(entered)
