"""What the events block decides: values in, values out.

A subscriber's *position* is the number of the last event that it has passed. A *batch* is a range of numbers behind it,
written down in its cursor before the handler sees it, so that whoever runs it again after a crash runs the same one.

When a handler fails, the batch runs again after a growing wait. After `limit` failures it is halved, with each further
failure again, down to one event, which is put aside (*parked*) after `limit` more. A batch of which a transaction has
already committed cannot be cut, because its transactions are numbered within it: it is parked whole. When `STREAK`
batches in a row had to be parked it is not the events' fault: then nothing more is parked, and the last one is
tried for ever.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from tenfold.blocks.database.own.events import ERROR_LIMIT
from tenfold.core.retry import Backoff

LEASE_S = 10.0
"""A holder that has not been heard of for this long may be replaced."""

BEAT_S = LEASE_S / 3
LOOK_S = 1.0
"""Events are looked for this often at least, whoever announced them or did not."""

WINDOW = 5_000
"""Rows that one read goes over, however few of their topics are wanted."""

BATCH_LIMIT = 5_000
STREAK = 10
AGAIN = Backoff(first_s=0.1, limit_s=30.0)
"""Waits between tries of a batch."""

KEEP_S = 24 * 3600.0
UNUSED_S = 3600.0
"""A cursor that no process has asked for in this time is listed as unused."""

FORGOTTEN_S = 7 * 24 * 3600.0
"""And after this it does not keep events from being pruned any more."""

PRUNE_ROWS = 500

SLOT = 1024
"""Numbers that each row of the log has for its events: event `i` of row `seq` is number `seq * SLOT + i`."""

_NAME = re.compile(r"[a-z][a-z0-9_]*(?:[.-][a-z0-9_]+)*", re.ASCII)


def is_name(text: object, limit: int) -> bool:
    """Whether a topic or a subscriber may be called so: `link.created`, lower case, dots or hyphens between words."""
    return isinstance(text, str) and len(text) <= limit and _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a subscriber is. The batch in hand is the numbers after `position` up to `upto`, of `topics`."""

    name: str
    position: int
    upto: int
    topics: tuple[str, ...]
    size: int = 0
    """Events of a batch at most, once one was halved, until `until` has been passed; 0 for the usual number."""

    until: int = 0
    attempts: int = 0
    """Runs of the batch in hand that were begun."""

    drawn: int = 0
    """Transactions that one of them asked for, at most."""

    streak: int = 0
    """Batches that were parked in a row."""

    error: str = ""

    @property
    def claimed(self) -> bool:
        """Whether there is a batch in hand."""
        return self.upto > self.position

    @property
    def scope_key(self) -> str:
        """The idempotency key of the batch in hand; no client can send one that begins so."""
        return f"\0events\0{self.name}\0{self.position}\0{self.upto}"


def claimed(cursor: Cursor, upto: int, topics: tuple[str, ...]) -> Cursor:
    """With the events up to `upto` as the batch in hand, about to run for the first time."""
    return replace(cursor, upto=upto, topics=topics, attempts=1, drawn=0)


def passed(cursor: Cursor, upto: int) -> Cursor:
    """Up to `upto` there was nothing for it."""
    return _settled(replace(cursor, position=upto, upto=upto))


def done(cursor: Cursor) -> Cursor:
    """The batch in hand has been handled."""
    return _settled(replace(cursor, position=cursor.upto, attempts=0, drawn=0, streak=0))


def parked(cursor: Cursor) -> Cursor:
    """The batch in hand was put aside."""
    return _settled(replace(cursor, position=cursor.upto, attempts=0, drawn=0, streak=cursor.streak + 1))


def _settled(cursor: Cursor) -> Cursor:
    return replace(cursor, size=0, until=0) if cursor.position >= cursor.until else cursor


def halved(cursor: Cursor, count: int) -> Cursor:
    """The batch in hand, of `count` events, is given back, and smaller ones are taken until its end."""
    end = max(cursor.until, cursor.upto)
    return replace(cursor, upto=cursor.position, size=max(count // 2, 1), until=end, attempts=0, drawn=0)


def failed(cursor: Cursor, error: str, drawn: int, *, counts: bool) -> Cursor:
    """One more run begins after one that failed. One that failed because something was away does not count."""
    attempts = cursor.attempts + 1 if counts else cursor.attempts
    found = max(cursor.drawn, drawn)
    return replace(cursor, attempts=attempts, drawn=found, error=storable(error))


def storable(error: str) -> str:
    """An error's text as every database takes it: of bounded length, without NUL and without lone surrogates."""
    return error[:ERROR_LIMIT].replace("\0", " ").encode("utf-8", "replace").decode()


Verdict = Literal["run", "halve", "park"]


def verdict(cursor: Cursor, count: int, limit: int | None, *, committed: bool) -> Verdict:
    """What to do with the batch in hand, of `count` events, that is about to run for the `attempts`-th time.

    `limit`: failures after which it is halved or parked, None for never. `committed`: a transaction of it has.
    """
    if limit is None:
        return "run"
    failures = cursor.attempts - 1
    if count > 1 and not committed:
        return "halve" if failures >= (1 if cursor.until else limit) else "run"
    return "park" if failures >= limit and cursor.streak < STREAK else "run"


@dataclass(frozen=True, slots=True)
class Sighting:
    """A holder as it was first seen: a lease is over when nothing about it has changed for `LEASE_S`.

    So leases do not depend on anybody's wall clock.
    """

    epoch: int
    beat: int
    since: float


def sighted(before: Sighting | None, epoch: int, beat: int, now: float) -> Sighting:
    """The sighting after another look."""
    if before is not None and (before.epoch, before.beat) == (epoch, beat):
        return before
    return Sighting(epoch, beat, now)


def may_take(holder: str, seen: Sighting, now: float) -> bool:
    """Whether the cursor is free to be taken."""
    return not holder or now - seen.since >= LEASE_S


@dataclass(frozen=True, slots=True)
class Grace:
    """Up to which row the log is settled: nothing at or below `settled` can appear any more.

    Numbers are drawn before they are committed, so a lower one may appear after a higher one has been read. Each number
    is drawn by a transaction that already has its own id. So once every transaction that had an id when `newest` was
    seen (all below `horizon`) has ended, whatever is at or below `newest` is there, or never will be. This is the grace
    period of read-copy-update (McKenney and Slingwine, 1998) with PostgreSQL's snapshots as the readers' marks.
    """

    settled: int = 0
    newest: int = 0
    horizon: int = 0


def looked(grace: Grace, newest: int, oldest_running: int, next_id: int) -> Grace:
    """After another look, whose snapshot saw `newest`; all transactions below `oldest_running` have ended in it, and
    none at or above `next_id` had begun. A database with one writer at a time says 0 for both."""
    settled = grace.settled
    if oldest_running >= next_id:
        return Grace(max(settled, newest), newest, 0)
    if oldest_running >= grace.horizon:
        return Grace(max(settled, grace.newest), newest, next_id)
    return grace


def last_of(row: int) -> int:
    """The last number that a row's events may have: a position there has passed the row."""
    return row * SLOT + SLOT - 1


def row_after(position: int) -> int:
    """The first row that may have events after a position."""
    return (position + 1) // SLOT


def cut(positions: list[int], newest: int) -> int:
    """Up to which row events may be pruned: all have passed them, and the newest stays, for the count to go on."""
    return min([*(row_after(position) - 1 for position in positions), newest - 1])
