"""Writers that go on during the move: inserts, upserts, REPLACE, deletes, changed keys, swapped unique values."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
from moving_rows import Cell, Said, Writer, all_rows, all_server_rows, carry_out, run, same_everywhere, take_back
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from tenfold.blocks.database.tables import define, home
from tenfold.blocks.database.types import Bool, Int64, Text
from tenfold.moves.copy_to_postgres import build
from tenfold.moves.publishing import NotTakenOver
from tenfold.moves.return_to_sqlite import build as build_return
from tenfold.moves.rows import copying, watch
from tenfold.moves.rows.replay import replay_to_server
from tenfold.moves.rows.work import Changed, Work

MakeCell = Callable[[sa.MetaData], Cell]
ROWS = 3_000


def links() -> sa.MetaData:
    """A parent with a unique value beside its key, and children that refer to it and go with it."""
    metadata = sa.MetaData()
    define(
        metadata,
        "links",
        (
            sa.Column("code", Text(20), primary_key=True),
            sa.Column("slot", Int64(), nullable=False, unique=True),
            sa.Column("n", Int64(), nullable=False),
        ),
        home(),
    )
    define(
        metadata,
        "visits",
        (
            sa.Column("id", Int64(), primary_key=True),
            sa.Column("code", Text(20), sa.ForeignKey("links.code", ondelete="CASCADE"), nullable=False),
        ),
        home(),
    )
    sa.Index("ix_visits_code", metadata.tables["visits"].c.code)
    return metadata


def fill(cell: Cell, rows: int = ROWS) -> None:
    """Links and one visit each."""
    with cell.open_file() as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO links VALUES (?, ?, 0)", ((f"c{n:05d}", n) for n in range(rows)))
        connection.executemany("INSERT INTO visits VALUES (?, ?)", ((n, f"c{n:05d}") for n in range(rows)))
        connection.execute("COMMIT")


def busy(connection: sqlite3.Connection, turn: int) -> None:
    """One transaction of a writer that does everything a writer may do."""
    connection.execute("UPDATE tf_clock SET seq = seq + 1 WHERE id = 1")
    a, b = f"c{turn * 37 % ROWS:05d}", f"c{turn * 101 % ROWS:05d}"
    upsert = "INSERT INTO links VALUES (?, ?, 1) ON CONFLICT (code) DO UPDATE SET n = n + 1"
    match turn % 6:
        case 0:
            connection.execute(upsert, (a, 10_000_000 + turn))
        case 1:
            connection.execute("INSERT INTO links VALUES (?, ?, 1)", (f"new{turn}", 20_000_000 + turn))
            connection.execute("INSERT INTO visits VALUES (?, ?)", (1_000_000 + turn, f"new{turn}"))
        case 2:
            connection.execute("DELETE FROM links WHERE code = ?", (a,))
        case 3:  # the unique value of another row, which therefore goes away
            found = connection.execute("SELECT slot FROM links WHERE code <> ? ORDER BY code LIMIT 1", (b,)).fetchone()
            connection.execute("INSERT OR REPLACE INTO links VALUES (?, ?, 5)", (b, found[0]))
        case 4:
            connection.execute("DELETE FROM visits WHERE code = ?", (a,))
            connection.execute("UPDATE OR IGNORE links SET code = code || 'x' WHERE code = ?", (a,))
        case 5:  # two rows swap their unique values
            pair = connection.execute("SELECT code, slot FROM links ORDER BY n, code LIMIT 2").fetchall()
            (one, first), (two, second) = pair
            connection.execute("UPDATE links SET slot = -1 WHERE code = ?", (one,))
            connection.execute("UPDATE links SET slot = ? WHERE code = ?", (first, two))
            connection.execute("UPDATE links SET slot = ? WHERE code = ?", (second, one))


def test_nothing_that_a_writer_committed_is_lost(make_cell: MakeCell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "CHUNK", 100)  # many chunks, so that most writes come between two of them
    cell = make_cell(links())
    fill(cell)
    writers = [Writer(cell.sqlite_path, lambda c, n, at=at: busy(c, 2 * n + at), 0.002).begin() for at in (0, 1)]
    try:
        said = run(_there(cell))
    finally:
        for writer in writers:
            writer.stop()
    assert all(writer.refused for writer in writers)
    assert sum(writer.done for writer in writers) > 50
    assert said.facts["differences"] == 0
    assert "written_past_the_capture" not in said.facts
    with cell.open_file() as connection, pytest.raises(sqlite3.IntegrityError, match=r"TF001 epoch=\d"):
        connection.execute("UPDATE tf_clock SET seq = seq + 1 WHERE id = 1")


async def _there(cell: Cell) -> Said:
    said = await carry_out(await build(cell))
    await same_everywhere(cell)
    fks = await cell.server_rows("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated")
    assert fks == [(1,)]
    assert cell.current().database.backend == "postgres"
    return said


def test_the_way_back_loses_nothing(make_cell: MakeCell) -> None:
    cell = make_cell(links())
    fill(cell, 500)
    done: list[int] = []

    async def write(at: int) -> None:
        connection = await asyncpg.connect(**{**cell.postgres.login(cell.database), "user": "web"})
        try:
            for turn in range(10**6):
                n = turn * 2 + at
                async with connection.transaction(isolation="serializable"):
                    await connection.execute("INSERT INTO links VALUES ($1, $2, 1)", f"pg{n}", 30_000_000 + n)
                    await connection.execute("UPDATE links SET n = n + 1 WHERE code = $1", f"c{n % 500:05d}")
                    await connection.execute("DELETE FROM links WHERE code = $1", f"pg{n - 10}")
                    await connection.execute("UPDATE links SET code = $1 WHERE code = $2", f"re{n}", f"pg{n - 4}")
                done.append(n)
        except asyncpg.SerializationError:
            await connection.close()
            await write(at + 1_000_000 * len(done))
        finally:
            await connection.close()

    async def main() -> None:
        await carry_out(await build(cell))
        cell.term, cell.move_id = 2, "m2"
        writers = [asyncio.create_task(write(at)) for at in (0, 1)]
        move = await build_return(cell)
        said = Said()
        for stage in move.stages:
            if stage.name == "settle":
                await same_everywhere(cell)
            await stage.do(said)
        for ended in await asyncio.gather(*writers, return_exceptions=True):
            assert isinstance(ended, asyncpg.PostgresError)
            assert ended.sqlstate == "TF001"
        assert said.facts["differences"] == 0
        assert cell.current().database.backend == "sqlite"
        left = await cell.server_rows("SELECT tablename FROM pg_tables WHERE schemaname IN ('public', 'tf')")
        assert left == []

    run(main())
    assert len(done) > 5
    with cell.open_file() as connection:
        connection.execute("UPDATE tf_clock SET seq = seq + 1 WHERE id = 1")
    cell.term, cell.move_id = 3, "m3"
    run(_there(cell))  # and it can climb again


def test_before_the_point_of_no_return_everything_is_taken_back(make_cell: MakeCell) -> None:
    cell = make_cell(links())
    fill(cell, 200)

    async def main() -> None:
        for stop in ("copy", "verify", "connect", "fence", "open"):
            move = await build(cell)
            await carry_out(move, until=stop)
            await take_back(move)
            database = cell.current().database
            assert (database.backend, database.standby, database.gate, database.server) == ("sqlite", "", "open", None)
            assert await cell.server_rows("SELECT tablename FROM pg_tables WHERE schemaname IN ('public', 'tf')") == []
            with cell.open_file() as connection:
                names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")]
                assert names == []
                connection.execute("UPDATE links SET n = n + 1")
            cell.term += 1
        await carry_out(await build(cell))
        await same_everywhere(cell)

    run(main())


def test_a_change_of_the_tables_during_the_copy_is_refused(make_cell: MakeCell) -> None:
    cell = make_cell(links())
    fill(cell, 50)

    async def main() -> None:
        move = await build(cell)
        await carry_out(move, until="replay")
        with cell.open_file() as connection:
            connection.execute("ALTER TABLE links ADD COLUMN extra TEXT")
        with pytest.raises(Changed, match="were changed while the move"):
            await move.stages[move.index("replay")].do(Said())
        await take_back(move)

    run(main())


def test_removed_triggers_are_noticed(make_cell: MakeCell) -> None:
    cell = make_cell(links())

    async def main() -> None:
        move = await build(cell)
        await carry_out(move, until="fence")
        with cell.open_file() as connection:
            connection.execute("DROP TRIGGER tf_capture_update_links")
        with pytest.raises(Changed, match="triggers"):
            await move.stages[move.index("fence")].do(Said())
        await take_back(move)

    run(main())


def test_a_raw_writer_is_captured_and_what_it_hides_is_found_and_named(make_cell: MakeCell) -> None:
    """Another program, without Tenfold's settings: REPLACE then deletes a row without its delete trigger."""
    cell = make_cell(links())
    fill(cell, 50)

    async def main() -> None:
        move = await build(cell)
        await carry_out(move, until="replay")
        raw = sqlite3.connect(cell.sqlite_path)
        raw.execute("UPDATE links SET n = 77 WHERE code = 'c00003'")
        raw.execute("INSERT OR REPLACE INTO visits VALUES (7, 'c00001')")
        raw.commit()
        raw.execute("DROP TRIGGER tf_capture_delete_visits")  # as good as what a REPLACE leaks
        raw.execute("DELETE FROM visits WHERE id = 9")
        raw.commit()
        work = Work(cell, acting=True)
        await work.file.change(lambda c: watch.capture_file(c, work.tables))
        await work.close()
        raw.close()
        said = Said()
        for stage in move.stages[move.index("replay") :]:
            await stage.do(said)
        assert said.facts["written_past_the_capture"] == ["visits (9,)"]
        assert said.facts["differences"] == 0
        await same_everywhere(cell)
        assert (await cell.server_rows("SELECT n FROM links WHERE code = 'c00003'")) == [(77,)]

    run(main())


