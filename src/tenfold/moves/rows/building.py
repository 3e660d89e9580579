"""The tables on PostgreSQL: made closed, completed after the copy, opened at the end, and taken away again."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from tenfold.blocks.database.schema import apply_own_postgres
from tenfold.core.errors import UsageError
from tenfold.moves.rows import ddl, watch
from tenfold.moves.rows.copying import MAKE_PROGRESS
from tenfold.moves.rows.server import MAKE_TERM, Server, Session, take_term
from tenfold.moves.rows.tables import OWN_SCHEMA, Moved, listed, quoted

_MAKE_NOTES = "CREATE TABLE IF NOT EXISTS tf.tf_note (name text PRIMARY KEY, value text NOT NULL)"
_NOT_EMPTY = "SELECT string_agg(tablename, ', ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'"
FINGERPRINT = "fingerprint"


class NotEmpty(UsageError):
    """The database on PostgreSQL holds tables that are not from a move."""

    code = "TF-PG-NOT-EMPTY"


async def build(server: Server, tables: Sequence[Moved], *, web: str, epoch: int, fingerprint: str) -> None:
    """Makes all tables, empty and fenced, in one transaction; what an earlier move left behind is removed first.

    `web` is the service's role. Raises `NotEmpty` when there are tables of somebody else.
    """
    async with server.session() as session, session.transaction():
        if await _stands(session, server.move, tables):
            return
        await _clear(session, tables)
        await session.execute("CREATE SCHEMA IF NOT EXISTS tf")
        await session.execute(MAKE_TERM)
        await session.execute("INSERT INTO tf.tf_move (id, term, move) VALUES (1, 0, '') ON CONFLICT DO NOTHING")
        await take_term(session, server.term, server.move)
        await apply_own_postgres(session, now_us=0)
        await session.execute("DELETE FROM tf.tf_schema")  # their rows come with the copy
        await session.execute("DELETE FROM tf.tf_clock")
        await session.execute(MAKE_PROGRESS)
        await session.execute(_MAKE_NOTES)
        await session.execute("INSERT INTO tf.tf_note (name, value) VALUES ($1, $2)", FINGERPRINT, fingerprint)
        for table in tables:
            if table.schema != OWN_SCHEMA:
                await session.execute(ddl.bare_table(table))
        await _rehearse(session, tables)
        await watch.fence_server(session, tables, epoch)
        await _grant(session, tables, web)


async def _stands(session: Session, move: str, tables: Sequence[Moved]) -> bool:
    """Whether this move's own tables are there already."""
    if not await watch.has_server_table(session, "tf.tf_copied"):
        return False
    same = await session.fetchval("SELECT move = $1 FROM tf.tf_move WHERE id = 1", move)
    return bool(same) and await watch.server_is_fenced(session, tables)


async def _clear(session: Session, tables: Sequence[Moved]) -> None:
    """Removes what a move that was given up left behind: tables that nobody but a mover could ever write to."""
    if await watch.has_server_table(session, "tf.tf_move"):
        if await watch.server_is_fenced(session, tables):
            await drop_all(session, tables)
        elif await watch.has_server_table(session, "tf.tf_commit"):
            raise NotEmpty(
                "The database on PostgreSQL is in use already: its tables are open to writers.",
                hint="Give the move an empty database.",
            )
    found = await session.fetchval(_NOT_EMPTY)
    if found:
        raise NotEmpty(
            f"The database on PostgreSQL is not empty: it has {found[:200]}.", hint="Give the move an empty database."
        )


async def _rehearse(session: Session, tables: Sequence[Moved]) -> None:
    """Adds everything that comes after the copy to the empty tables, and takes it back: an error shows now."""
    rehearsal = session.transaction()
    await rehearsal.start()
    try:
        for table in tables:
            await _complete(session, table)
        for table in tables:
            for _, statement in ddl.references(table):
                await session.execute(statement)
    finally:
        await rehearsal.rollback()


