"""The kv block: values under keys, with compare-and-set, expiry and a choice of consistency.

    version = await tf.kv.put("theme:42", {"dark": True}, ttl="30d")
    entry = await tf.kv.get("theme:42")                       # Entry(value, version, expires) or None
    version = await tf.kv.cas("theme:42", entry.version, {"dark": False})    # None: somebody else was faster

Each call is a transaction of its own; `tf.kv.in_(tx)` takes part in the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.database.backend import Consistency
from tenfold.blocks.kv import writes
from tenfold.blocks.kv.policy import At, Entry, RefusedEntry, Stored, entry_of, expected_version, place_of, stored
from tenfold.blocks.kv.sweeper import Sweeper
from tenfold.core.clock import Clock
from tenfold.core.randomness import Randomness
from tenfold.topology.map import Map

__all__ = ["Entry", "Kv", "KvIn", "KvStats", "RefusedEntry"]


@dataclass(frozen=True, slots=True)
class KvStats:
    """What this process did: reads and how many found a value, writes, compare-and-sets that lost, entries swept."""

    reads: int
    found: int
    writes: int
    lost: int
    swept: int


class Kv:
    """Keys and values of one service.

    A key is text of 1 to 512 bytes without control characters; a key that begins with `{name}` lives with everything
    else of the key `name`. A value is bytes, text, or what JSON can carry, of at most 1 MB; it comes back as the kind
    that was put. Guarantees: a version of a key never comes back, not over deletes, expiry or a clock that steps; of
    several compare-and-sets that expect the same version at most one succeeds; a value is not returned at or after the
    microsecond in which it expires. Errors: `RefusedEntry` (TF-KV-REFUSED) for what cannot be stored, `Unavailable`
    (surely not written) and `UnknownOutcome` (look with `get`) of the database.
    """

    def __init__(self, database: Database, clock: Clock, randomness: Randomness) -> None:
        self._database = database
        self._clock = clock
        self._sweeper = Sweeper(database, clock, randomness)
        self._reads = self._found = self._writes = self._lost = 0
        self._put = database.transaction(key="place")(self._put_in)
        self._cas = database.transaction(key="place")(self._cas_in)
        self._delete = database.transaction(key="place")(self._delete_in)

    async def start(self) -> None:
        """Begins to clear up what expired."""
        await self._sweeper.start()

    async def stop(self) -> None:
        """Ends that."""
        await self._sweeper.stop()

    def adopt(self, new: Map) -> None:
        """Nothing in a map is about this block."""

    def stats(self) -> KvStats:
        """What this process did since it started."""
        return KvStats(self._reads, self._found, self._writes, self._lost, self._sweeper.removed)

    async def get(self, key: str, *, consistency: Consistency = "session") -> Entry | None:
        """The value with its version, or None. `consistency`: "session" (at least what this client wrote), "strong"
        (everything acknowledged), "eventual"."""
        place, name = place_of(key)
        async with self._database.read(key=place, consistency=consistency) as db:
            row = await db.one_or_none(writes.FIND, at_place=place, at_name=name)
        found = entry_of(row, self._clock.wall_us())
        self._reads += 1
        self._found += found is not None
        return found

    async def put(self, key: str, value: Any, *, ttl: str | float | None = None) -> int:
        """Writes the value, whatever was there; its version. Without `ttl` (seconds, or "30m") it does not expire."""
        place, name = place_of(key)
        version = await self._put(place, name, stored(value, ttl))
        self._writes += 1
        return version

    async def cas(self, key: str, expected: int | None, value: Any, *, ttl: str | float | None = None) -> int | None:
        """Writes the value if the key has exactly the version `expected`, or has no value where that is None.

        The new version; None when it was another, and then nothing was written.
        """
        place, name = place_of(key)
        version = await self._cas(place, name, expected_version(expected), stored(value, ttl))
        self._writes += version is not None
        self._lost += version is None
        return version

    async def delete(self, key: str, *, version: int | None = None) -> bool:
        """Removes the value, or only this version of it; whether there was one."""
        place, name = place_of(key)
        removed = await self._delete(place, name, expected_version(version))
        self._writes += removed
        return removed

    async def sweep(self) -> int:
        """Removes what expired, which also happens about once a minute by itself; how many entries."""
        return await self._sweeper.sweep()

    def in_(self, tx: Transaction) -> KvIn:
        """The same calls as part of a transaction: `await tf.kv.in_(tx).put("{42}theme", ...)` under the key 42.

        Possible are keys that are the transaction's own key, and keys that begin with it in braces; others are refused
        (TF-KEY-2), as is a transaction without a key (TF-KEY-1).
        """
        return KvIn(tx, self._clock)

    # The clock is read inside the bodies: a transaction may be held, or run again, long after it was asked for.

    async def _put_in(self, tx: Transaction, place: str, name: str, new: Stored) -> int:
        return await writes.put(tx, At(place, name), new, self._clock.wall_us())

    async def _cas_in(self, tx: Transaction, place: str, name: str, expected: int | None, new: Stored) -> int | None:
        return await writes.cas(tx, At(place, name), expected, new, self._clock.wall_us())

    async def _delete_in(self, tx: Transaction, place: str, name: str, version: int | None) -> bool:
        return await writes.remove(tx, At(place, name), version, self._clock.wall_us())


class KvIn:
    """Keys and values inside one transaction: what is written is committed with it, or not at all."""

    __slots__ = ("_clock", "_tx")

    def __init__(self, tx: Transaction, clock: Clock) -> None:
        self._tx = tx
        self._clock = clock

    async def get(self, key: str) -> Entry | None:
        """As `Kv.get`, with what this transaction wrote."""
        place, name = place_of(key)
        row = await self._tx.one_or_none(writes.FIND, at_place=place, at_name=name)
        return entry_of(row, self._clock.wall_us())

    async def put(self, key: str, value: Any, *, ttl: str | float | None = None) -> int:
        """As `Kv.put`."""
        return await writes.put(self._tx, place_of(key), stored(value, ttl), self._clock.wall_us())

    async def cas(self, key: str, expected: int | None, value: Any, *, ttl: str | float | None = None) -> int | None:
        """As `Kv.cas`."""
        new, wanted = stored(value, ttl), expected_version(expected)
        return await writes.cas(self._tx, place_of(key), wanted, new, self._clock.wall_us())

    async def delete(self, key: str, *, version: int | None = None) -> bool:
        """As `Kv.delete`."""
        return await writes.remove(self._tx, place_of(key), expected_version(version), self._clock.wall_us())
