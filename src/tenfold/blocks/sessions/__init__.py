"""The sessions block: what a visitor's browser stands for, kept at the server under an opaque id.

    session = await tf.sessions.current()
    session["theme"] = "dark"            # stored with the response, by key
    await tf.sessions.login("ada")       # a new id; the old one is worth nothing any more

docs/blocks/sessions.md says what a service may rely on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from tenfold.blocks.database import Database
from tenfold.blocks.database.scope import Headers, RequestScope, current_scope
from tenfold.blocks.sessions import cookie, csrf
from tenfold.blocks.sessions.csrf import CsrfRefused
from tenfold.blocks.sessions.memory import Memory, Record
from tenfold.blocks.sessions.policy import Rules, SessionRefused, behind, check_user, expired, touch_due
from tenfold.blocks.sessions.session import Session
from tenfold.blocks.sessions.store import TOPIC, Plan, Store
from tenfold.blocks.sessions.upkeep import Upkeep
from tenfold.blocks.sessions.visit import Visit, apart
from tenfold.core.clock import Clock
from tenfold.core.errors import ContractError, InvalidRequest
from tenfold.core.gauge import GAUGE
from tenfold.core.keyring import KeyRing
from tenfold.core.randomness import Randomness
from tenfold.core.secrets import SESSION_KEYS
from tenfold.topology.map import Map

__all__ = ["CsrfRefused", "Session", "SessionInfo", "SessionRefused", "Sessions", "SessionsStats"]

LOOK_EVERY_S = 0.002
"""How old what is known of other processes may be when a session is answered from memory."""
_BLOCK = "sessions"
_PRIVATE = (b"cache-control", b"private")


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One session of a user, as `of_user` lists it; `id` is what `revoke` takes. `seen` is exact to a minute."""

    id: str
    created: datetime
    seen: datetime


@dataclass(frozen=True, slots=True)
class SessionsStats:
    """Counts since the process started, and what it remembers now."""

    reads: int
    loads: int
    writes: int
    touches: int
    refused: int
    remembered: int = field(metadata=GAUGE)
    bytes: int = field(metadata=GAUGE)


