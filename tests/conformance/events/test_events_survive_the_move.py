"""The real moves, SQLite to PostgreSQL and back and there again, while events are published, recorded and delivered."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import moving_rows
import pytest
from events_lab import Node, until
from moving_rows import Cell, carry_out, programs, quick_folder, tiny_server

from tenfold.blocks.database import DatabaseConfig
from tenfold.blocks.database.backend import ServerConfig
from tenfold.moves.copy_to_postgres import build as build_copy
from tenfold.moves.return_to_sqlite import build as build_return
from tenfold.topology.map import Map


@pytest.fixture
def cell() -> Iterator[Cell]:
    if programs() is None:
        pytest.skip("PostgreSQL is not installed here")
    folder = quick_folder("tf-events-")
    with tiny_server() as server:
        made = Cell(folder, server, Node().database.metadata)
        made.make_file()
        yield made
    shutil.rmtree(folder, ignore_errors=True)


def config_of(current: Map) -> DatabaseConfig:
    """What a process of the service makes of a map."""
    database = current.database
    server = database.server
    return DatabaseConfig(
        Path(database.path),
        "moving",
        epoch=current.epoch,
        backend=database.backend,
        standby=database.standby,
        server=None if server is None else ServerConfig(server.host, server.port, server.database, server.user, ""),
        held=database.gate == "held",
    )


class Service:
    """A process under load: writers publish and record, a subscriber counts."""

    def __init__(self, cell: Cell) -> None:
        self.cell, self.node = cell, Node()
        self.published: list[str] = []
        self.going = True

        async def counts(batch: list[Any]) -> None:
            for event in batch:
                await self.node.count(event.data["code"])
            self.node.given.append(batch)

        self.node.events.subscriber("link.made", name="counter", batch=20)(counts)
        cell.listeners.append(lambda new: self.node.database.adopt(config_of(new)))
        self.node.database.look = lambda: self.node.database.adopt(config_of(cell.current()))

    async def write(self, writer: int) -> None:
        n = 0
        while self.going:
            code = f"w{writer}-{n}"
            await self.node.publish(code)
            self.published.append(code)
            if n % 10 == 0:
                self.node.events.record("link.made", {"code": f"r{code}"})
                self.published.append(f"r{code}")
            n += 1
            await asyncio.sleep(0.005)

    async def settled(self) -> None:
        """More is published and delivered where the work is now."""
        wanted = len(self.published) + 60
        await until(lambda: len(self.published) >= wanted)


def test_nothing_is_lost_skipped_or_done_twice_over_three_moves(cell: Cell) -> None:
    service = Service(cell)
    node = service.node

    async def work() -> None:
        await node.open(config_of(cell.current()))
        writers = [asyncio.create_task(service.write(writer)) for writer in range(3)]
        try:
            await service.settled()
            for build in (build_copy, build_return, build_copy):
                cell.move_id, cell.term = f"m{cell.term + 1}", cell.term + 1
                await carry_out(await build(cell))
                assert not any(task.done() for task in writers), "nobody may fail"
                await service.settled()
            service.going = False
            await asyncio.gather(*writers)
            await until(lambda: len(set(node.codes)) == len(service.published))
            counts = [await node.counted(code) for code in service.published]
            assert counts == [1] * len(counts)
        finally:
            service.going = False
            await asyncio.gather(*writers, return_exceptions=True)
            await node.close()

    moving_rows.run(asyncio.wait_for(work(), 90))
    assert cell.current().database.backend == "postgres"
    seen = list(dict.fromkeys(node.numbers))
    assert seen == sorted(seen), "numbers only grow, whichever database counts"
    for writer in range(3):
        mine = [code for code in dict.fromkeys(node.codes) if code.startswith(f"w{writer}-")]
        assert mine == [code for code in service.published if code.startswith(f"w{writer}-")], "in order"


def test_numbers_go_on_when_everything_old_was_pruned_before_the_move(cell: Cell) -> None:
    service = Service(cell)
    node = service.node

    async def work() -> None:
        await node.open(config_of(cell.current()))
        try:
            for n in range(20):
                await node.publish(f"c{n}")
            await until(lambda: node.events.stats().subscribers[0].delivered == 20)
            node.events.keep(0)
            await asyncio.sleep(0.002)
            assert await node.events.prune() == 19
            await carry_out(await build_copy(cell))
            await node.publish("there")
            await until(lambda: "there" in node.codes)
            assert await node.events.prune() == 1
            cell.move_id, cell.term = "m2", 2
            await carry_out(await build_return(cell))
            await node.publish("back")
            await until(lambda: "back" in node.codes)
        finally:
            await node.close()

    moving_rows.run(asyncio.wait_for(work(), 60))
    assert node.numbers == sorted(set(node.numbers))
    assert node.codes[-2:] == ["there", "back"]
