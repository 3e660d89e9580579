"""One cached function: its key template, its bounds in time, its table and what happens on a miss."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable
from dataclasses import dataclass
from functools import partial, update_wrapper
from typing import Any, Final, ParamSpec, Protocol, TypeVar
from weakref import WeakSet

from tenfold.blocks.cache.flights import Flights
from tenfold.blocks.cache.keys import (
    KeyRefused,
    check_sizes,
    compile_functions,
    filled,
    normal,
    read_back,
    shown,
    template_fields,
)
from tenfold.blocks.cache.memory import Memory, Table
from tenfold.blocks.cache.policy import ENTRY_BYTES, JITTER, Entry, Standing, lifetime, look_at, size_of, standing
from tenfold.blocks.cache.tags import Tags, checked
from tenfold.blocks.cache.watch import Watch
from tenfold.blocks.database.scope import current_scope
from tenfold.core.clock import Clock
from tenfold.core.errors import ContractError
from tenfold.core.randomness import Randomness

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)


TagsOf = Callable[[Any], Iterable[str]]
"""Makes the tags of a value."""

BatchLoader = Callable[[list[Any]], Awaitable[dict[Any, Any]]]

MANY_MAX = 1000
"""Keys of one call of a batch loader at most."""

MANY_AT_ONCE = 32
FAILURES_MAX = 1000
"""Failed loads that are remembered at most, for each function."""


class Pending:
    """A value that a transaction stores when it commits. `spoiled` once the key was dropped by anybody meanwhile;
    `since` counts the drops of tags before it (`Tags.now`)."""

    __slots__ = ("__weakref__", "ident", "since", "spoiled")

    def __init__(self, ident: Hashable, since: int) -> None:
        self.ident = ident
        self.since = since
        self.spoiled = False


class Missing(enum.Enum):
    """The type of `MISSING`."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING
"""What `peek` answers when the cache holds nothing for a key; None is a value like any other."""


class Cached(Protocol[P, T_co]):
    """A loader wrapped by `cache.read`. Awaiting it reads through the cache; a hit makes no task and never suspends."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T_co]:
        """The cached value, or the loader's. The value is shared with all other readers: treat it as frozen.

        Raises what the loader raises, `Unavailable` when it takes longer than its timeout, `KeyRefused` for an argument
        over 512 characters, `ContractError` inside a transaction.
        """
        ...

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> T_co | Missing:
        """The cached value, synchronously, or `MISSING`. Never loads."""
        ...

    async def many(self, keys: Iterable[Any]) -> dict[Any, Any]:
        """The values of many keys of a function with one argument, by key; what is missing is loaded together.

        With a batch loader (`batch`) in one call for all of it, else key by key, `MANY_AT_ONCE` at a time.
        """
        ...

    def batch(self, loader: BatchLoader) -> BatchLoader:
        """Marks the loader of many keys: `@find.batch`, an `async def` from a list of keys to a dict by key.

        A key that is not in the dict has the value None.
        """
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """What `cache.read` was told. Times are seconds; `size` gives the bytes of a value."""

    ttl: float
    none_ttl: float
    timeout_s: float
    jitter: float = JITTER
    size: Callable[[Any], int] = size_of
    grace_s: float = 0.0
    soft_s: float | None = None
    again_s: float = 1.0
    ahead: float | None = None
    error_s: float = 0.0
    tags: tuple[str | TagsOf, ...] = ()

    def __post_init__(self) -> None:
        self._check_lateness()
        if self.ttl <= 0 or self.none_ttl < 0 or self.timeout_s <= 0 or not 0 <= self.jitter < 1:
            raise ContractError(
                f"A cached function cannot have ttl={self.ttl:g} s, none_ttl={self.none_ttl:g} s,"
                f" timeout={self.timeout_s:g} s, jitter={self.jitter:g}.",
                hint="ttl and timeout are more than 0, none_ttl is 0 or more, jitter is from 0 to below 1.",
                code="TF-CACHE-TEMPLATE",
            )

    def _check_lateness(self) -> None:
        wrong = ""
        if min(self.grace_s, self.error_s) < 0 or self.again_s <= 0:
            wrong = "grace and error_ttl are 0 or more, again is more than 0"
        elif self.soft_s is not None and not (self.grace_s and 0 < self.soft_s < self.timeout_s):
            wrong = "soft_timeout needs a grace, from which it serves, and is shorter than timeout"
        elif self.ahead is not None and not 0 < self.ahead < 1:
            wrong = "ahead is a share of the ttl, such as 0.8"
        if wrong:
            raise ContractError("The options of a cached function contradict each other.", hint=f"{wrong}.",
                                code="TF-CACHE-TEMPLATE")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all readers of one cache share."""

    clock: Clock
    randomness: Randomness
    memory: Memory
    flights: Flights
    watch: Watch
    in_transaction: Callable[[], bool]
    tags: Tags
    pending: WeakSet[Pending]
    """Values that running transactions will store."""