class Sessions:
    """Sessions of one service. `revoke`, `revoke_all`, `of_user` work anywhere, the rest in a request or WebSocket."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._memory = Memory()
        self._store = Store(database, clock, self._memory)
        self._upkeep = Upkeep(self._store, clock, randomness)
        self._look_after = float("-inf")
        self._reads = self._loads = self._writes = 0
        self._cookie, self._always_secure = b"session", False
        self._reader: cookie.Reader | None = None
        database.listen(TOPIC, self._store.heard)

    # -- lifecycle ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begins to clear up what expired."""
        self._memory.clear()
        await self._upkeep.start()

    async def stop(self) -> None:
        """Ends that."""
        await self._upkeep.stop()

    def name(self, service: str) -> None:
        """The cookie's name, as long as no map says another: cookies do not tell the ports of one machine apart."""
        self._cookie = f"{service}_session".encode("ascii")

    def adopt(self, new: Map) -> None:
        """Goes by a newer map."""
        settings = new.sessions
        self._cookie = (settings.cookie or f"{new.service}_session").encode("ascii")
        self._always_secure = settings.secure == "always"
        self._store.rules = Rules(settings.idle_s, settings.lifetime_s)
        self.keep_keys_in(Path(new.state) / "secrets")

    def keep_keys_in(self, folder: Path) -> None:
        """Signs with the ring in this folder, which is made when there is none."""
        path = folder / SESSION_KEYS
        if self._reader is None or self._reader.ring.path != path:
            self._reader = cookie.Reader(KeyRing(path, self._clock, self._randomness))

    def forget(self) -> None:
        """Forgets what this process remembers: it works with another database from now on."""
        self._memory.clear()

    def stats(self) -> SessionsStats:
        """A snapshot for /metrics and `status`."""
        return SessionsStats(
            self._reads, self._loads, self._writes, self._upkeep.touches, self._reader.refused if self._reader else 0,
            len(self._memory), self._memory.bytes,
        )  # fmt: skip

    # -- the visitor's session ----------------------------------------------------------------------------------------

    async def current(self) -> Session:
        """The session of the running request, loaded once; an empty one for a visitor that has none.

        Raises `Unavailable` while the database is away and this process does not remember it, and `ContractError`
        TF-SESSION-SCOPE outside of a request.
        """
        return (await self._visit()).session

    async def login(self, user: str, **values: object) -> Session:
        """Makes the session that user's, under a new id, and sets `values`; it is stored with the response.

        What an anonymous visitor had in it comes along; what another user had does not.
        """
        session = await self.current()
        session.belong(check_user(user))
        session.fresh = True
        for key, value in values.items():
            session[key] = value
        return session

    async def logout(self) -> None:
        """Ends the session: with the response its row is gone, and so is the cookie."""
        (await self.current()).leave()

    async def rotate(self) -> Session:
        """Gives the session a new id, at a change of what it may do; its values and its end stay what they are."""
        session = await self.current()
        session.belong(session.user)
        return session

    # -- sessions of users --------------------------------------------------------------------------------------------

    async def of_user(self, user: str) -> list[SessionInfo]:
        """A user's sessions, the one that was used last comes first; at most 1,000."""
        rows = await self._store.of(check_user(user))
        return [SessionInfo(row.id.hex(), _time(row.created_us), _time(row.seen_us)) for row in rows]

    async def revoke(self, id_hash: str) -> bool:
        """Ends one session, by its `id_hash`, at once; whether there was one. The other processes know within 10 ms."""
        try:
            id_ = bytes.fromhex(id_hash)
        except ValueError:
            id_ = b""
        if len(id_) != 32:
            raise InvalidRequest("This is no session's id.", hint="Give `session.id_hash`, or an id of `of_user`.")
        return await self._store.revoke(id_)

    async def revoke_all(self, user: str) -> int:
        """Ends all sessions of a user at once; how many there were. The other processes know within 10 ms."""
        return await self._store.revoke_all(check_user(user))

    # -- forms --------------------------------------------------------------------------------------------------------

    async def csrf_token(self) -> str:
        """What a form of this response sends back, another text each time.

        Bound to the session; for a visitor without one, to a cookie that comes with the response.
        """
        visit = await self._visit()
        known = visit.known(self._draw) or visit.anonymous(self._keys(), self._randomness.bytes(cookie.ID_SIZE))
        secret = csrf.secret_of(self._keys().signing().secret, known)
        return csrf.masked(secret, self._randomness.bytes(csrf.SIZE))

    async def check_csrf(self, token: str | None = None) -> None:
        """Raises `CsrfRefused` (403) unless the request's form came from a page that this visitor was given.

        `token` is what the form sent; without one, the header `x-csrf-token` is looked at.
        """
        visit = await self._visit()
        known = [visit.known(self._draw)]
        if visit.session.user is None:
            known.append(visit.number(self._keys()))
        keys = self._keys().keys()
        secrets = [csrf.secret_of(key.secret, each) for each in known if each is not None for key in keys]
        csrf.check(visit.header(b"x-csrf-token") if token is None else token, secrets)

    def visitor(self, http: Mapping[str, Any]) -> bytes:
        """Names the session that a request's cookie stands for (`http` is its ASGI scope); empty without a valid one.

        One Idempotency-Key in two sessions is two requests: nobody is given an answer that was made for somebody else.
        """
        name = Visit.name_of(self._cookie, http, always_secure=self._always_secure)
        if not any(header == b"cookie" and name in line for header, line in http["headers"]):
            return b""
        read = self._cookies().read(http["headers"], name, self._clock.monotonic())
        return b"" if read is None else read[1]

    # -- inside -------------------------------------------------------------------------------------------------------

    async def _visit(self) -> Visit:
        request = current_scope()
        if request is None or not request.http:
            raise ContractError(
                "There is no session outside of a request.",
                hint="Ask for it in a handler under `tf.asgi(...)`; `revoke` and `of_user` work anywhere.",
                code="TF-SESSION-SCOPE",
            )
        state = request.state
        if state is not None:
            visit: Visit | None = state.get(_BLOCK)
            if visit is not None:
                return visit
        return await self._begin(request)

    async def _begin(self, request: RequestScope) -> Visit:
        self._reads += 1
        visit = Visit(request, self._cookie, always_secure=self._always_secure)
        now = self._clock.monotonic()
        read = self._cookies().read(request.http["headers"], visit.name, now)
        record, frozen = None, False
        if read is not None:
            claim, id_ = read
            record = self._remembered(id_, claim.version, now)
            if record is None:
                record, frozen = await self._loaded(id_, claim.version)
                if request.state is not None and _BLOCK in request.state:
                    begun: Visit = request.state[_BLOCK]  # by another task of this request, meanwhile
                    return begun
            visit.id, visit.known_version = claim
        visit.session = Session(record, partial(self._save, visit), frozen=frozen)
        request.keep(_BLOCK, visit)
        request.before_answer(partial(self._answer, visit))
        return visit

    def _remembered(self, id_: bytes, version: int, now: float) -> Record | None:
        if now >= self._look_after:
            self._look_after = now + LOOK_EVERY_S
            self._database.catch_up()
        record = self._memory.find(id_, now)
        if record is None or behind(record.version, version):
            return None
        over = expired(record.created_us, record.seen_us, self._clock.wall_us(), self._store.rules)
        return None if over else record

    async def _loaded(self, id_: bytes, version: int) -> tuple[Record | None, bool]:
        self._loads += 1
        found = await self._store.load(id_, version)
        return (None, False) if found is None else (found.record, found.frozen)

    async def _answer(self, visit: Visit, status: int) -> Headers:
        """Stores what changed before the response begins; a request that failed (5xx) changes nothing."""
        session = visit.session
        if status < 500:
            await self._save(visit, session)
            if session.base is not None and not session.frozen:
                self._touch(session.base)
        session.close()
        headers = [] if status >= 500 else visit.cookies(self._keys(), self._store.rules, self._clock.wall_us())
        return headers or ([_PRIVATE] if visit.told_apart else [])

    def _touch(self, record: Record) -> None:
        now = self._clock.wall_us()
        if touch_due(record.seen_us, now):
            record.seen_us = now
            self._upkeep.used(record.id)

    async def _save(self, visit: Visit, session: Session) -> None:
        patch = session.patch()
        if not (patch or session.renew or session.drop):
            return
        base = session.base
        new = visit.id_of_new(self._draw) if session.becomes_new() else b""
        plan = Plan(
            base=None if base is None else base.id,
            drop=session.drop,
            new=cookie.hash_of(new) if new else None,
            owner=session.user,
            fresh=session.fresh,
            patch=patch,
        )
        if plan.drop is None and plan.new is None and base is None:
            return  # a key that was set and taken away again
        visit.check_can_answer(new)
        async with apart(visit.request, plan):
            outcome = await self._store.commit(plan)
        self._writes += 1
        record = self._memory.find(outcome.id, self._clock.monotonic())
        if record is None and outcome.id:
            found = await self._store.load(outcome.id, outcome.version)
            record = None if found is None else found.record
        visit.stored(new, outcome.id, dropped=plan.drop is not None)
        session.stored(record)

    def _keys(self) -> KeyRing:
        return self._cookies().ring

    def _cookies(self) -> cookie.Reader:
        if self._reader is None:
            self.keep_keys_in(Path.cwd() / ".tenfold" / "secrets")
        assert self._reader is not None, "it was made just now"
        return self._reader

    def _draw(self) -> bytes:
        return self._randomness.bytes(cookie.ID_SIZE)


def _time(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
