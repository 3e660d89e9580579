"""The copy: chunks in key order, each its own short read, written together with how far it came."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tenfold.core.clock import Clock
from tenfold.moves.rows.file import File
from tenfold.moves.rows.reading import CHUNK_BYTES, file_range, highest_key, rows_at_once
from tenfold.moves.rows.replay import server_copy
from tenfold.moves.rows.server import Server, ServerGone, Session
from tenfold.moves.rows.tables import Moved, Row, decode_key, encode_key

CHUNK = 8_000
"""Rows of one read and one COPY at most."""

MAKE_PROGRESS = """CREATE TABLE IF NOT EXISTS tf.tf_copied (
    tbl text PRIMARY KEY, last text, upto text, rows bigint NOT NULL DEFAULT 0, done boolean NOT NULL DEFAULT false,
    finished boolean NOT NULL DEFAULT false)"""
"""`last` is the key of the last row that was copied, `upto` the highest one when the copy began: rows behind it are in
the log, and a copy that ran after them might never end. `finished` says that indexes and constraints are there."""

_SAVE = """INSERT INTO tf.tf_copied (tbl, last, upto, rows, done) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (tbl) DO UPDATE SET last = $2, upto = $3, rows = $4, done = $5"""


@dataclass(frozen=True, slots=True)
class Position:
    """How far the copy of a table came."""

    last: Row | None = None
    upto: Row | None = None
    rows: int = 0
    done: bool = False


async def position(session: Session, table: Moved) -> Position:
    """Where the copy of a table goes on."""
    found = await session.fetchrow("SELECT last, upto, rows, done FROM tf.tf_copied WHERE tbl = $1", table.name)
    if found is None:
        return Position()
    last, upto = (None if key is None else decode_key(table, key) for key in found[:2])
    return Position(last, upto, found[2], found[3])


async def all_copied(session: Session, tables: int) -> bool:
    """Whether the copy of every table came to its end."""
    return bool(await session.fetchval("SELECT count(*) = $1 FROM tf.tf_copied WHERE done", tables))


Copied = Callable[[int, float], Awaitable[None]]
"""Called after each chunk with its rows and the seconds it took; what it waits is room for the service."""


async def copy_table(file: File, server: Server, table: Moved, clock: Clock, copied: Copied) -> Position:
    """Copies what is not copied yet. Cut off anywhere, the next call goes on after the last committed chunk."""
    async with server.session() as session:
        at = await position(session, table)
    size = await file.look(rows_at_once(table, CHUNK))
    if at.done:
        return at
    began = clock.monotonic()
    upto = at.upto or await file.look(highest_key(table))
    rows = await file.look(file_range(table, at.last, size, upto)) if upto else []
    while True:
        before = at.last
        at = Position(table.key_of(rows[-1]) if rows else before, upto, at.rows + len(rows), len(rows) < size)
        size = _size(rows, size)
        # The next chunk is read while this one is written: one waits for the other's disk and processor otherwise.
        ahead = None if at.done else asyncio.ensure_future(file.look(file_range(table, at.last, size, upto)))
        try:
            await _write_chunk(server, table, rows, before, at)
            await copied(len(rows), clock.monotonic() - began)
            began = clock.monotonic()
            if ahead is None:
                return at
            rows = await ahead
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)


async def _write_chunk(server: Server, table: Moved, rows: list[Row], before: Row | None, at: Position) -> None:
    """Writes a chunk that follows the row `before`, and how far it came, in one transaction.

    Only the last one of a table waits for the disk. A crash of the server may take the ones before it back, together
    with the position; then the next chunk does not follow, and the stage begins again where the table really ends.
    """
    previous, last, upto = (None if key is None else encode_key(key) for key in (before, at.last, at.upto))
    async with server.effect() as session:
        if not at.done:
            await session.execute("SET LOCAL synchronous_commit = off")
        if await session.fetchval("SELECT last FROM tf.tf_copied WHERE tbl = $1", table.name) != previous:
            raise ServerGone(
                f"The database server was restarted while {table.name} was copied.",
                hint="Run the command again: the copy goes on where it was.",
            )
        await server_copy(session, table, rows)
        await session.execute(_SAVE, table.name, last, upto, at.rows, at.done)


def _size(rows: list[Row], size: int) -> int:
    """The size of the next chunk, from how wide some rows of this one are."""
    sample = rows[:: max(1, len(rows) // 50)]
    width = sum(len(value) if isinstance(value, str | bytes) else 8 for row in sample for value in row)
    per_row = width / len(sample) if sample else 1
    return int(min(CHUNK, max(20, CHUNK_BYTES / max(1.0, per_row)))) if rows else size
