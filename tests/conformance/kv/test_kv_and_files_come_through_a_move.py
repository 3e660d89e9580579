"""Both blocks go on while the database moves from a file to a server and back: no call fails, nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from files_lab import PNG, on_disk
from moving_rows import Cell, carry_out, programs, quick_folder, run, tiny_server
from postgres import needs_postgres
from sqlalchemy import MetaData

from tenfold import Tenfold
from tenfold.core.errors import NotFound
from tenfold.moves.base import Move
from tenfold.moves.copy_to_postgres import build
from tenfold.moves.return_to_sqlite import build as build_return


@pytest.fixture
def cell() -> Iterator[Cell]:
    if programs() is None:
        pytest.skip("PostgreSQL is not installed here (apt install postgresql)")
    folder = quick_folder("tf-move-")
    with tiny_server() as server:
        made = Cell(folder, server, MetaData())
        made.make_file()
        yield made
    shutil.rmtree(folder, ignore_errors=True)


class Worker:
    """What clients do all the time, and what they were told."""

    def __init__(self, tf: Tenfold) -> None:
        self.tf = tf
        self.going = True
        self.versions: dict[str, list[int]] = {}
        self.kept: dict[str, bytes] = {}
        self.gone: list[str] = []

    async def counts(self, key: str) -> None:
        """One key, by compare-and-set; now and then it begins anew."""
        seen = self.versions.setdefault(key, [])
        while self.going:
            before = await self.tf.kv.get(key, consistency="strong")
            version = await self.tf.kv.cas(key, before and before.version, len(seen))
            assert version is not None, "nobody else writes this key"
            seen.append(version)
            if len(seen) % 5 == 0:
                assert await self.tf.kv.delete(key)
            await asyncio.sleep(0.002)

    async def uploads(self, owner: str) -> None:
        """Files, of which every third is deleted."""
        for number in itertools.count():
            if not self.going:
                return
            content = PNG + os.urandom(500)
            file = await self.tf.files.save(content, owner=owner, types=("image/png",))
            if number % 3 == 2:
                assert await self.tf.files.delete(file.id)
                self.gone.append(file.id)
            else:
                self.kept[file.id] = content
            await asyncio.sleep(0.005)

    def done(self) -> int:
        return sum(map(len, self.versions.values())) + len(self.kept)


@needs_postgres
def test_no_call_fails_and_everything_is_as_it_was_told(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cell.root)
    (cell.state / "secrets").mkdir(parents=True)
    (cell.state / "secrets" / "web").write_text("none")

    async def moves(move: Move, worker: Worker) -> None:
        before = worker.done()
        await carry_out(move)
        while worker.done() < before + 50:
            await asyncio.sleep(0.005)

    async def main() -> None:
        tf = Tenfold("moving")
        tf.adopt(cell.current())
        cell.listeners.append(tf.adopt)
        await tf.open()
        worker = Worker(tf)
        work = [asyncio.create_task(worker.counts(f"k{number}")) for number in range(4)]
        work += [asyncio.create_task(worker.uploads(f"u{number}")) for number in range(2)]
        try:
            await moves(await build(cell), worker)
            assert tf.map is not None
            assert tf.map.database.backend == "postgres"
            await moves(await build_return(cell), worker)
            assert tf.map.database.backend == "sqlite"
            worker.going = False
            await asyncio.gather(*work)
            await holds(tf, worker)
        finally:
            for task in work:
                task.cancel()
            await asyncio.wait(work)
            await tf.close()

    async def holds(tf: Tenfold, worker: Worker) -> None:
        for seen in worker.versions.values():
            assert seen == sorted(set(seen)), "a version came back"
        for file_id, content in worker.kept.items():
            assert await (await tf.files.open(file_id)).bytes() == content
        for file_id in worker.gone:
            with pytest.raises(NotFound):
                await tf.files.open(file_id)
        assert await tf.files.used() == sum(map(len, worker.kept.values()))
        objects = cell.state / "data" / "files"
        assert {Path(name).name for name in on_disk(objects)} == set(worker.kept)

    run(main())
