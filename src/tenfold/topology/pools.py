"""How many connections to PostgreSQL one process of a service opens, by `database.pool`: pure, and said in one place,
because blocks open them, engines allow them, and the preflight of a server counts them."""

from __future__ import annotations

SNAPSHOTS = 8
"""Snapshot scopes open at once; each needs a connection of its own."""

SIGNALS = 2
"""One that tells other processes of changes, one that listens."""


def reading(pool: int) -> int:
    """Connections for single reads, beside `pool` for transactions."""
    return max(2, pool // 2)


def steady(pool: int) -> int:
    """What a process needs to work at all; snapshots, which may wait, come on top."""
    return pool + reading(pool) + SIGNALS


def most(pool: int) -> int:
    """What a process may have open at most."""
    return steady(pool) + SNAPSHOTS
