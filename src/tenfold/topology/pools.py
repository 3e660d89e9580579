"""How many connections to PostgreSQL the processes of a service open, by `database.pool`: pure, and said in one place,
because blocks open them, engines allow them, and the preflight of a server counts them.

`database.pool` is what all web processes together have for transactions; each has its share, and what a share brings
along beside it grows with the share.
"""

from __future__ import annotations

LEAST = 2
"""Connections for transactions of one process: one that writes, and one that looks up what became of a lost COMMIT."""

SNAPSHOTS = 8
"""Snapshot scopes open at once in a process with a large share; each needs a connection of its own."""

SIGNALS = 2
"""One that tells other processes of changes, one that listens."""


def share(pool: int, processes: int) -> int:
    """What one of so many processes has of `pool`."""
    return max(LEAST, pool // max(1, processes))


def carries(pool: int) -> int:
    """How many processes can share `pool`."""
    return pool // LEAST


def reading(share: int) -> int:
    """Connections for single reads, beside `share` for transactions."""
    return max(2, share // 2)


def snapshots(share: int) -> int:
    """Connections for snapshot scopes, at most."""
    return min(SNAPSHOTS, max(LEAST, share))


def steady(share: int) -> int:
    """What a process needs to work at all; snapshots, which may wait, come on top."""
    return share + reading(share) + SIGNALS


def most(share: int) -> int:
    """What a process may have open at most."""
    return steady(share) + snapshots(share)


def most_together(pool: int, highest: int) -> int:
    """What all processes may have open at most, however many of up to `highest` run, and during a deploy twice as many.

    At its beginning the one that leaves has not made itself smaller yet.
    """
    overlapping = 2 * max(1, min(highest, carries(pool)))
    return max(2 * most(pool), *(count * most(share(pool, count)) for count in range(1, overlapping + 1)))