def test_a_leaked_row_in_the_way_of_a_unique_value_goes_away(make_cell: MakeCell) -> None:
    cell = make_cell(links())
    fill(cell, 50)

    async def main() -> None:
        move = await build(cell)
        await carry_out(move, until="verify")
        raw = sqlite3.connect(cell.sqlite_path)  # recursive_triggers is off: c00005 goes away unnoticed
        raw.execute("INSERT OR REPLACE INTO links VALUES ('thief', 5, 1)")
        raw.execute("DELETE FROM visits WHERE code = 'c00005'")
        raw.commit()
        raw.close()
        said = Said()
        for stage in move.stages[move.index("verify") :]:
            await stage.do(said)
        await same_everywhere(cell)

    run(main())


def test_a_process_that_does_not_take_the_map_stops_the_move_before_writes_are_held(make_cell: MakeCell) -> None:
    cell = make_cell(links())
    cell.silent = {"web-2": "no answer within 15 s"}

    async def main() -> None:
        move = await build(cell)
        with pytest.raises(NotTakenOver, match="web-2: no answer"):
            await carry_out(move)
        assert cell.current().database.gate == "open"
        await take_back(move)

    run(main())


def test_replaying_twice_and_half_changes_nothing(make_cell: MakeCell) -> None:
    cell = make_cell(links())
    fill(cell, 50)

    async def main() -> None:
        move = await build(cell)
        await carry_out(move, until="replay")
        with cell.open_file() as connection:
            connection.execute("UPDATE links SET n = n + 1")
            connection.execute("DELETE FROM links WHERE code = 'c00007'")
            entries = connection.execute("SELECT tbl, pk FROM tf_log").fetchall()
            work = Work(cell, acting=True)
            await replay_to_server(work.file, work.server, work.tables)
            await same_everywhere(cell)
            connection.executemany("INSERT INTO tf_log (tbl, pk) VALUES (?, ?)", entries)  # as after a cut
            again = await replay_to_server(work.file, work.server, work.tables)
            assert again.entries == len(entries)
            assert again.touched < len(entries)  # coalesced
            await same_everywhere(cell)
            assert connection.execute("SELECT count(*) FROM tf_log").fetchone() == (0,)
            await work.close()
        await take_back(move)

    run(main())


