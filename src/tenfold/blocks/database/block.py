"""The database block: what a service writes against, on every step."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from sqlalchemy import MetaData, Table
from sqlalchemy.schema import SchemaItem

from tenfold.blocks.database import tables
from tenfold.blocks.database.backend import (
    Call,
    Capabilities,
    Consistency,
    DatabaseConfig,
    Heard,
    Isolation,
    ReadContext,
    Transaction,
    deaf,
)
from tenfold.blocks.database.commits import ResultCodec, commit_id
from tenfold.blocks.database.gate import Holding
from tenfold.blocks.database.keys import canonical
from tenfold.blocks.database.meter import DatabaseStats
from tenfold.blocks.database.pruning import Pruner
from tenfold.blocks.database.router import Router
from tenfold.blocks.database.scope import RequestScope, current_scope, enter_scope
from tenfold.blocks.database.token import Token
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.errors import ContractError, Unavailable
from tenfold.core.randomness import SYSTEM_RANDOMNESS, Randomness

P = ParamSpec("P")
R = TypeVar("R")
Start = Callable[[Any], Coroutine[Any, Any, Any]]


@dataclass(frozen=True, slots=True)
class TransactionFunction:
    """What `tenfold check` lists of a function marked with `@transaction`."""

    name: str
    key: tuple[str, ...]
    isolation: Isolation


class Database:
    """Typed portable tables, replayable transactions, reads with session consistency.

    Made by `Tenfold`; open between `start` and `stop`, which run on the loop that uses it.
    """

    def __init__(
        self, metadata: MetaData, *, clock: Clock = SYSTEM_CLOCK, randomness: Randomness = SYSTEM_RANDOMNESS
    ) -> None:
        self.metadata = metadata
        self.transactions: list[TransactionFunction] = []
        self._clock = clock
        self._randomness = randomness
        self._router: Router | None = None
        self._pruner: Pruner | None = None
        self.look: Callable[[], object] = _nothing
        """Looks for a newer map now and adopts it; called when the database refuses this process's map as old."""
        self.on_switch: Callable[[], object] = _nothing
        """Called when a map sends work to another database than before."""
        self.heard: Heard = deaf
        """Called with what other processes on this database announce; None when some of it may have been missed."""
        self._topics: dict[str, Heard] = {}

    def table(self, name: str, *items: SchemaItem, home: tables.Home) -> Table:
        """Declares a table and where its rows live; `ContractError` names the rule that is broken."""
        return tables.define(self.metadata, name, items, home)

    # -- lifecycle ----------------------------------------------------------------------------------------------------

    async def start(self, config: DatabaseConfig, on_fatal: Callable[[BaseException], None]) -> None:
        """Opens the database that the map names. `on_fatal` is called when only a new process can go on."""
        for table in self.metadata.sorted_tables:
            tables.check(table)
        assert self._router is None, "a database is open once"
        router = Router(config, self.metadata, self._clock, self._randomness, on_fatal)
        router.look, router.on_switch, router.heard = self._look, self._switched, self._hears
        await router.start()
        self._router = router
        self._pruner = Pruner(router, self._clock, self._randomness)
        await self._pruner.start()

    async def stop(self) -> None:
        """Lets what began finish; new work is refused from now on. Safe to call twice."""
        router, self._router = self._router, None
        try:
            if self._pruner is not None:
                await self._pruner.stop()
        finally:
            if router is not None:
                await router.stop()

    @property
    def is_open(self) -> bool:
        """Whether it can be worked with."""
        return self._router is not None

    async def prune_commits(self) -> int:
        """Removes results of keyed requests that are too old to be asked for; how many. Also happens by itself."""
        self._open()
        assert self._pruner is not None, "an open database has one"
        return await self._pruner.prune()

    def adopt(self, config: DatabaseConfig) -> None:
        """Goes by a newer map: when it returns, what begins is held, or goes to the database that the map names."""
        self._open().adopt(config)

    async def prepared(self, limit_s: float) -> None:
        """Returns when the map's standby could take over; at once while the map holds writes or names none.

        `Unavailable` with the reason after `limit_s` seconds.
        """
        await self._open().prepared(limit_s)

    def ready(self) -> tuple[bool, str]:
        """Whether reads and writes can succeed: open, and the schema is one that this code can work with."""
        if self._router is None:
            return False, "the database is not open"
        return self._router.ready()

    @property
    def holding(self) -> Holding:
        """What waits at the gate while a move passes, and what has waited there."""
        return Holding() if self._router is None else self._router.holding

    def stats(self) -> DatabaseStats | None:
        """What this process asked of its database; None while it is not open."""
        return None if self._router is None else self._router.stats()

    @property
    def capabilities(self) -> Capabilities:
        """Where this backend differs from others."""
        return self._open().capabilities

    def in_transaction(self) -> bool:
        """Whether the caller runs inside a transaction's body."""
        return self._router is not None and self._router.in_transaction()

    def position(self) -> Token:
        """A token at or after everything that this process has committed."""
        return self._open().position()

    def announce(self, keys: list[str]) -> None:
        """Tells the other processes on this database, within milliseconds; they are given it as `heard`."""
        if self._router is not None:
            self._router.active.announce(keys)

    def catch_up(self) -> None:
        """Gives `heard` what other processes announced up to now. A few microseconds, on the loop, without waiting."""
        if self._router is not None:
            self._router.catch_up()

    def listen(self, topic: str, heard: Heard) -> None:
        """Gives `heard`, from now on, what any process announces as `TOPIC|...` (the whole text), instead of `heard`.

        It is told on the loop, within milliseconds, and with None when some of it may have been missed. A process does
        not hear itself. Topics are Tenfold's own; they begin with `tf:`.
        """
        assert topic.startswith("tf:"), "other texts are keys of the cache"
        self._topics[topic] = heard

    def _hears(self, keys: list[str] | None) -> None:
        if keys is None or not self._topics:
            for tell in (self.heard, *self._topics.values()):
                tell(keys)
            return
        told: dict[str, list[str]] = {}
        for key in keys:
            told.setdefault(key.partition("|")[0], []).append(key)
        rest = [key for topic, found in told.items() if topic not in self._topics for key in found]
        if rest:
            self.heard(rest)
        for topic, found in told.items():
            if topic in self._topics:
                self._topics[topic](found)

    def _look(self) -> None:
        self.look()

    def _switched(self) -> None:
        self.on_switch()

    def _open(self) -> Router:
        if self._router is None:
            raise Unavailable("The database is not open.", hint="It opens when the service starts.", code="TF-CLOSED")
        return self._router

    # -- reading ------------------------------------------------------------------------------------------------------

    def read(self, key: Any = None, *, consistency: Consistency = "session", snapshot: bool = False) -> ReadContext:
        """A read scope: `async with database.read(key=code) as db: row = await db.one_or_none(FIND, code=code)`.

        With `key`, statements on sharded tables of that key; without, home and replicated tables. Each statement sees
        its own snapshot, never older than the one before; with `snapshot=True` all see one. `consistency`: "session"
        (at least this client's own writes), "strong" (everything acknowledged), "eventual". It cannot write.
        """
        router = self._router or self._open()
        backend = router.active
        if backend.in_transaction() or (router.others and router.in_transaction()):
            raise _nested("A read scope")
        if key is None:
            return backend.read(None, consistency, snapshot)
        if type(key) is not str:
            canonical(key)
        return backend.read((key,), consistency, snapshot)

    def fanout(self) -> ReadContext:
        """A read scope over all shards, for statements without a key; rows of several shards are merged."""
        router = self._open()
        if router.in_transaction():
            raise _nested("A fanout")
        return router.active.fanout()

    # -- writing ------------------------------------------------------------------------------------------------------

    def transaction(
        self, *, key: str | Sequence[str] | None = None, isolation: Isolation = "serializable"
    ) -> Callable[[Callable[Concatenate[Transaction, P], Coroutine[Any, Any, R]]], Callable[P, Awaitable[R]]]:
        """Marks a function as a transaction: `tx` is given to it, its statements commit together or not at all.

        `key` names the argument(s) whose value is the key; without one it works on home tables. The body awaits only
        its `tx`, and may run again: over a failover, a conflict, a held move; it commits exactly once. In a request
        with an Idempotency-Key a repeated request returns the first result without running the body. Cancelling the
        caller never stops a body that began.
        """
        names = (key,) if isinstance(key, str) else tuple(key or ())

        def mark(
            function: Callable[Concatenate[Transaction, P], Coroutine[Any, Any, R]],
        ) -> Callable[P, Awaitable[R]]:
            marked: Callable[P, Awaitable[R]] = self._transactional(function, names, isolation)
            return marked

        return mark

    def _transactional(self, function: Any, names: tuple[str, ...], isolation: Isolation) -> Any:
        name = function.__qualname__
        if not inspect.iscoroutinefunction(function):
            raise ContractError(f"{name} is not an async function.", hint="Write `async def`.", code="TF-TX-6")
        if isolation not in ("serializable", "snapshot") and not function.__module__.startswith("tenfold."):
            raise _too_low(name, isolation)
        keys_of = _key_reader(function, names)
        codec = ResultCodec(function)
        self.transactions.append(TransactionFunction(f"{function.__module__}.{name}", names, isolation))

        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            router = self._router or self._open()
            if router.active.in_transaction() or (router.others and router.in_transaction()):
                raise _nested(f"The transaction {name}")
            keys = keys_of(args, kwargs) if names else None
            made = Call(
                name=name,
                start=lambda tx: function(tx, *args, **kwargs),
                keys=keys,
                codec=codec,
                context=copy_context(),
                isolation=isolation,
            )
            return await _committed(router, made)

        return call


