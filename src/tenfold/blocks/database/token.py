"""Consistency tokens: what a client carries so that it never reads behind its own writes.

A token is a map epoch and one position per shard. Positions of one shard are totally ordered as
`(epoch, timeline, lsn, seq)`: PostgreSQL uses timeline and log position, SQLite only `seq`, the number of the commit
batch. Tokens are merged on writes and on reads, never replaced, so that a client with two tabs keeps the newer of both.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

MAX_TOKEN_CHARS = 1024
"""Longer tokens are ignored: no honest token of 16 shards comes near."""

MAX_SHARDS_IN_TOKEN = 64


class Position(NamedTuple):
    """Where a shard was when the client last wrote to it or read from it; compares in the order of time."""

    epoch: int
    timeline: int
    lsn: int
    seq: int


@dataclass(frozen=True, slots=True)
class Token:
    """An immutable set of positions by shard name. The empty token asks for nothing."""

    positions: tuple[tuple[str, Position], ...] = ()

    @property
    def epoch(self) -> int:
        """The newest map that a write or read of this client went by; 0 for the empty token."""
        return max((position.epoch for _, position in self.positions), default=0)

    def at(self, shard: str) -> Position | None:
        """The position that a read from `shard` must have reached, or None."""
        return next((position for name, position in self.positions if name == shard), None)

    def merged(self, other: Token) -> Token:
        """The later of both positions for each shard."""
        if self.positions == other.positions or not other.positions:
            return self
        newest = dict(self.positions)
        for shard, position in other.positions:
            newest[shard] = max(position, newest.get(shard, position))
        return Token(tuple(sorted(newest.items())))

    def advanced(self, shard: str, position: Position) -> Token:
        """This token after a write at, or a read from, `position` of `shard`."""
        return self.merged(Token(((shard, position),)))

    def encode(self) -> str:
        """Text for a cookie or header: URL-safe, no padding; the empty token is the empty string."""
        if not self.positions:
            return ""
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self.positions)).rstrip(b"=").decode("ascii")


EMPTY = Token()
_decoder = msgspec.msgpack.Decoder(tuple[tuple[str, Position], ...])


def decode(text: str) -> Token:
    """The token in `text`; the empty token when it is damaged, oversized or forged beyond reading.

    A token only ever asks for *fresher* data, so ignoring a bad one is safe and refusing the request would help nobody.
    """
    if not text or len(text) > MAX_TOKEN_CHARS:
        return EMPTY
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        positions = _decoder.decode(raw)
    except (UnicodeEncodeError, binascii.Error, msgspec.MsgspecError, ValueError):
        return EMPTY
    if len(positions) > MAX_SHARDS_IN_TOKEN:
        return EMPTY
    return Token(tuple(sorted(dict(positions).items())))