class Reader:
    """The workings behind one cached function. `function` is what the service calls."""

    def __init__(self, template: str, loader: Callable[..., Any], options: Options, around: Surroundings) -> None:
        self.template = template
        self.name = f"{loader.__module__}.{loader.__qualname__}"
        self.misses = self.loads = self.failures = self.stale = self.refreshes = 0
        self._batch: BatchLoader | None = None
        self._failed: dict[Hashable, tuple[float, Exception]] = {}
        self._fields = template_fields(template, loader)
        self._options = options
        self._around = around
        self._table: Table = {}
        self.key, peek, read, self.loading, self.hits = compile_functions(
            template,
            self._fields,
            loader,
            loader=loader,
            get=self._table.get,
            now=around.clock.monotonic,
            watch=around.watch,
            look=around.watch.look,
            in_transaction=around.in_transaction,
            refuse=self._refuse_transaction,
            miss=self._miss,
            late=self._late,
            scope_of=current_scope,
            partial=partial,
            normal=normal,
            missing=MISSING,
            str=str,
        )
        function: Any = update_wrapper(read, loader)
        function.peek, function.reader, function.many, function.batch = peek, self, self.many, self.take_batch
        self.function = function
        self._behind: set[asyncio.Future[Any]] = set()

    @property
    def tagged(self) -> bool:
        """Whether its values have tags."""
        return bool(self._options.tags)

    def shown(self, key: Hashable) -> str:
        """The key as text, for messages."""
        return shown(self.template, self._fields, key)

    def address(self, key: Hashable) -> str | None:
        """The key as text that names it in every process of the service; None for one that no process can hold."""
        try:
            check_sizes(self._fields, key)
        except KeyRefused:
            return None
        return f"{self.template}|{self.shown(key)}"

    def drop_shown(self, text: str) -> None:
        """Forgets the key of this text; ValueError when there is none."""
        self.drop(read_back(self.template, self._fields, text))

    def drop(self, key: Hashable) -> None:
        """Forgets `key` and detaches a load that is under way: a reader that comes later loads anew."""
        self._around.flights.detach((self, key))
        self._around.memory.remove(self._table, key)
        self._failed.pop(key, None)
        for pending in self._around.pending:
            if pending.ident == (self, key):
                pending.spoiled = True

    async def refresh(self, key: Hashable, loading: Callable[[], Awaitable[Any]]) -> Any:
        """Loads `key` anew; until that is done readers get the old value."""
        if self._around.in_transaction():
            self._refuse_transaction()
        return await self._load(key, loading, fresh=True)

    def _late(self, entry: Entry, now: float) -> Any:
        """What `peek` says of an entry whose `expires` has passed."""
        return entry.value if standing(entry, now) is Standing.AHEAD else MISSING

    async def _miss(self, key: Hashable, loading: Callable[[], Awaitable[Any]]) -> Any:
        now = self._around.clock.monotonic()
        entry = self._table.get(key)
        found = standing(entry, now)
        if found is Standing.GONE:
            self.misses += 1
            self._refuse_failed(key, now)
            return await self._waited(self._load(key, loading, fresh=False), now)
        assert entry is not None, "only what is gone has none"
        entry.visited = True
        if found is Standing.AHEAD:
            self._load_behind(key, loading, entry, now)
            return entry.value
        self.misses += 1
        return await self._waited(self._or_stale(key, loading, entry), now)

    async def _waited(self, loaded: Awaitable[Any], began: float) -> Any:
        """What is being loaded; the wait is noted for the caller's request. A load inside of a load is a part of it."""
        scope = current_scope()
        if scope is None or self._around.flights.inside:
            return await loaded
        try:
            return await loaded
        finally:
            scope.cache_loads += 1
            scope.cache_s += self._around.clock.monotonic() - began

    def _load_behind(self, key: Hashable, loading: Callable[[], Awaitable[Any]], entry: Entry, now: float) -> None:
        """Refresh-ahead: one load beside those who read; when it fails, it is tried again after `again`."""
        self.refreshes += 1
        entry.expires = min(entry.fresh_until, now + self._options.again_s)
        task = asyncio.ensure_future(self._load(key, loading, fresh=False))
        self._behind.add(task)
        task.add_done_callback(self._refreshed)

    def _refreshed(self, task: asyncio.Future[Any]) -> None:
        self._behind.discard(task)
        if not task.cancelled():
            task.exception()  # counted where it was raised; the readers have their value

    async def _or_stale(self, key: Hashable, loading: Callable[[], Awaitable[Any]], entry: Entry) -> Any:
        """Loads; the old value stands in when that fails, or takes longer than the soft timeout (it goes on then)."""
        try:
            async with asyncio.timeout(self._options.soft_s) as soft:
                return await self._load(key, loading, fresh=False)
        except ContractError:
            raise
        except Exception:
            now = self._around.clock.monotonic()
            if self._table.get(key) is not entry or entry.keep_until <= now:  # dropped meanwhile, or too old by now
                raise
            if not soft.expired():
                entry.expires = min(entry.keep_until, now + self._options.again_s)
        self.stale += 1
        return entry.value

    def _refuse_failed(self, key: Hashable, now: float) -> None:
        failed = self._failed.get(key)
        if failed is not None:
            until, error = failed
            if now < until:
                raise error.with_traceback(None)
            del self._failed[key]

    async def _call(self, key: Hashable, loading: Callable[[], Awaitable[Any]]) -> Any:
        self.loads += 1
        try:
            return await loading()
        except Exception as error:
            self.failures += 1
            if self._options.error_s:
                self._failed[key] = (self._around.clock.monotonic() + self._options.error_s, error)
                if len(self._failed) > FAILURES_MAX:
                    del self._failed[next(iter(self._failed))]
            raise
        except BaseException:
            self.failures += 1
            raise

    def _load(self, key: Hashable, loading: Callable[[], Awaitable[Any]], *, fresh: bool) -> Awaitable[Any]:
        check_sizes(self._fields, key)
        return self._around.flights.join(
            (self, key),
            self.shown(key),
            partial(self._call, key, loading),
            partial(self._store, key, self._around.tags.now),
            self._options.timeout_s,
            fresh=fresh,
        )

    def _store(self, key: Hashable, since: int, value: Any) -> None:
        around, options = self._around, self._options
        tags = self._tags_of(key, value)
        ttl = options.none_ttl if value is None else options.ttl
        if ttl <= 0 or not around.tags.admits(tags, since):
            around.memory.remove(self._table, key)
            return
        now = around.clock.monotonic()
        fresh_s = lifetime(ttl, options.jitter, around.randomness.uniform())
        size = ENTRY_BYTES + size_of(key) + options.size(value)
        until = now + fresh_s
        at = look_at(now, fresh_s, options.ahead)
        keep_until = until + options.grace_s
        entry = Entry(self._table, key, value, size, at, fresh_until=until, keep_until=keep_until, tags=tags)
        around.memory.put(entry, now)
        if tags and self._table.get(key) is entry:
            around.tags.add(entry)

    def _tags_of(self, key: Hashable, value: Any) -> tuple[str, ...]:
        if not self._options.tags:
            return ()
        found: list[str] = []
        for tag in self._options.tags:
            if isinstance(tag, str):
                found.append(filled(tag, self._fields, key))
            else:
                found.extend(tag(value))
        return checked(found)

    # -- written through ----------------------------------------------------------------------------------------------

    def pending(self, key: Hashable) -> Pending:
        """Notes that a transaction will store `key`."""
        check_sizes(self._fields, key)
        pending = Pending((self, key), self._around.tags.now)
        self._around.pending.add(pending)
        return pending

    def written(self, key: Hashable, value: Any, pending: Pending) -> None:
        """The transaction has committed: its value is stored, unless key or tag was dropped since its body ran."""
        spoiled = pending.spoiled
        self.drop(key)
        if not spoiled:
            self._store(key, pending.since, value)

    # -- many at once -------------------------------------------------------------------------------------------------

    def take_batch(self, loader: BatchLoader) -> BatchLoader:
        """`Cached.batch`."""
        if len(self._fields) != 1:
            raise ContractError(
                f"{self.name} has {len(self._fields)} arguments, and a batch is a list of one argument.",
                hint="Batches are for functions with one argument.",
                code="TF-CACHE-TEMPLATE",
            )
        self._batch = loader
        return loader

    async def many(self, keys: Iterable[Any]) -> dict[Any, Any]:
        """`Cached.many`."""
        wanted = list(dict.fromkeys(keys))
        if self._batch is None:
            room = asyncio.Semaphore(MANY_AT_ONCE)

            async def one(key: Any) -> Any:
                async with room:
                    return await self.function(key)

            return dict(zip(wanted, await asyncio.gather(*map(one, wanted)), strict=True))
        if self._around.in_transaction():
            self._refuse_transaction()
        found: dict[Any, Any] = {}
        missing = []
        for argument in wanted:
            value = self.function.peek(argument)
            if value is MISSING:
                missing.append(argument)
            else:
                found[argument] = value
        for first in range(0, len(missing), MANY_MAX):
            found.update(await self._load_together(self._batch, missing[first : first + MANY_MAX]))
        return {argument: found[argument] for argument in wanted}

    async def _load_together(self, loader: BatchLoader, arguments: list[Any]) -> dict[Any, Any]:
        """One call for all of them; each is a load of its own to those who wait for it, or drop it meanwhile."""
        together: list[asyncio.Task[dict[Any, Any]]] = []
        asked: list[Any] = []

        async def one(argument: Any) -> Any:
            if not together:
                together.append(asyncio.ensure_future(_awaited(loader(asked))))
            return (await asyncio.shield(together[0])).get(argument)

        waiting = []
        for argument in arguments:
            key = self.key(argument)
            self.misses += 1
            if not self._around.flights.is_open((self, key)):
                asked.append(argument)
            waiting.append(self._load(key, partial(one, argument), fresh=False))
        began = self._around.clock.monotonic()
        return dict(zip(arguments, await self._waited(asyncio.gather(*waiting), began), strict=True))

    def _refuse_transaction(self) -> None:
        raise ContractError(
            f"{self.name} reads through the cache inside a transaction.",
            hint="A body awaits only tx: read before the transaction, or ask tx itself, which sees its own writes.",
            code="TF-CACHE-TX",
        )


async def _awaited(loading: Awaitable[dict[Any, Any]]) -> dict[Any, Any]:
    return await loading