async def _committed(router: Router, call: Call) -> Any:
    """Runs the call with what the request carries; the client's token moves to the commit."""
    request = current_scope()
    if request is None:
        return await router.write(call)
    if request.idempotency_key is not None:
        ordinal = request.next_ordinal("transaction")
        call.commit_id = commit_id(request.idempotency_key, ordinal)
        call.fingerprint = request.fingerprint
        call.start = _apart(call.start, request, ordinal)
    result = await router.write(call)
    request.token = request.token.merged(router.position())
    return result


def _apart(start: Start, request: RequestScope, ordinal: int) -> Start:
    """Draws of ids in a keyed body are named by its transaction. So they are the same however often the body runs, and
    those outside of it are the same when it does not run, because its result is known."""

    def begin(tx: Any) -> Coroutine[Any, Any, Any]:
        async def body() -> Any:
            enter_scope(request.inside(ordinal))  # never left: the context ends with the attempt
            return await started

        started = start(tx)
        begun: Any = body()
        begun.__qualname__ = getattr(started, "__qualname__", begun.__qualname__)
        return cast("Coroutine[Any, Any, Any]", begun)

    return begin


def _too_low(name: str, isolation: str) -> ContractError:
    return ContractError(
        f'{name} asks for the isolation "{isolation}"; allowed: "serializable" (the default) or "snapshot".',
        hint="Below, commits of others appear between the statements of a body; on SQLite not, so that it would go "
        "wrong on step 2 only.",
        code="TF-TX-7",
    )


