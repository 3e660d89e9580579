"""The cache block: read-through, single flight, invalidated with the transaction.

On step 1 there is one level, in this process. What a service relies on (docs/blocks/cache.md): after a write's caller
has its result, no read in this process returns what the write replaced; a hundred concurrent misses are one load; the
bounds on entries and bytes hold at any time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

from tenfold.blocks.cache.eviction import Eviction
from tenfold.blocks.cache.flights import Flights
from tenfold.blocks.cache.keys import KeyRefused
from tenfold.blocks.cache.memory import Memory
from tenfold.blocks.cache.policy import JITTER, size_of
from tenfold.blocks.cache.reader import MISSING, Cached, Missing, Options, P, Reader, Surroundings, TagsOf
from tenfold.blocks.cache.tags import Tags, checked
from tenfold.blocks.cache.watch import Watch
from tenfold.core.clock import Clock
from tenfold.core.errors import ContractError
from tenfold.core.gauge import GAUGE
from tenfold.core.randomness import Randomness
from tenfold.core.units import parse_duration

__all__ = ["MISSING", "Cache", "CacheStats", "Cached", "Commits", "KeyRefused", "Missing", "ReaderStats"]

NONE_TTL_S = 30.0
_TAG = "#"
"""Stands where an address has its template, which never begins with it, before a tag."""

TIMEOUT_S = 10.0

T = TypeVar("T")


class Commits(Protocol):
    """What the cache needs of a transaction."""

    def on_commit(self, callback: Callable[[], None], /) -> Any:
        """Calls `callback` after COMMIT succeeded and before the transaction's caller gets its result."""
        ...

    def announce(self, key: str, /) -> Any:
        """Tells the other processes, with the COMMIT, that `key` is to be dropped."""
        ...


