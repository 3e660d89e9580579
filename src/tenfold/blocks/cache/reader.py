"""One cached function: its key template, its bounds in time, its table and what happens on a miss."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass
from functools import partial, update_wrapper
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from tenfold.blocks.cache.flights import Flights
from tenfold.blocks.cache.keys import (
    KeyRefused,
    check_sizes,
    compile_functions,
    normal,
    read_back,
    shown,
    template_fields,
)
from tenfold.blocks.cache.memory import Memory, Table
from tenfold.blocks.cache.policy import ENTRY_BYTES, JITTER, Entry, lifetime, size_of
from tenfold.blocks.cache.watch import Watch
from tenfold.core.clock import Clock
from tenfold.core.errors import ContractError
from tenfold.core.randomness import Randomness

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)


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


@dataclass(frozen=True, slots=True)
class Options:
    """What `cache.read` was told. Times are seconds; `size` gives the bytes of a value."""

    ttl: float
    none_ttl: float
    timeout_s: float
    jitter: float = JITTER
    size: Callable[[Any], int] = size_of

    def __post_init__(self) -> None:
        if self.ttl <= 0 or self.none_ttl < 0 or self.timeout_s <= 0 or not 0 <= self.jitter < 1:
            raise ContractError(
                f"A cached function cannot have ttl={self.ttl:g} s, none_ttl={self.none_ttl:g} s,"
                f" timeout={self.timeout_s:g} s, jitter={self.jitter:g}.",
                hint="ttl and timeout are more than 0, none_ttl is 0 or more, jitter is from 0 to below 1.",
                code="TF-CACHE-TEMPLATE",
            )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all readers of one cache share."""

    clock: Clock
    randomness: Randomness
    memory: Memory
    flights: Flights
    watch: Watch
    in_transaction: Callable[[], bool]


class Reader:
    """The workings behind one cached function. `function` is what the service calls."""

    def __init__(self, template: str, loader: Callable[..., Any], options: Options, around: Surroundings) -> None:
        self.template = template
        self.name = f"{loader.__module__}.{loader.__qualname__}"
        self.misses = self.loads = self.failures = 0
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
            partial=partial,
            normal=normal,
            missing=MISSING,
            str=str,
        )
        function: Any = update_wrapper(read, loader)
        function.peek, function.reader = peek, self
        self.function = function

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

    async def refresh(self, key: Hashable, loading: Callable[[], Awaitable[Any]]) -> Any:
        """Loads `key` anew; until that is done readers get the old value."""
        if self._around.in_transaction():
            self._refuse_transaction()
        return await self._load(key, loading, fresh=True)

    async def _miss(self, key: Hashable, loading: Callable[[], Awaitable[Any]]) -> Any:
        self.misses += 1
        return await self._load(key, loading, fresh=False)

    def _load(self, key: Hashable, loading: Callable[[], Awaitable[Any]], *, fresh: bool) -> Awaitable[Any]:
        check_sizes(self._fields, key)
        return self._around.flights.join(
            (self, key),
            self.shown(key),
            partial(self._call, loading),
            partial(self._store, key),
            self._options.timeout_s,
            fresh=fresh,
        )

    async def _call(self, loading: Callable[[], Awaitable[Any]]) -> Any:
        self.loads += 1
        try:
            return await loading()
        except BaseException:
            self.failures += 1
            raise

    def _store(self, key: Hashable, value: Any) -> None:
        around, options = self._around, self._options
        ttl = options.none_ttl if value is None else options.ttl
        if ttl <= 0:
            self._around.memory.remove(self._table, key)
            return
        now = around.clock.monotonic()
        expires = now + lifetime(ttl, options.jitter, around.randomness.uniform())
        size = ENTRY_BYTES + size_of(key) + options.size(value)
        around.memory.put(Entry(self._table, key, value, size, expires), now)

    def _refuse_transaction(self) -> None:
        raise ContractError(
            f"{self.name} reads through the cache inside a transaction.",
            hint="A body awaits only tx: read before the transaction, or ask tx itself, which sees its own writes.",
            code="TF-CACHE-TX",
        )