def _key_reader(function: Any, names: tuple[str, ...]) -> Callable[[tuple[Any, ...], dict[str, Any]], tuple[Any, ...]]:
    """A function from call arguments to key values; `ContractError` when the function lacks such an argument."""
    signature = inspect.signature(function)
    parameters = dict(list(signature.parameters.items())[1:])
    unknown = [name for name in names if name not in parameters]
    if unknown:
        raise ContractError(
            f"{function.__qualname__} has no argument {', '.join(unknown)}, which its key names.",
            hint=f"Its arguments are: {', '.join(parameters) or 'none'}.",
            code="TF-TX-6",
        )
    ordered = [name for name, parameter in parameters.items() if parameter.kind in _BY_PLACE]
    places = [
        (ordered.index(name) if name in ordered else sys.maxsize, name, parameters[name].default) for name in names
    ]

    first = places[0][0] if len(places) == 1 else sys.maxsize

    def read(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        if first < len(args) and type(args[first]) is str:  # nearly always
            return (args[first],)
        keys = tuple(args[at] if at < len(args) else kwargs.get(name, default) for at, name, default in places)
        for key in keys:
            if type(key) is not str:
                if key is inspect.Parameter.empty:
                    signature.bind(None, *args, **kwargs)  # raises the TypeError that Python would
                canonical(key)
        return keys

    return read


_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _nothing() -> None:
    return None


def _nested(what: str) -> ContractError:
    return ContractError(
        f"{what} was opened inside a transaction's body.",
        hint="Use the body's own tx, or open it before or after the transaction.",
        code="TF-TX-2",
    )
