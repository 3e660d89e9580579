"""The rows' way back: what PostgreSQL logged is written into the SQLite file, which stays fenced for everybody else."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg

from tenfold.moves.rows import watch
from tenfold.moves.rows.file import File
from tenfold.moves.rows.reading import file_rows, server_rows
from tenfold.moves.rows.replay import ROUND, Differs, Keys, Rows, by_name, clear_server_log, read_server, write_rows
from tenfold.moves.rows.server import Server, Session
from tenfold.moves.rows.tables import Moved, Row, quoted
from tenfold.moves.rows.verify import ROUNDS, Settled, differing


@dataclass(frozen=True, slots=True)
class Way:
    """The two databases of a return, the tables, and the epoch in the fences of the file."""

    file: File
    server: Server
    tables: tuple[Moved, ...]
    epoch: int


async def server_log_length(session: Session) -> int:
    """Entries that wait in PostgreSQL's log."""
    return int(await session.fetchval("SELECT count(*) FROM tf.tf_log"))


def _behind_the_fence(way: Way, work: Callable[[sqlite3.Connection], None]) -> Callable[[sqlite3.Connection], None]:
    """`work` in a transaction that takes the fences off and puts them back: nobody else ever sees the file open."""

    def run(connection: sqlite3.Connection) -> None:
        watch.unfence_file(connection)
        work(connection)
        watch.fence_file(connection, way.tables, way.epoch)

    return run


async def write_to_file(way: Way, found: Rows) -> None:
    """Makes the file have these rows, reads them back and compares, in one transaction."""

    def work(connection: sqlite3.Connection) -> None:
        write_rows(connection, found)
        for table, keys, rows in found:
            there = file_rows(table, keys)(connection)
            if sorted(map(repr, there)) != sorted(map(repr, rows)):
                raise Differs(
                    f"Rows of {table.name} that were just written differ in the SQLite file.",
                    hint="Nothing was switched; run the command again, and keep both databases if it happens twice.",
                )

    if found:
        await way.file.change(_behind_the_fence(way, work))


async def replay_to_file(way: Way) -> int:
    """One round; the number of log entries that it had."""
    async with way.server.look() as session:
        entries, found = await read_server(session, way.tables)
    await write_to_file(way, found)
    if entries:
        async with way.server.effect() as session:
            await clear_server_log(session, entries)
    return len(entries)


async def settle_return(way: Way, suspects: Keys) -> Settled:
    """As `verify.settle`, in the other direction: the file is brought to one exact state of PostgreSQL, compared with
    it, and repaired where it differs."""
    for _ in range(ROUNDS):
        async with way.server.look() as session:
            entries, found = await read_server(session, way.tables, ROUND + 1)
            await write_to_file(way, found)
            settled = await _look_again(way, session, suspects) if len(entries) <= ROUND else None
        async with way.server.effect() as session:
            await clear_server_log(session, entries)
        if settled is not None:
            return settled
    raise Differs(
        f"After {ROUNDS} rounds of {ROUND:,} changes the log is still not empty: more is written than can be replayed.",
        hint="Run the command again when the service is less busy.",
    )


async def _look_again(way: Way, session: Session, suspects: Keys) -> Settled:
    names = by_name(way.tables)
    repaired: Keys = {}
    for name, keys in suspects.items():
        table = names[name]
        theirs = await server_rows(session, table, keys)
        different = differing(table, await way.file.look(file_rows(table, keys)), theirs)
        if different:
            wanted: set[Row] = set(different)
            rows = [row for row in theirs if table.key_of(row) in wanted]
            await write_to_file(way, [(table, different, rows)])
            repaired[name] = different
    return Settled(repaired, await count_both(way, session))


async def count_both(way: Way, session: Session, limit: int | None = None) -> dict[str, tuple[int, int]]:
    """The tables whose numbers of rows differ (SQLite, PostgreSQL); with `limit` only of tables up to that size."""
    different = {}
    for table in way.tables:
        bound = "" if limit is None else f" LIMIT {limit + 1}"
        sql = f"SELECT count(*) FROM (SELECT 1 FROM {quoted(table.name)}{bound})"
        ours = int((await way.file.look(lambda connection, sql=sql: connection.execute(sql).fetchone()))[0])  # type: ignore[misc]
        if limit is not None and ours > limit:
            continue
        await session.execute("SET LOCAL enable_seqscan = on")
        theirs = int(await session.fetchval(f"SELECT count(*) FROM {table.on_server}"))
        if ours != theirs:
            different[table.name] = (ours, theirs)
    return different


class Busy(Exception):
    """Somebody still writes to a table; the lock is tried again."""


async def lock_tables(session: Session, tables: Sequence[Moved], wait_ms: int) -> None:
    """Waits for those that write and keeps new ones waiting; readers go on. `Busy` after `wait_ms`.

    The wait is shorter than PostgreSQL's deadlock_timeout, so that a deadlock hits the mover and never the service.
    """
    names = ", ".join(table.on_server for table in tables)
    await session.execute(f"SET LOCAL lock_timeout = '{wait_ms:d}ms'")
    try:
        await session.execute(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE")
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        raise Busy from None
    await session.execute("SET LOCAL lock_timeout = '10s'")