async def _grant(session: Session, tables: Sequence[Moved], web: str) -> None:
    await session.execute(f"GRANT USAGE ON SCHEMA public, tf TO {quoted(web)}")
    names = ", ".join(table.on_server for table in tables)
    await session.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {names} TO {quoted(web)}")
    await session.execute(f"GRANT SELECT ON tf.tf_move TO {quoted(web)}")


async def noted(session: Session, name: str) -> str | None:
    """What this move wrote down."""
    if not await watch.has_server_table(session, "tf.tf_note"):
        return None
    found = await session.fetchval("SELECT value FROM tf.tf_note WHERE name = $1", name)
    return None if found is None else str(found)


async def _complete(session: Session, table: Moved) -> None:
    await session.execute(ddl.search_path(table))
    for statement in ddl.later(table):
        await session.execute(statement)
    await session.execute("SET LOCAL search_path = public, tf")


async def complete(server: Server, table: Moved) -> bool:
    """Adds CHECKs, unique rules and indexes, and gathers statistics; False when rows are still in each other's way."""
    async with server.effect() as session:
        if await session.fetchval("SELECT finished FROM tf.tf_copied WHERE tbl = $1", table.name):
            return True
        try:
            async with session.transaction():
                await _complete(session, table)
        except asyncpg.UniqueViolationError:
            return False
        await session.execute(f"ANALYZE {table.on_server}")
        await session.execute("UPDATE tf.tf_copied SET finished = true WHERE tbl = $1", table.name)
    return True


async def completed(session: Session, tables: Sequence[Moved]) -> bool:
    """Whether every table has its indexes and constraints."""
    if not await watch.has_server_table(session, "tf.tf_copied"):
        return False
    done = await session.fetchval("SELECT count(*) FROM tf.tf_copied WHERE finished")
    return int(done) >= len(tables)


async def open_all(session: Session, tables: Sequence[Moved]) -> None:
    """Lets writers in: with foreign keys (rows that are there were checked on their side) and counters in place."""
    for table in tables:
        for name, statement in ddl.references(table):
            known = "SELECT 1 FROM pg_constraint WHERE conname = $1 AND conrelid = to_regclass($2)"
            if await session.fetchval(known, name, table.on_server) is None:
                await session.execute(statement)
        for column in table.columns if table.schema == OWN_SCHEMA else ():
            counter = await session.fetchval("SELECT pg_get_serial_sequence($1, $2)", table.on_server, column)
            if counter is not None:
                top = f"SELECT max({quoted(column)}) FROM {table.on_server}"
                await session.execute(f"SELECT setval('{counter}', coalesce(({top}), 0) + 1, false)")
    await watch.unfence_server(session, tables)


async def validate_references(server: Server, tables: Sequence[Moved]) -> list[str]:
    """Looks at the rows behind the foreign keys; the names of those that do not hold (they go on for new rows)."""
    broken = []
    for table in tables:
        for name, _ in ddl.references(table):
            async with server.session() as session:
                try:
                    await session.execute(f"ALTER TABLE {table.on_server} VALIDATE CONSTRAINT {listed([name])}")
                except asyncpg.ForeignKeyViolationError:
                    broken.append(name)
    return broken


async def drop_all(session: Session, tables: Sequence[Moved]) -> None:
    """Removes the service's tables and everything in the schema `tf`, so that the database is empty again."""
    for table in tables:
        if table.schema != OWN_SCHEMA:
            await session.execute(f"DROP TABLE IF EXISTS {table.on_server} CASCADE")
    for row in await session.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'tf'"):
        await session.execute(f"DROP TABLE tf.{quoted(row[0])} CASCADE")
    functions = """SELECT p.oid::regprocedure::text FROM pg_proc AS p
        JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE n.nspname = 'tf'"""
    for row in await session.fetch(functions):
        await session.execute(f"DROP FUNCTION {row[0]} CASCADE")


async def drop_notes(session: Session) -> None:
    """Removes what only the move needed."""
    await session.execute("DROP TABLE IF EXISTS tf.tf_copied")
    await session.execute("DROP TABLE IF EXISTS tf.tf_note")
