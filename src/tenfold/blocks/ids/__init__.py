"""The ids block: UUIDv7 without any coordination, snowflakes with a leased node, sequences in blocks.

In a request with an Idempotency-Key all three are derived from the key and the ordinal of the draw, so that a replay of
the request draws the same ids. Derived ids can collide with each other (docs/blocks/ids.md gives the odds): the
caller's INSERT finds out, as `Conflict`.
"""

from __future__ import annotations

import asyncio
import re
from uuid import UUID

from sqlalchemy import bindparam, insert, select, update

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.database.schema import tf_sequence
from tenfold.blocks.database.scope import current_scope
from tenfold.blocks.ids.lease import LEASE_TTL_S, NodeLease
from tenfold.blocks.ids.policy import (
    BACK_STEP_MAX_MS,
    SEQUENCE_BLOCK,
    SEQUENCE_KEYED,
    TICKS_PER_MS,
    Span,
    keyed_digest,
    keyed_number,
    keyed_snowflake,
    next_tick,
    snowflake,
    snowflake_ms,
    uuid7_int,
    uuid7_tick,
    uuid8_int,
)
from tenfold.core.clock import Clock
from tenfold.core.errors import ContractError, Unavailable
from tenfold.core.randomness import Randomness
from tenfold.topology.map import Map

__all__ = ["Ids"]

_SEQUENCE_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,99}")
_NEXT = select(tf_sequence.c.next).where(tf_sequence.c.name == bindparam("of"))
_ADVANCE = (
    update(tf_sequence).where(tf_sequence.c.name == bindparam("of")).values(next=tf_sequence.c.next + bindparam("by"))
)
_BEGIN = insert(tf_sequence)


class _Block:
    """What this process still has of one sequence."""

    __slots__ = ("end", "next", "refilling")

    def __init__(self) -> None:
        self.next = self.end = 0
        self.refilling = asyncio.Lock()


