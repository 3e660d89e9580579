"""How ids are put together and when a generator must refuse: values in, values out.

A *tick* is a point in time that a generator may use once: milliseconds times 4096, plus a number below 4096. The next
tick is the clock's, or the last one plus 1 when the clock has not moved on or went back; so ticks of one generator only
grow, and a clock that stands or goes back a little costs nothing.

Snowflakes of several processes differ by their node number. What one holder of a node may use is a *span* of
milliseconds, written down before it is used; the next holder begins after it. Two holders of one node therefore never
use the same tick, whatever their clocks do: leases that expire only decide who may go on, not whether ids are unique.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

TICKS_PER_MS = 4096

SNOWFLAKE_EPOCH_MS = 1_704_067_200_000
"""2024-01-01T00:00:00Z; 41 bits of milliseconds reach until 2093."""

KEYED_NODE = 1023
"""The node number of snowflakes derived from an Idempotency-Key; it is never leased."""

NODES = range(KEYED_NODE)
"""The node numbers that can be leased: 0 to 1022."""

BACK_STEP_MAX_MS = 500
"""How far a snowflake's time may be ahead of the clock: a larger step back is refused until the clock has caught up."""

SEQUENCE_BLOCK = 1000
"""Numbers of a sequence that a process takes at once; a process that ends loses what is left of its block."""

SEQUENCE_KEYED = 1 << 41
"""Sequences count below 2**41; numbers derived from an Idempotency-Key lie from here to 2**42."""


def next_tick(now: int, last: int) -> int:
    """The tick after `last`: `now` (a tick as well), or `last` + 1 when time has not passed it."""
    return now if now > last else last + 1


def uuid7_tick(wall_us: int) -> int:
    """Unix time as 48 bits of milliseconds and 12 bits of a millisecond's fraction (RFC 9562, 6.2, method 3)."""
    milliseconds, microseconds = divmod(wall_us, 1000)
    return milliseconds * TICKS_PER_MS + microseconds * TICKS_PER_MS // 1000


def uuid7_int(tick: int, random: int) -> int:
    """The 128 bits of a version 7 UUID; `random` has 62 bits."""
    milliseconds, fraction = divmod(tick, TICKS_PER_MS)
    return (milliseconds << 80) | (0x7 << 76) | (fraction << 64) | (0b10 << 62) | random


def uuid8_int(digest: bytes) -> int:
    """The 128 bits of a version 8 UUID made of 16 bytes of a hash (122 bits of it remain)."""
    value = int.from_bytes(digest[:16], "big")
    return (value & ~(0xF << 76) & ~(0b11 << 62)) | (0x8 << 76) | (0b10 << 62)


def snowflake(tick: int, node: int) -> int:
    """41 bits of milliseconds since 2024, 10 bits of node, 12 bits that count within the millisecond."""
    milliseconds, count = divmod(tick, TICKS_PER_MS)
    assert 0 <= milliseconds < 1 << 41, "the clock is outside of 2024 to 2093"
    return (milliseconds << 22) | (node << 12) | count


def keyed_snowflake(digest: bytes) -> int:
    """A snowflake on the node that is never leased; its other 53 bits are the hash's."""
    value = int.from_bytes(digest[:8], "big") & ((1 << 53) - 1)
    return ((value >> 12) << 22) | (KEYED_NODE << 12) | (value & 0xFFF)


def keyed_number(digest: bytes) -> int:
    """A number from 2**41 to 2**42, where no sequence counts; 41 bits are the hash's."""
    return SEQUENCE_KEYED | (int.from_bytes(digest[:8], "big") & (SEQUENCE_KEYED - 1))


def keyed_digest(idempotency_key: str, kind: str, ordinal: int) -> bytes:
    """16 bytes that depend on nothing else than the key, the kind of draw and its ordinal within the request."""
    parts = (idempotency_key.encode("utf-8", "surrogatepass"), kind.encode(), str(ordinal).encode())
    told_apart = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return blake2b(told_apart, digest_size=16, person=b"tenfold-ids").digest()


@dataclass(frozen=True, slots=True)
class NodeRow:
    """What is written down about a node. `last_ms`: nobody before used a later millisecond (since 2024)."""

    node: int
    holder: str
    epoch: int
    expires_us: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Span:
    """A holder's right to a node: milliseconds after `after_ms` up to `until_ms`, both since 2024."""

    node: int
    epoch: int
    after_ms: int
    until_ms: int


def snowflake_ms(wall_us: int) -> int:
    """Milliseconds since the snowflake epoch."""
    return wall_us // 1000 - SNOWFLAKE_EPOCH_MS


def choose_node(rows: Sequence[NodeRow], now_us: int, ttl_ms: int) -> Span | None:
    """A node nobody holds, with the span its new holder gets; None when there is none to be had.

    A node whose last holder is in the past is taken first, so that few numbers are ever used; then a number never used.
    A node whose last holder is ahead of the clock (the clock went back) is taken only if it is ahead by no more than
    `BACK_STEP_MAX_MS`.
    """
    now_ms = snowflake_ms(now_us)
    free = sorted((row for row in rows if row.expires_us <= now_us), key=lambda row: (row.last_ms >= now_ms, row.node))
    if free and free[0].last_ms < now_ms:
        return _span_after(free[0], now_ms, ttl_ms)
    used = {row.node for row in rows}
    if (fresh := next((node for node in NODES if node not in used), None)) is not None:
        return Span(fresh, 1, now_ms - 1, now_ms + ttl_ms)
    nearest = min(free, key=lambda row: row.last_ms, default=None)
    if nearest is None or nearest.last_ms - now_ms >= BACK_STEP_MAX_MS:
        return None
    return _span_after(nearest, now_ms, ttl_ms)


def _span_after(row: NodeRow, now_ms: int, ttl_ms: int) -> Span:
    return Span(row.node, row.epoch + 1, row.last_ms, max(row.last_ms, now_ms) + ttl_ms)


def longer(span: Span, now_us: int, ttl_ms: int) -> Span:
    """The span after a renewal: it never shrinks, also when the clock went back."""
    return Span(span.node, span.epoch, span.after_ms, max(span.until_ms, snowflake_ms(now_us) + ttl_ms))
