"""The probe as a pure ASGI application around the service's own.

    GET  /tf-probe/                        {"probe": 1, "node": ...}
    POST /tf-probe/set/KEY                 {"value": "..."}                     GET: {"values": [...]}
    POST /tf-probe/register/KEY            {"value": "..."} -> {"version": n}   GET: {"value": ..., "version": n}
    POST /tf-probe/counter/KEY             {"by": n}                            GET: {"count": n}
    POST /tf-probe/bank/KEY                {"giver": i, "taker": j, "amount": n}   GET: {"balances": [...]}
    GET  /tf-probe/cache/KEY               the register through the cache; `from`: "cache" when it was there
    POST /tf-probe/tasks/KEY               {"takes_ms": ms} -> {"job": id}: a job that takes so long
    GET  /tf-probe/tasks/KEY               {"count": n, "starts": ["CRASHES.US", ...]} once it is done, 409 until then
    GET  /tf-probe/effects/KEY             the same at once, done or not
    POST /tf-probe/session/KEY             {"by": n} -> {"count": n}: in the visitor's session   GET: {"count": n}
    POST /tf-probe/ids/KIND                {"count": n} -> {"ids": [...]}; KIND: uuid7, snowflake, sequence
    GET  /tf-probe/wait/MS                 answers after so many milliseconds
    POST /tf-probe/late/KEY                {"by": n, "wait_ms": ms} -> {"count": n}: a counter, answered so long after
    GET  /tf-probe/events                  an event stream: ids from 1, or from the one after `Last-Event-ID`
    GET  /tf-probe/socket                  a WebSocket that sends every text back
    GET  /tf-probe/clock                   {"offset_s": s}; POST sets it, for this process only

What goes wrong is a `TenfoldError`, which Tenfold answers as a problem document. Every answer is `no-store`, so that
the consistency token may travel with it, and names the process that gave it in the header `TF-Node`.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec

from tenfold import MISSING, InvalidRequest, NotFound, Response, Tenfold, TenfoldError
from tenfold.prove.probe.data import Data
from tenfold.prove.probe.jobs import Jobs, increment_session, look_at_session
from tenfold.prove.probe.limits import ACCOUNTS, BALANCE, BODY_LIMIT, DRAWS, NAME, OFFSET_S, WAIT_MS
from tenfold.prove.probe.live import echo, stream
from tenfold.prove.probe.secret import probe_secret

PREFIX = "/tf-probe/"
HEADER = b"tf-probe"

_KEY = re.compile(rf"[A-Za-z0-9._:-]{{1,{NAME}}}")

log = logging.getLogger("tenfold.probe")

T = TypeVar("T")
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Element(msgspec.Struct, forbid_unknown_fields=True):
    """What is added to a set or written to a register."""

    value: str


class Increment(msgspec.Struct, forbid_unknown_fields=True):
    """What a counter is to be increased by."""

    by: int = 1


class Transfer(msgspec.Struct, forbid_unknown_fields=True):
    """What goes from one account of a bank to another."""

    giver: int
    taker: int
    amount: int


class Late(msgspec.Struct, forbid_unknown_fields=True):
    """An increment whose answer is to wait."""

    by: int = 1
    wait_ms: int = 0


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """How long a job is to take."""

    takes_ms: int = 0


class Draw(msgspec.Struct, forbid_unknown_fields=True):
    """How many ids are wanted."""

    count: int = 1


class Offset(msgspec.Struct, forbid_unknown_fields=True):
    """By how many seconds the clock is to be wrong; of this process only if it has that name, where one is given."""

    offset_s: float
    node: str = ""


class Probe:
    """The probe of a service around its application `app`: `tf.asgi(Probe(tf, app))`. Made once per Tenfold object.

    Everything that is not below /tf-probe/ goes to `app` as it came. Needs the tables that `Data` declares: a migration
    adds them (`tenfold migrate --new`).
    """

    def __init__(self, tf: Tenfold, app: Any) -> None:
        self._tf = tf
        self._app = app
        self._data = Data(tf)
        self._jobs = Jobs(tf, self._data)
        self._secret = ""
        self._node = os.environ.get("TENFOLD_NODE", "").encode("latin-1", "replace")
        self._reads = {
            "set": self._elements,
            "register": self._value,
            "counter": self._count,
            "bank": self._balances,
            "cache": self._cached,
            "tasks": self._jobs.done,
            "effects": self._jobs.looked,
            "session": self._look_at_session,
        }
        self._writes = {
            "set": self._add,
            "register": self._write,
            "counter": self._increment,
            "bank": self._transfer,
            "late": self._late,
            "ids": self._draw,
            "tasks": self._enqueue,
            "session": self._increment_session,
        }

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        kind = scope["type"]
        if kind in ("http", "websocket") and scope["path"].startswith(PREFIX):
            await self._own(scope, receive, send)
            return
        if kind == "lifespan":
            self._secret = ""
            self._load_secret()
        await self._app(scope, receive, send)

    async def _own(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await echo(receive, send, self._may_ask(scope) and scope["path"] == f"{PREFIX}socket", self._about_us())
        elif scope["path"] == f"{PREFIX}events" and scope["method"] == "GET" and self._may_ask(scope):
            await stream(scope, receive, send, self._about_us(), self._tf.clock.monotonic)
        else:
            response = await self._answer(scope, receive)
            await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
            await send({"type": "http.response.body", "body": response.body})

    def _about_us(self) -> list[tuple[bytes, bytes]]:
        return [(b"cache-control", b"no-store"), (b"tf-node", self._node)]

    # -- who may ask --------------------------------------------------------------------------------------------------

    def _load_secret(self) -> None:
        """Reads the secret; without one nobody may ask, and the service runs all the same."""
        current = self._tf.map
        state = Path(current.state) if current is not None else Path.cwd() / ".tenfold"
        try:
            self._secret = probe_secret(state, self._tf.randomness)
        except TenfoldError as error:
            log.warning("The probe answers nobody: %s", error)

    def _may_ask(self, scope: Any) -> bool:
        if not self._secret:
            self._load_secret()
        given = [value for name, value in scope["headers"] if name == HEADER]
        # Both sides as bytes, so that a header with other characters is refused and not an error.
        return bool(self._secret) and len(given) == 1 and hmac.compare_digest(given[0], self._secret.encode("ascii"))

    # -- answering ----------------------------------------------------------------------------------------------------

    async def _answer(self, scope: Any, receive: Receive) -> Response:
        if not self._may_ask(scope):
            raise NotFound("There is nothing at this address.")
        parts = [unquote(part) for part in scope["path"][len(PREFIX) :].split("/")]
        found = await self._found(scope["method"], parts, receive)
        return Response.json(found, headers=self._about_us())

    async def _found(self, method: str, parts: list[str], receive: Receive) -> Any:
        if parts == [""] and method == "GET":
            return {"probe": 1, "service": self._tf.name, "accounts": ACCOUNTS, "balance": BALANCE}
        if parts == ["clock"]:
            return self._clock() if method == "GET" else self._set_clock(await _body(receive, Offset))
        if len(parts) != 2 or _KEY.fullmatch(parts[1]) is None:
            raise NotFound("There is nothing at this address.")
        name, key = parts
        if method == "GET" and name == "wait":
            return await _wait(key)
        if method == "GET" and name in self._reads:
            return await self._reads[name](key)
        if method == "POST" and name in self._writes:
            return await self._writes[name](key, receive)
        raise NotFound("There is nothing at this address.")

    async def _elements(self, key: str) -> Any:
        return {"values": await self._data.elements(key)}

    async def _value(self, key: str) -> Any:
        return await self._data.value(key)

    async def _count(self, key: str) -> Any:
        return {"count": await self._data.count(key)}

    async def _balances(self, key: str) -> Any:
        return {"balances": await self._data.balances(key)}

    async def _cached(self, key: str) -> Any:
        there = self._data.cached.peek(key)
        found = there if there is not MISSING else await self._data.cached(key)
        return {"value": found.value, "version": found.version, "from": "database" if there is MISSING else "cache"}

    async def _add(self, key: str, receive: Receive) -> Any:
        await self._data.add(key, _name((await _body(receive, Element)).value))
        return {}

    async def _write(self, key: str, receive: Receive) -> Any:
        return {"version": await self._data.write(key, _name((await _body(receive, Element)).value))}

    async def _increment(self, key: str, receive: Receive) -> Any:
        by = (await _body(receive, Increment)).by
        return {"count": await self._data.increment(key, _within(by, 1, 1000, "by"))}

    async def _late(self, key: str, receive: Receive) -> Any:
        wanted = await _body(receive, Late)
        wait_ms = _within(wanted.wait_ms, 0, WAIT_MS, "wait_ms")
        count = await self._data.increment(key, _within(wanted.by, 1, 1000, "by"))
        await asyncio.sleep(wait_ms / 1000)
        return {"count": count}

    async def _enqueue(self, key: str, receive: Receive) -> Any:
        takes_ms = _within((await _body(receive, Order)).takes_ms, 0, WAIT_MS, "takes_ms")
        return {"job": await self._jobs.enqueue(key, takes_ms)}

    async def _increment_session(self, key: str, receive: Receive) -> Any:
        by = _within((await _body(receive, Increment)).by, 1, 1000, "by")
        return await increment_session(self._tf, by)

    async def _look_at_session(self, key: str) -> Any:
        return await look_at_session(self._tf)

    async def _transfer(self, key: str, receive: Receive) -> Any:
        wanted = await _body(receive, Transfer)
        amount = _within(wanted.amount, 1, BALANCE, "amount")
        await self._data.transfer(key, wanted.giver, wanted.taker, amount)
        return {}

    async def _draw(self, kind: str, receive: Receive) -> Any:
        count = _within((await _body(receive, Draw)).count, 1, DRAWS, "count")
        ids = self._tf.ids
        if kind == "uuid7":
            return {"ids": [str(ids.uuid7()) for _ in range(count)]}
        if kind == "snowflake":
            return {"ids": [ids.snowflake() for _ in range(count)]}
        if kind == "sequence":
            return {"ids": [await ids.sequence("probe") for _ in range(count)]}
        raise NotFound("There are ids of the kinds uuid7, snowflake and sequence.")

    # -- the clock of this process ------------------------------------------------------------------------------------

    def _clock(self) -> Any:
        return {"offset_s": getattr(self._tf.clock, "offset_s", 0.0), "node": self._node.decode("latin-1")}

    def _set_clock(self, wanted: Offset) -> Any:
        put = getattr(self._tf.clock, "put_off", None)
        if put is None:
            raise InvalidRequest("The clock of this service cannot be put forward or back.")
        if wanted.node and wanted.node.encode() != self._node:
            return self._clock()
        if not -OFFSET_S <= wanted.offset_s <= OFFSET_S:
            raise InvalidRequest(f"offset_s goes from -{OFFSET_S:g} to {OFFSET_S:g}.")
        put(wanted.offset_s)
        log.warning("The prover put the clock of this process off by %g s.", wanted.offset_s)
        return self._clock()


async def _wait(ms: str) -> Any:
    waited = _within(int(ms), 0, WAIT_MS, "a wait") if ms.isascii() and ms.isdigit() else None
    if waited is None:
        raise NotFound("There is nothing at this address.")
    await asyncio.sleep(waited / 1000)
    return {"waited_ms": waited}


async def _body(receive: Receive, kind: type[T]) -> T:
    """The JSON body of a request; `InvalidRequest` says what is wrong with it."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest("The request ended before its body.")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > BODY_LIMIT:
            raise InvalidRequest(f"A body of the probe has at most {BODY_LIMIT} bytes.", status=413)
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not what the probe expects: {error}.") from None


def _name(value: str) -> str:
    if _KEY.fullmatch(value) is None:
        raise InvalidRequest(f"A value has 1 to {NAME} characters: letters, digits, '.', '_', ':', '-'.")
    return value


def _within(number: int, least: int, most: int, name: str) -> int:
    if not least <= number <= most:
        raise InvalidRequest(f"{name} goes from {least} to {most}.")
    return number
