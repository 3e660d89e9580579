"""One process whose work goes from SQLite to a real PostgreSQL and back, again and again, under load."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from pathlib import Path

from bank import FIND, database, open_account, run
from databases import SqliteKit
from postgres import needs_postgres
from postgres_kit import PostgresKit

from tenfold.blocks.database import DatabaseConfig
from tenfold.drivers.sqlite import WriterLock

SWITCHES = 10
WRITERS = 8

FILE_FENCE = (
    "CREATE TRIGGER tf_fence_a BEFORE INSERT ON accounts BEGIN SELECT RAISE(ABORT, 'TF001 epoch=2'); END",
    "CREATE TRIGGER tf_fence_c BEFORE UPDATE ON tf_clock BEGIN SELECT RAISE(ABORT, 'TF001 epoch=2'); END",
)
REFUSES = (
    "CREATE OR REPLACE FUNCTION tf.moved() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'moved' USING ERRCODE = 'TF001'; END $$"
)
SERVER_FENCE = (
    f"BEGIN; LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE; {REFUSES};"
    "CREATE TRIGGER tf_fence BEFORE INSERT OR UPDATE OR DELETE ON accounts FOR EACH ROW EXECUTE FUNCTION tf.moved();"
    "COMMIT"
)


class Two:
    """The file and the server, and the fences of each."""

    def __init__(self, folder: Path) -> None:
        self.file, self.server = SqliteKit(), PostgresKit()
        at_file = self.file.create(folder, database.metadata)
        self.config = dataclasses.replace(at_file, server=self.server.create(folder, database.metadata).server)
        for kit in (self.file, self.server):
            kit.outside("INSERT INTO accounts (owner, balance, tf_bucket) VALUES ('both', 1, 0)")

    def map(self, epoch: int, backend: str, *, held: bool = False) -> DatabaseConfig:
        standby = "postgres" if backend == "sqlite" else "sqlite"
        return dataclasses.replace(self.config, epoch=epoch, backend=backend, standby=standby, held=held)

    def fence(self, which: str) -> None:
        if which == "postgres":
            self.server.server.run(lambda connection: connection.execute(SERVER_FENCE), self.server.database)
            return
        lock = WriterLock(self.config.path)
        lock.acquire()
        for statement in FILE_FENCE:
            self.file.outside(statement)
        lock.close()

    def lift(self, which: str) -> None:
        if which == "postgres":
            self.server.outside("DROP TRIGGER IF EXISTS tf_fence ON accounts")
            return
        lock = WriterLock(self.config.path)
        lock.acquire()
        for name in ("tf_fence_a", "tf_fence_c"):
            self.file.outside(f"DROP TRIGGER IF EXISTS {name}")
        lock.close()

    def owners(self) -> list[str]:
        found = [row[0] for kit in (self.file, self.server) for row in kit.outside("SELECT owner FROM accounts")]
        return sorted(owner for owner in found if owner != "both")


@needs_postgres
def test_no_call_fails_and_each_write_is_in_one_of_them(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    going = True

    async def write(writer: int) -> None:
        for number in itertools.count():
            if not going:
                return
            await open_account(f"w{writer}-{number}")
            acknowledged.append(f"w{writer}-{number}")

    async def read() -> None:
        while going:
            async with database.read(key="both", snapshot=len(acknowledged) % 5 == 0) as db:
                assert (await db.one(FIND, owner="both")).balance == 1
            await asyncio.sleep(0)

    async def work() -> None:
        nonlocal going
        two = Two(tmp_path)
        two.fence("postgres")
        await database.start(two.map(1, "sqlite"), print)
        try:
            await database.prepared(20)
            tasks = [asyncio.create_task(write(n)) for n in range(WRITERS)] + [asyncio.create_task(read())]
            source, target = "sqlite", "postgres"
            for number in range(SWITCHES):
                if number % 3:  # and sometimes only the fence stops them
                    database.adopt(two.map(2 * number + 2, source, held=True))
                await asyncio.to_thread(two.fence, source)
                await asyncio.to_thread(two.lift, target)
                database.adopt(two.map(2 * number + 3, target))
                source, target = target, source
                wanted = len(acknowledged) + 5 * WRITERS
                while len(acknowledged) < wanted:
                    assert not any(task.done() for task in tasks), "nobody may fail"
                    await asyncio.sleep(0.001)
            going = False
            await asyncio.gather(*tasks)
            assert database.holding.refused == 0
        finally:
            await database.stop()
        assert two.owners() == sorted(acknowledged)

    run(work())
