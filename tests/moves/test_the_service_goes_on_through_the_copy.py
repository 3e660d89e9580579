"""The real database block writes through the move; PostgreSQL dies in the middle of it; two million rows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from moving_rows import (
    Cell,
    Said,
    Writer,
    all_server_rows,
    carry_out,
    programs,
    run,
    same_everywhere,
    take_back,
    tiny_server,
)
from sqlalchemy import bindparam, insert

from tenfold import Column, Int64, Text, Transaction, sharded_by
from tenfold.blocks.database import Database, DatabaseConfig
from tenfold.blocks.database.keys import bucket_of
from tenfold.core.errors import StaleMap, Unavailable
from tenfold.moves.copy_to_postgres import build
from tenfold.moves.rows import copying
from tenfold.moves.rows.pacing import Pacer
from tenfold.moves.rows.server import ServerGone

MakeCell = Callable[[sa.MetaData], Cell]


def test_every_acknowledged_write_of_the_block_is_on_postgresql(
    make_cell: MakeCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "CHUNK", 50)
    metadata = sa.MetaData()
    database = Database(metadata)
    links = database.table(
        "links",
        Column("code", Text(32), primary_key=True),
        Column("n", Int64(), nullable=False),
        home=sharded_by("code"),
    )
    add = insert(links).values(code=bindparam("code"), n=bindparam("n"))

    @database.transaction(key="code")
    async def create(tx: Transaction, code: str, n: int) -> int:
        await tx.run(add, code=code, n=n)
        return n

    cell = make_cell(metadata)
    acknowledged: list[str] = []
    refused: list[BaseException] = []

    async def client(name: int) -> None:
        for n in range(10**6):
            code = f"c{name}-{n}"
            try:
                await create(code, n)
            except (StaleMap, Unavailable) as error:
                refused.append(error)
                return
            acknowledged.append(code)
            await asyncio.sleep(0.005)  # a client that thinks, so that the load is that of a service

    async def main() -> None:
        await database.start(DatabaseConfig(cell.sqlite_path, "moving", hold_s=1.0), _unexpected)
        try:
            clients = [asyncio.create_task(client(name)) for name in range(8)]
            while len(acknowledged) < 500:
                await asyncio.sleep(0)
            said = await carry_out(await build(cell))
            await asyncio.gather(*clients)
        finally:
            await database.stop()
        assert len(refused) == 8
        assert said.facts["differences"] == 0
        there = (await all_server_rows(cell))["links"]
        assert {row[0] for row in there} == set(acknowledged)
        assert all(row[2] == bucket_of(row[0]) for row in there)
        await same_everywhere(cell)

    run(main())


def _unexpected(error: BaseException) -> None:
    raise error


def _numbers(cell: Cell, rows: int) -> None:
    with cell.open_file() as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO numbers VALUES (?, ?)", ((n, f"number {n}") for n in range(rows)))
        connection.execute("COMMIT")


def numbers() -> sa.MetaData:
    """One table with a whole number as its key."""
    metadata = sa.MetaData()
    sa.Table("numbers", metadata, Column("n", Int64(), primary_key=True, autoincrement=False), Column("said", Text(40)))
    metadata.tables["numbers"].dialect_options["sqlite"]["strict"] = True
    return metadata


def test_a_server_that_dies_in_the_copy_is_named_and_the_copy_goes_on_or_is_taken_back(
    make_cell: MakeCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    if programs() is None:
        pytest.skip("PostgreSQL is not installed here")
    monkeypatch.setattr(copying, "CHUNK", 100)
    with tiny_server("fsync=on") as server:
        cell = make_cell(numbers())
        cell.postgres = server
        _numbers(cell, 1_000)

        def dies() -> None:
            chunks = 0

            async def main() -> None:
                move = await build(cell)
                await carry_out(move, until="copy")
                real = copying._write_chunk

                async def counted(*args: object) -> None:
                    nonlocal chunks
                    chunks += 1
                    if chunks == 5:
                        server.kill()
                    await real(*args)  # type: ignore[arg-type]

                with monkeypatch.context() as patched:
                    patched.setattr(copying, "_write_chunk", counted)
                    with pytest.raises(ServerGone):
                        await move.stages[move.index("copy")].do(Said())

            run(main())

        dies()
        server.start()

        async def goes_on() -> None:
            cell.term += 1
            move = await build(cell)
            for stage in move.stages[move.index("copy") : move.index("connect")]:
                await stage.do(Said())
            await same_everywhere(cell)
            await take_back(move)

        run(goes_on())
        cell.term, cell.move_id = cell.term + 1, "second"
        dies()

        async def taken_back() -> None:  # the server is gone for good: what is there is left, and said
            cell.term += 1
            said = Said()
            await take_back(await build(cell), said)
            assert "does not answer" in said.facts["left_behind"]

        run(taken_back())
        with cell.open_file() as connection:
            connection.execute("DELETE FROM numbers WHERE n = 5")
        server.start()
        cell.term, cell.move_id = cell.term + 1, "third"
        run(carry_out_and_compare(cell))


async def carry_out_and_compare(cell: Cell) -> Said:
    """The whole climb."""
    said = await carry_out(await build(cell))
    await same_everywhere(cell)
    return said


def test_a_copy_ends_though_rows_are_added_behind_it(make_cell: MakeCell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "CHUNK", 10)
    cell = make_cell(numbers())
    _numbers(cell, 100)
    real = copying._write_chunk

    async def main() -> None:
        move = await build(cell)
        await carry_out(move, until="copy")
        with cell.open_file() as connection:

            async def grown(*args: object) -> None:
                highest = connection.execute("SELECT max(n) FROM numbers").fetchone()[0]
                rows = ((highest + n, "behind") for n in range(1, 31))
                connection.executemany("INSERT INTO numbers VALUES (?, ?)", rows)
                await real(*args)  # type: ignore[arg-type]

            with monkeypatch.context() as patched:
                patched.setattr(copying, "_write_chunk", grown)
                await move.stages[move.index("copy")].do(Said())
        for stage in move.stages[move.index("replay") :]:
            await stage.do(Said())
        await same_everywhere(cell)

    run(main())


def test_the_pause_follows_the_service() -> None:
    seen: list[float | None] = [None]
    pacer = Pacer(p99=lambda: seen[0])
    assert pacer.pause(0.1, busy=False) == 0.0
    assert pacer.pause(0.1, busy=True) == pytest.approx(0.1)
    seen[0] = 0.010
    pacer.pause(0.1, busy=True)
    seen[0] = 0.020
    assert [pacer.pause(0.1, busy=True) for _ in range(6)] == pytest.approx([0.2, 0.4, 0.8, 1.6, 1.6, 1.6])
    seen[0] = 0.011
    eased = [pacer.pause(0.1, busy=True) for _ in range(60)]
    assert eased == sorted(eased, reverse=True)
    assert eased[-1] == pytest.approx(0.025)


@pytest.mark.long
def test_two_million_rows_move_under_writes(make_cell: MakeCell) -> None:
    cell = make_cell(numbers())
    _numbers(cell, 2_000_000)

    def write(connection: object, turn: int) -> None:
        connection.execute("UPDATE tf_clock SET seq = seq + 1 WHERE id = 1")  # type: ignore[attr-defined]
        row = (turn * 7919 % 2_000_000, f"written {turn}")
        connection.execute("INSERT OR REPLACE INTO numbers VALUES (?, ?)", row)  # type: ignore[attr-defined]
        connection.execute("DELETE FROM numbers WHERE n = ?", (turn * 104_729 % 2_000_000,))  # type: ignore[attr-defined]

    writer = Writer(cell.sqlite_path, write, 0.001).begin()
    began = time.monotonic()
    try:
        said = run(carry_out_and_compare(cell))
    finally:
        writer.stop()
    assert said.facts["differences"] == 0
    assert writer.refused
    assert writer.done > 1_000
    assert time.monotonic() - began < 600