def test_the_file_is_whole_after_the_move(make_cell: MakeCell, tmp_path: Path) -> None:
    cell = make_cell(links())
    fill(cell, 20)
    with cell.open_file() as connection:
        before = all_rows(connection, cell)
    run(_there(cell))
    with cell.open_file() as connection:
        assert all_rows(connection, cell) == before
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert run(all_server_rows(cell)) == before


_CATALOG = """
    SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
        coalesce(pg_get_expr(d.adbin, d.adrelid), '') || coalesce(l.collname, '')
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid
        AND d.adnum = a.attnum LEFT JOIN pg_collation l ON l.oid = a.attcollation
    WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0
    UNION ALL SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid), contype::text, ''
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT tablename::text, indexname::text, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'public'
    ORDER BY 1, 2, 3"""


def test_the_tables_are_those_that_the_code_would_make(make_cell: MakeCell) -> None:
    metadata = links()
    table = metadata.tables["links"]
    table.append_column(sa.Column("live", Bool(), nullable=False, server_default="1"))
    table.append_column(sa.Column("said", Text(9), nullable=False, server_default="it's"))
    table.append_constraint(sa.UniqueConstraint("said", "slot"))
    table.append_constraint(sa.CheckConstraint("n >= 0", name="ck_n"))
    sa.Index("ix_partly", table.c.n.desc(), postgresql_where=table.c.n > 5, sqlite_where=table.c.n > 5)
    cell = make_cell(metadata)
    other = Cell(cell.root, cell.postgres, metadata)

    async def main() -> None:
        await carry_out(await build(cell))
        await other.ensure_server()
        for each in metadata.sorted_tables:
            made = str(CreateTable(each).compile(dialect=postgresql.dialect())).replace("DEFAULT '1'", "DEFAULT true")
            await other.server_rows(made, user="owner")
            for index in each.indexes:
                await other.server_rows(str(CreateIndex(index).compile(dialect=postgresql.dialect())), user="owner")
        wanted = await other.server_rows(_CATALOG, user="owner")
        assert len(wanted) > 20
        assert await cell.server_rows(_CATALOG, user="owner") == wanted

    run(main())
