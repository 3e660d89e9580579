"""What one request says of its visitor, and what its response says back: cookies."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from tenfold.blocks.database.scope import Headers, RequestScope, enter_scope, leave_scope
from tenfold.blocks.sessions import cookie
from tenfold.blocks.sessions.memory import Record
from tenfold.blocks.sessions.policy import Rules, behind
from tenfold.blocks.sessions.session import Session
from tenfold.blocks.sessions.store import Plan
from tenfold.core.errors import ContractError
from tenfold.core.keyring import KeyRing

HOST_ONLY = b"__Host-"
"""Browsers take a cookie of such a name only over TLS, for one host and the whole of it: no neighbour can plant one."""
CSRF = b"_csrf"
CSRF_AGE_S = 86_400 * 30


class Visit:
    """One request's session with its cookie."""

    __slots__ = (
        "_due", "_gone", "_is_new", "_number", "_number_due", "id", "known_version", "name", "request", "secure",
        "session",
    )  # fmt: skip

    session: Session

    def __init__(self, request: RequestScope, name: bytes, *, always_secure: bool) -> None:
        self.request = request
        self.name = self.name_of(name, request.http, always_secure=always_secure)
        self.secure = self.name is not name
        self.id = b""
        """The id that the cookie carries; empty without a valid cookie."""
        self.known_version = 0
        """The version of the session that its cookies say its client has seen."""
        self._due = self._gone = self._is_new = self._number_due = False
        self._number: bytes | None = None

    @staticmethod
    def name_of(name: bytes, http: Mapping[str, Any], *, always_secure: bool) -> bytes:
        """The name that the cookie has on this connection: with the prefix for hosts only where it is encrypted."""
        secure = always_secure or http.get("scheme") in ("https", "wss")
        return HOST_ONLY + name if secure else name

    def header(self, name: bytes) -> str | None:
        """The first header of this (lower-case) name."""
        for each, value in self.request.http["headers"]:
            if each == name:
                text: str = value.decode("latin-1")
                return text
        return None

    def id_of_new(self, draw: Callable[[], bytes]) -> bytes:
        """The id that the session will have; drawn once."""
        if not self.session.id_of_new:
            self.session.id_of_new = draw()
        return self.session.id_of_new

    # -- what forms are bound to --------------------------------------------------------------------------------------

    def known(self, draw: Callable[[], bytes]) -> bytes | None:
        """What names the session after this request; None for a visitor without one."""
        session = self.session
        if session.becomes_new():
            return cookie.hash_of(self.id_of_new(draw))
        return None if session.base is None else session.base.id

    def number(self, ring: KeyRing) -> bytes | None:
        """The number in the cookie of a visitor without a session, if there is a valid one."""
        if self._number is None:
            for text in cookie.texts_of(self.request.http["headers"], self.name + CSRF)[: cookie.CANDIDATES]:
                self._number = cookie.unseal(ring, cookie.ANONYMOUS, text, cookie.ID_SIZE)
                if self._number is not None:
                    break
        return self._number

    def anonymous(self, ring: KeyRing, drawn: bytes) -> bytes:
        """The same, made of `drawn` when there is none yet; then the response brings the cookie."""
        found = self.number(ring)
        if found is None:
            found, self._number_due = drawn, True
            self._number = found
        return found

    @property
    def told_apart(self) -> bool:
        """Whether the response may say what belongs to this visitor: of the session, or a token for its forms."""
        return self.session.base is not None or self._number is not None

    # -- what the response brings -------------------------------------------------------------------------------------

    def check_can_answer(self, new: bytes) -> None:
        """`ContractError` when a new id would have no response to travel with."""
        if new and self.request.http["type"] != "http":
            raise ContractError(
                "A WebSocket cannot begin or renew a session: no response of it carries a cookie.",
                hint="Sign in with a request, and open the WebSocket afterwards.",
                code="TF-SESSION-SOCKET",
            )

    def stored(self, new: bytes, id_: bytes, *, dropped: bool) -> None:
        """The session's changes are stored under the hash `id_` (empty: there is none any more)."""
        if new and id_:
            self.id, self._is_new = new, True
        self._due = self._due or (bool(id_) and bool(self.id) and cookie.hash_of(self.id) == id_)
        self._gone = dropped and not id_
        if self._gone:
            self._due = self._is_new = False
            self.id = b""

    def cookies(self, ring: KeyRing, rules: Rules, now_us: int) -> Headers:
        """The headers to add to the response; none when nothing changed."""
        headers: Headers = []
        base = self.session.base
        if base is not None and (self._due or self._shows_newer(base)):
            age_s = int(rules.lifetime_s - (now_us - base.created_us) / 1e6)
            name, text = self.name + cookie.AT, cookie.write_version(ring, base.id, base.version)
            if self._is_new:
                name, text = self.name, cookie.write(ring, cookie.Claim(self.id, base.version))
            headers.append(cookie.header(name, text, max_age_s=max(age_s, 1), secure=self.secure))
        elif self._gone:
            headers.append(cookie.header(self.name, "", max_age_s=0, secure=self.secure))
        if self._number_due and self._number is not None:
            text = cookie.seal(ring, cookie.ANONYMOUS, self._number)
            headers.append(cookie.header(self.name + CSRF, text, max_age_s=CSRF_AGE_S, secure=self.secure))
        return headers

    def _shows_newer(self, base: Record) -> bool:
        """Whether the response may show more than the client had seen before: then it must not see less afterwards."""
        newer = bool(self.id) and not self.session.frozen and behind(self.known_version, base.version)
        return newer and cookie.hash_of(self.id) == base.id


@contextlib.asynccontextmanager
async def apart(request: RequestScope, plan: Plan) -> AsyncIterator[None]:
    """Runs a transaction in a scope of its own: draws of the service stay what they are, however often it is saved.

    In a keyed request the changes of one session are made once, however often the request comes. A new id is never
    drawn from the key: who sends the same key would be given the session.
    """
    key = request.idempotency_key
    if key is not None:
        again = plan.new is None and plan.drop is None and plan.base is not None
        key = f"{key}\0session\0{plan.base!r}\0{request.next_ordinal('session')}" if again else None
    scope = RequestScope(
        request_id=request.request_id, idempotency_key=key, fingerprint=request.fingerprint, token=request.token
    )
    entered = enter_scope(scope)
    try:
        yield
    finally:
        leave_scope(entered)
        request.token = request.token.merged(scope.token)
