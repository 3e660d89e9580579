"""Comparing the two databases: hashes of ranges of keys, then the rows of those ranges that differ.

The service writes meanwhile, so a difference is first a suspicion: after a whole round of replay PostgreSQL holds one
exact state of SQLite, and what still differs then was written past the capture.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tenfold.moves.rows.file import File, Run
from tenfold.moves.rows.reading import file_range, file_rows, rows_at_once, server_range, server_rows
from tenfold.moves.rows.replay import ROUND, Differs, Keys, by_name, clear_log, drain, put
from tenfold.moves.rows.server import Server
from tenfold.moves.rows.tables import Moved, Row, digest, quoted

RANGE = 5_000
"""Rows of one range."""

ROUNDS = 20
"""Rounds of replay that recheck waits for a whole one."""

Between = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class Comparison:
    """What was compared: rows, ranges, and the keys whose rows seemed to differ."""

    rows: int = 0
    ranges: int = 0
    suspects: Keys = field(default_factory=dict)


async def compare_table(
    file: File, server: Server, table: Moved, found: Comparison, compared: Callable[[int], Awaitable[None]]
) -> None:
    """Compares a table range by range; each range of each database is a read of its own."""
    after: Row | None = None
    size = await file.look(rows_at_once(table, RANGE))
    while True:
        ours = await file.look(file_range(table, after, size))
        last = len(ours) < size
        upto = None if last else table.key_of(ours[-1])
        async with server.session() as session:
            theirs = await server_range(session, table, after, None, upto)
        one, other = await asyncio.gather(asyncio.to_thread(digest, ours), asyncio.to_thread(digest, theirs))
        found.ranges += 1
        found.rows += len(ours)
        if one != other:
            found.suspects.setdefault(table.name, []).extend(differing(table, ours, theirs))
        await compared(len(ours))
        if last:
            return
        after = upto


def differing(table: Moved, ours: Sequence[Row], theirs: Sequence[Row]) -> list[Row]:
    """The keys whose rows are not the same in both, in order."""
    one, other = ({table.key_of(row): row for row in rows} for rows in (ours, theirs))
    # As text, because 1, 1.0 and True are equal in Python and are different values here.
    return sorted(key for key in one.keys() | other.keys() if repr(one.get(key)) != repr(other.get(key)))


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of suspicions: keys that really differed, and tables whose numbers of rows differ."""

    repaired: Keys
    counts: dict[str, tuple[int, int]]

    @property
    def differences(self) -> int:
        """Rows and tables that differed."""
        return sum(map(len, self.repaired.values())) + len(self.counts)


async def settle(
    file: File, server: Server, tables: Sequence[Moved], suspects: Keys, *, counted: bool = True
) -> Settled:
    """Replays until PostgreSQL has one exact state of SQLite, then looks at the suspects and at the numbers of rows in
    that state, and repairs the rows that differ."""
    for _ in range(ROUNDS):
        async with file.snapshot() as run:
            done, last = await drain(run, server, tables)
            settled = await _look_again(run, server, tables, suspects, counted) if done.whole else None
        if done.entries:
            await file.change(lambda connection, last=last: clear_log(connection, last))  # type: ignore[misc]
        if settled is not None:
            return settled
    raise Differs(
        f"After {ROUNDS} rounds of {ROUND:,} changes the log is still not empty: more is written than can be replayed.",
        hint="Run the command again when the service is less busy.",
    )


async def _look_again(run: Run, server: Server, tables: Sequence[Moved], suspects: Keys, counted: bool) -> Settled:
    names = by_name(tables)
    repaired: Keys = {}
    for name, keys in suspects.items():
        different = await _repair(run, server, names[name], keys)
        if different:
            repaired[name] = different
    return Settled(repaired, await counts(run, server, tables) if counted else {})


async def _repair(run: Run, server: Server, table: Moved, keys: Sequence[Row]) -> list[Row]:
    async def read(of: Moved, wanted: Sequence[Row]) -> list[Row]:
        return await run(file_rows(of, wanted))

    ours = await read(table, keys)
    async with server.effect() as session:
        different = differing(table, ours, await server_rows(session, table, keys))
        if different:
            wanted = set(different)
            await put(session, table, different, [row for row in ours if table.key_of(row) in wanted], read)
    return different


async def counts(
    run: Run, server: Server, tables: Iterable[Moved], limit: int | None = None
) -> dict[str, tuple[int, int]]:
    """The tables whose numbers of rows differ (SQLite, PostgreSQL); with `limit` only of tables up to that size."""
    different = {}
    for table in tables:
        bound = "" if limit is None else f" LIMIT {limit + 1}"
        sql = f"SELECT count(*) FROM (SELECT 1 FROM {quoted(table.name)}{bound})"
        ours = int((await run(lambda connection, sql=sql: connection.execute(sql).fetchone()))[0])  # type: ignore[misc]
        if limit is not None and ours > limit:
            continue
        async with server.session() as session, session.transaction():
            await session.execute("SET LOCAL enable_seqscan = on")
            theirs = int(await session.fetchval(f"SELECT count(*) FROM {table.on_server}"))
        if ours != theirs:
            different[table.name] = (ours, theirs)
    return different