@dataclass(frozen=True, slots=True)
class ReaderStats:
    """Counts of one cached function since the process started. A `peek` that finds nothing counts nowhere.

    `stale` are answers from the grace after a load that failed or took too long, `refreshes` loads ahead of time.
    """

    hits: int
    misses: int
    loads: int
    failures: int
    stale: int
    refreshes: int


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Counts since the process started, and what the cache holds now; `by_key` has a row for each key template."""

    hits: int
    misses: int
    loads: int
    failures: int
    stale: int
    refreshes: int
    evictions: int
    refusals: int
    entries: int = field(metadata=GAUGE)
    bytes: int = field(metadata=GAUGE)
    entries_limit: int = field(metadata=GAUGE)
    bytes_limit: int = field(metadata=GAUGE)
    loading: int = field(metadata=GAUGE)
    by_key: dict[str, ReaderStats]


class Cache:
    """The cache of one process. Belongs to one event loop; values are shared with all readers, not copied.

    `entries` and `bytes_limit` bound it together, over all cached functions. `in_transaction` says whether the code
    that runs now is the body of a transaction.
    """

    def __init__(
        self,
        clock: Clock,
        randomness: Randomness,
        entries: int = 100_000,
        bytes_limit: int = 64_000_000,
        *,
        in_transaction: Callable[[], bool] = lambda: False,
    ) -> None:
        self.announce: Callable[[list[str]], object] | None = None
        """Tells the other processes which keys were dropped here without a transaction."""
        self._readers: dict[str, Reader] = {}
        self._memory = Memory(entries, bytes_limit)
        self._tags = Tags()
        self._memory.on_remove = self._tags.remove
        self._around = Surroundings(
            clock, randomness, self._memory, Flights(), Watch(), in_transaction, self._tags, WeakSet()
        )

    def read(
        self,
        key: str,
        *,
        ttl: str | float,
        none_ttl: str | float | None = None,
        timeout: str | float = TIMEOUT_S,
        jitter: float = JITTER,
        size: Callable[[Any], int] = size_of,
        grace: str | float = 0,
        soft_timeout: str | float | None = None,
        again: str | float = 1.0,
        ahead: float | None = None,
        error_ttl: str | float = 0,
        tags: Sequence[str | TagsOf] = (),
    ) -> Callable[[Callable[P, Awaitable[T]]], Cached[P, T]]:
        """Makes an `async def` loader a cached function; `key` is a template of its arguments, such as `link:{code}`.

        `ttl` and `none_ttl` (for None results; default `ttl`, at most 30 s; 0 caches no None) are "1h" or seconds, and
        are shortened by up to the share `jitter` per entry. `timeout` bounds one load. `size` gives the bytes of a
        value where the estimate (`policy.size_of`) is too coarse. Every argument must be in the key, and is str, int,
        bytes, bool, UUID or None. The loader runs once for all who wait, in a task of its own with a copy of the first
        caller's context.

        For `grace` after its ttl a value stands in for a load that fails, or that takes longer than `soft_timeout` (it
        goes on beside those who have the old value); a failed load is tried again after `again`. With `ahead`, a share
        of the ttl such as 0.8, a value that is read after it is loaded anew beside its readers. For `error_ttl` an
        exception of the loader is answered again without loading. `tags` are templates such as `shop:{shop}`, or
        functions from the value to its tags; `drop_tag` and `invalidate_tag` drop all values with a tag. A dropped or
        invalidated value is never served, whatever the grace.
        """
        ttl_s = parse_duration(ttl)
        none_ttl_s = min(ttl_s, NONE_TTL_S) if none_ttl is None else parse_duration(none_ttl)
        options = Options(
            ttl_s, none_ttl_s, parse_duration(timeout), jitter, size,
            grace_s=parse_duration(grace), soft_s=None if soft_timeout is None else parse_duration(soft_timeout),
            again_s=parse_duration(again), ahead=ahead, error_s=parse_duration(error_ttl), tags=tuple(tags),
        )  # fmt: skip

        def wrap(loader: Callable[P, Awaitable[T]]) -> Cached[P, T]:
            reader = Reader(key, loader, options, self._around)
            if (other := self._readers.get(key)) is not None:
                raise ContractError(
                    f"The key template {key!r} is used by {other.name} and by {reader.name}.",
                    hint="Give each cached function a template of its own.",
                    code="TF-CACHE-TEMPLATE",
                )
            self._readers[key] = reader
            return reader.function  # type: ignore[no-any-return]

        return wrap

    def invalidate(self, tx: Commits, function: Cached[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Drops one key with the transaction: after its COMMIT, before its caller has the result; not if it fails."""
        reader = self._reader(function)
        key = reader.key(*args, **kwargs)
        tx.on_commit(partial(reader.drop, key))
        if (address := reader.address(key)) is not None:
            tx.announce(address)

    def write(self, tx: Commits, function: Cached[P, T], value: T, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Write-through: with the COMMIT, `value` is what one key has here; other processes drop theirs.

        When another change of that key, or of a tag of the value, passes at the same time, the key is dropped instead:
        the next reader loads.
        """
        reader = self._reader(function)
        key = reader.key(*args, **kwargs)
        pending = reader.pending(key)
        tx.on_commit(partial(reader.written, key, value, pending))
        if (address := reader.address(key)) is not None:
            tx.announce(address)

    def invalidate_tag(self, tx: Commits, tag: str) -> None:
        """Drops all values with this tag, with the transaction, in every process."""
        checked((tag,))
        tx.on_commit(partial(self._drop_tag, tag))
        tx.announce(f"{_TAG}|{tag}")

    def drop_tag(self, tag: str) -> None:
        """Drops all values with this tag now; in the other processes a moment later."""
        checked((tag,))
        self._drop_tag(tag)
        if self.announce is not None:
            self.announce([f"{_TAG}|{tag}"])

    def _drop_tag(self, tag: str) -> None:
        # Which tags the value of a load under way will have is not known: nobody joins any of them from now on.
        self._around.flights.detach_where(_is_tagged)
        for entry in self._tags.drop(tag):
            self._memory.remove(entry.table, entry.key)

    def drop(self, function: Cached[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Drops one key now. A load that is under way is not stored, and later readers do not join it."""
        reader = self._reader(function)
        key = reader.key(*args, **kwargs)
        reader.drop(key)
        if self.announce is not None and (address := reader.address(key)) is not None:
            self.announce([address])

    def follow(self, catch_up: Callable[[], object]) -> None:
        """Calls `catch_up` from now on before answering, at most every `LOOK_EVERY_S`.

        It gives `heard` what other processes have announced, before it returns.
        """
        self._around.watch.follow(catch_up)

    def heard(self, keys: list[str] | None) -> None:
        """Drops what another process announced; everything when None says that some may have been missed."""
        if keys is None:
            self.clear()
            return
        for address in keys:
            template, _, text = address.partition("|")
            if template == _TAG:
                self._drop_tag(text)
                continue
            reader = self._readers.get(template)
            if reader is not None:  # otherwise the other process runs other code
                with contextlib.suppress(ValueError):
                    reader.drop_shown(text)

    async def refresh(self, function: Cached[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Loads one key anew and returns its value; readers get the old one until then, also when the load fails."""
        reader = self._reader(function)
        return await reader.refresh(  # type: ignore[no-any-return]
            reader.key(*args, **kwargs), reader.loading(*args, **kwargs)
        )

    def clear(self) -> None:
        """Drops everything; loads under way, and values that running transactions have, are not stored."""
        self._around.flights.detach_all()
        for pending in self._around.pending:
            pending.spoiled = True
        self._memory.clear()

    def adopt(self, entries: int, bytes_limit: int, eviction: Eviction = "sieve") -> None:
        """Sets new bounds and the policy while running; what no longer fits goes at once."""
        self._memory.evict_by(eviction)
        self._memory.resize(entries, bytes_limit, self._around.clock.monotonic())

    def stats(self) -> CacheStats:
        """A snapshot for /metrics and `status`."""
        by_key = {
            template: ReaderStats(
                reader.hits(), reader.misses, reader.loads, reader.failures, reader.stale, reader.refreshes
            )
            for template, reader in self._readers.items()
        }
        memory = self._memory
        return CacheStats(
            hits=sum(row.hits for row in by_key.values()),
            misses=sum(row.misses for row in by_key.values()),
            loads=sum(row.loads for row in by_key.values()),
            failures=sum(row.failures for row in by_key.values()),
            stale=sum(row.stale for row in by_key.values()),
            refreshes=sum(row.refreshes for row in by_key.values()),
            evictions=memory.evictions,
            refusals=memory.refusals,
            entries=memory.entries,
            bytes=memory.bytes,
            entries_limit=memory.entries_limit,
            bytes_limit=memory.bytes_limit,
            loading=len(self._around.flights),
            by_key=by_key,
        )

    def _reader(self, function: Any) -> Reader:
        reader = getattr(function, "reader", None)
        if isinstance(reader, Reader) and self._readers.get(reader.template) is reader:
            return reader
        raise ContractError(
            f"{getattr(function, '__qualname__', function)!r} is not a cached function of this cache.",
            hint="Give the function that @cache.read decorates.",
            code="TF-CACHE-TEMPLATE",
        )


def _is_tagged(ident: Any) -> bool:
    reader: Reader = ident[0]
    return reader.tagged
