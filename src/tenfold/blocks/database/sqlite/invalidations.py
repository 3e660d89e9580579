"""What processes on one SQLite file tell each other: keys that the others must drop from their memory.

A batch that drops keys adds one row to `tf_inval` in its own transaction: (number of the commit, who, keys). So a row
is there exactly if the change is, whenever its writer dies. The others look before they answer from memory: `PRAGMA
data_version` says cheaply whether anybody has committed, and then the rows after the last commit that they have seen
are read and applied. The newest `KEPT` commits can be caught up with; whoever is further behind (it was paused, or read
nothing for long) drops everything.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from tenfold.blocks.database.announced import Told, read, written
from tenfold.blocks.database.backend import Heard
from tenfold.core.randomness import SYSTEM_RANDOMNESS, Randomness

KEPT = 1_024
"""Commits whose rows are kept at least."""

PRUNE_EVERY = 64
"""Commits between two prunings: rows that are kept beyond `KEPT` at most, for each process that writes."""

TEXT = 32_000
"""Characters of the keys of one row at most; beyond, the row says "everything". With `KEPT` it bounds the table."""

_THERE = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'tf_inval'"
_ADD = "INSERT OR REPLACE INTO tf_inval (seq, origin, keys) VALUES (?, ?, ?)"
_PRUNE = "DELETE FROM tf_inval WHERE seq <= ? OR seq > ?"
_NEWS = (
    "SELECT seq, NULL FROM tf_clock WHERE id = 1 UNION ALL SELECT seq, keys FROM tf_inval WHERE seq > ? AND origin <> ?"
)


def news(rows: Sequence[tuple[int, str | None]], seen: int | None, now: int) -> list[str] | None:
    """The keys to drop, given the rows after the commit `seen` and the newest commit `now`; None for everything.

    A number that went back is that of a file which was restored or moved: nothing is known then.
    """
    if seen is None or not seen <= now <= seen + KEPT:
        return None
    keys: dict[str, None] = {}
    for _, text in rows:
        told = read(text or "")
        if told is None:
            return None
        keys.update(dict.fromkeys(told))
    return list(keys)


class Invalidations:
    """Both sides of one process. All methods run on the loop.

    `heard` is called with keys that others have dropped, None for everything.
    """

    def __init__(self, heard: Heard, randomness: Randomness = SYSTEM_RANDOMNESS) -> None:
        self.heard = heard
        self.told = Told(TEXT)
        """Keys that go with the next batch; those of one that failed again: a key too many is only a load more."""
        self._origin = randomness.bits(63)
        self._there = False
        self._pruned = -PRUNE_EVERY
        self._version = -1
        self._schema = -1
        self._seen: int | None = None
        self._own = (0, 0)
        self._sent: list[str] = []

    # -- in the transaction -------------------------------------------------------------------------------------------

    def write(self, connection: sqlite3.Connection, seq: int, commits: int) -> None:
        """Part of the batch that will be commit number `seq`; `commits` have succeeded in this process so far.

        What others have committed before it is heard first: who is told of this commit sees nothing older.
        """
        self._settle(commits)
        self.told.add(self._sent)  # of a batch that failed
        self._sent = []
        if not self._there and not connection.execute(_THERE).fetchone()[0]:
            return  # the tables are older than this code; `tenfold migrate` has yet to run
        self._there = True
        if self._seen != seq - 1:
            self._hear(self._news(connection)[1:], seq - 1)
        self._own = (seq, commits)
        if self.told:
            self._sent = self.told.keys()
            self.told.clear()
            connection.execute(_ADD, (seq, self._origin, written(self._sent)))
            if not self._pruned <= seq < self._pruned + PRUNE_EVERY:
                connection.execute(_PRUNE, (seq - KEPT, seq))
                self._pruned = seq

    def _settle(self, commits: int) -> None:
        """Counts the batch before this one as seen if it was committed, and nobody came in between."""
        seq, before = self._own
        if commits > before:
            self._own, self._sent = (seq, commits), []
            if self._seen == seq - 1:
                self._seen = seq

    # -- before an answer from memory ---------------------------------------------------------------------------------

    def look(self, reader: sqlite3.Connection, commits: int) -> bool:
        """Hears everything that was committed before this call. Whether the file's schema has changed since the last.

        `sqlite3.Error` when the file cannot be read; then nothing is known.
        """
        version = reader.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return False
        self._settle(commits)
        schema = reader.execute("PRAGMA schema_version").fetchone()[0]
        moved = schema != self._schema
        if moved or not self._there:
            self._there = bool(reader.execute(_THERE).fetchone()[0])
        if self._there:
            rows = self._news(reader)
            self._hear(rows[1:], rows[0][0])
        changed, self._schema = moved and self._schema >= 0, schema
        self._version = version  # looked at first: what came in between is seen by the next look
        return changed

    def _news(self, connection: sqlite3.Connection) -> list[Any]:
        """The number of the newest commit and the rows of others after the last one seen, of one moment."""
        after = self._seen if self._seen is not None else 1 << 62
        return connection.execute(_NEWS, (after, self._origin)).fetchall()

    def _hear(self, rows: Sequence[tuple[int, str | None]], now: int) -> None:
        keys = news(rows, self._seen, now)
        self._seen = now
        if keys is None:
            self._pruned = -PRUNE_EVERY  # rows of a count that went back are removed soon
        if keys is None or keys:
            self.heard(keys)

    def forget(self) -> None:
        """Nothing is known any more: everything is dropped now, and again when the file can be read."""
        self._version, self._seen = -1, None
        self.heard(None)