class Ids:
    """Makes ids: `uuid7` always, `snowflake` between `start` and `stop`, `sequence` while the database is open."""

    def __init__(
        self, database: Database, clock: Clock, randomness: Randomness, *, lease_ttl_s: float = LEASE_TTL_S
    ) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._uuid7_tick = 0
        self._snowflake_tick = -1
        self._span: Span | None = None
        self._blocks: dict[str, _Block] = {}
        self._reserve = database.transaction()(_reserve)
        self.lease = NodeLease(database, clock, randomness, randomness.bytes(8).hex(), lease_ttl_s)
        self.lease.on_span = self._begin_span

    async def start(self) -> None:
        """Leases a node for snowflakes. Does not raise when that fails: it is tried again, and `snowflake` says why."""
        self._blocks.clear()  # their locks belong to an earlier loop, if there was one
        await self.lease.start()

    async def stop(self) -> None:
        """Gives the node back."""
        await self.lease.stop(self._snowflake_tick // TICKS_PER_MS)

    def adopt(self, new: Map) -> None:
        """No map changes anything here."""

    def uuid7(self) -> UUID:
        """A version 7 UUID (RFC 9562): sorts by time, strictly increasing in this process, 62 random bits.

        In a keyed request a version 8 UUID with 122 bits of a hash instead; it does not sort by time.
        """
        if (digest := _keyed("uuid7")) is not None:
            return UUID(int=uuid8_int(digest))
        self._uuid7_tick = next_tick(uuid7_tick(self._clock.wall_us()), self._uuid7_tick)
        return UUID(int=uuid7_int(self._uuid7_tick, self._randomness.bits(62)))

    def snowflake(self) -> int:
        """A positive 63-bit integer: unique over all processes, increasing in this one, roughly by time over all.

        Raises `Unavailable` while no node is leased, and while the clock is more than 500 ms behind the last id. In a
        keyed request 53 bits of a hash on node 1023 instead; these do not increase.
        """
        if (digest := _keyed("snowflake")) is not None:
            return keyed_snowflake(digest)
        span, now_ms = self.lease.span, snowflake_ms(self._clock.wall_us())
        tick = next_tick(now_ms * TICKS_PER_MS, self._snowflake_tick)
        milliseconds = tick // TICKS_PER_MS
        if now_ms < 0:
            raise _clock_before_epoch()
        if span is None or milliseconds > span.until_ms:
            raise self._no_node(span)
        if milliseconds - now_ms > BACK_STEP_MAX_MS:
            raise _clock_back(milliseconds - now_ms)
        self._snowflake_tick = tick
        return snowflake(tick, span.node)

    async def sequence(self, name: str) -> int:
        """The next number of a sequence: from 1, below 2**41, unique over all processes, increasing in this one.

        Taken in blocks of 1000 (one transaction per block), so there are gaps. In a keyed request a number from 2**41
        to 2**42 derived from the key instead. Not inside a transaction: draw the number before.
        """
        if _SEQUENCE_NAME.fullmatch(name) is None:
            raise ContractError(
                f"{name!r} is not the name of a sequence.",
                hint="A name is 1 to 100 lower case letters, digits, '.', '_', '-', and begins with a letter.",
                code="TF-IDS-NAME",
            )
        if (digest := _keyed(f"sequence/{name}")) is not None:
            return keyed_number(digest)
        if self._database.in_transaction():
            raise ContractError(
                f"A number of the sequence {name!r} is drawn inside a transaction.",
                hint="Draw it before the transaction and give it to the body as an argument.",
                code="TF-IDS-TX",
            )
        if (block := self._blocks.get(name)) is None:
            block = self._blocks[name] = _Block()
        while block.next >= block.end:
            await self._refill(name, block)
        block.next += 1
        return block.next - 1

    async def _refill(self, name: str, block: _Block) -> None:
        async with block.refilling:
            if block.next < block.end:
                return  # another caller did it meanwhile
            first = await self._reserve(name, SEQUENCE_BLOCK)
            block.next, block.end = first, first + SEQUENCE_BLOCK

    def _begin_span(self, span: Span) -> None:
        """Ids of a new span come after the span before it on that node, and after all of this process.

        A whole millisecond is left out when the node changes: within one, a lower node number sorts lower.
        """
        if self._span is None or (span.node, span.epoch) != (self._span.node, self._span.epoch):
            last_ms = max(span.after_ms, self._snowflake_tick // TICKS_PER_MS)
            self._snowflake_tick = (last_ms + 1) * TICKS_PER_MS - 1
        self._span = span

    def _no_node(self, span: Span | None) -> Unavailable:
        self.lease.hurry()
        reason = self.lease.reason if span is None else "the lease of this process ran out and is being renewed"
        return Unavailable(f"No snowflake can be made: {reason}.", hint="Try again shortly.", code="TF-IDS-LEASE")


def _keyed(kind: str) -> bytes | None:
    """The hash for the next draw of `kind`, in a request with an Idempotency-Key; else None."""
    scope = current_scope()
    if scope is None or scope.idempotency_key is None:
        return None
    return keyed_digest(scope.idempotency_key, kind, scope.next_ordinal(kind))


def _clock_back(behind_ms: int) -> Unavailable:
    return Unavailable(
        f"No snowflake can be made: the clock went back by {behind_ms / 1000:.1f} s.",
        hint="Ids go on when it has caught up; a restarted process goes on at once with another node.",
        code="TF-IDS-CLOCK",
        retry_after_s=behind_ms / 1000,
    )


def _clock_before_epoch() -> Unavailable:
    return Unavailable(
        "No snowflake can be made: the clock says that it is before 2024.",
        hint="Set the machine's clock.",
        code="TF-IDS-CLOCK",
    )


async def _reserve(tx: Transaction, name: str, count: int) -> int:
    """The first of `count` numbers that nobody else gets."""
    if await tx.run(_ADVANCE, of=name, by=count) == 0:
        await tx.run(_BEGIN, name=name, next=1 + count)
        return 1
    first = int(await tx.scalar(_NEXT, of=name)) - count
    if first + count > SEQUENCE_KEYED:
        raise Unavailable(f"The sequence {name!r} is used up: it has reached 2**41.", code="TF-IDS-USED-UP")
    return first
