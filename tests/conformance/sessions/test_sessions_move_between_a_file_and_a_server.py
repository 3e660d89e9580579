"""One process whose sessions go from SQLite to a real PostgreSQL and back under load: none is lost, none is behind."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from databases import SqliteKit
from postgres import needs_postgres
from postgres_kit import PostgresKit
from sessions_lab import Browser, Process, put
from sqlalchemy import MetaData

from tenfold.blocks.database import DatabaseConfig
from tenfold.blocks.database.own.sessions import tf_session
from tenfold.drivers.sqlite import WriterLock

SWITCHES = 4
BROWSERS = 6
COLUMNS = [column.name for column in tf_session.columns]
BINARY = {"id", "heir"}
EVENTS = ("INSERT", "UPDATE", "DELETE")
FILE_REFUSES = "BEGIN SELECT RAISE(ABORT, 'TF001 epoch=2'); END"
REFUSES = (
    "CREATE OR REPLACE FUNCTION tf.moved() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'moved' USING ERRCODE = 'TF001'; END $$"
)
SERVER_FENCE = (
    f"BEGIN; LOCK TABLE tf.tf_session IN SHARE ROW EXCLUSIVE MODE; {REFUSES};"
    "CREATE TRIGGER tf_fence BEFORE INSERT OR UPDATE OR DELETE ON tf.tf_session FOR EACH ROW "
    "EXECUTE FUNCTION tf.moved(); COMMIT"
)


class Two:
    """The file and the server, and what a move does between them: it holds writes, and copies the rows."""

    def __init__(self, folder: Path) -> None:
        self.kits: dict[str, Any] = {"sqlite": SqliteKit(), "postgres": PostgresKit()}
        at_file = self.kits["sqlite"].create(folder, MetaData())
        self.config = dataclasses.replace(at_file, server=self.kits["postgres"].create(folder, MetaData()).server)

    def map(self, epoch: int, backend: str, *, held: bool = False) -> DatabaseConfig:
        standby = "postgres" if backend == "sqlite" else "sqlite"
        return dataclasses.replace(self.config, epoch=epoch, backend=backend, standby=standby, held=held)

    def fence(self, which: str) -> None:
        """Refuses writers from now on, and returns when those that began before have ended."""
        if which == "postgres":
            kit = self.kits[which]
            kit.server.run(lambda connection: connection.execute(SERVER_FENCE), kit.database)
            return
        self._behind_the_lock(
            f"CREATE TRIGGER tf_fence_{event} BEFORE {event} ON tf_session {FILE_REFUSES}" for event in EVENTS
        )

    def lift(self, which: str) -> None:
        if which == "postgres":
            self.kits[which].outside("DROP TRIGGER IF EXISTS tf_fence ON tf.tf_session")
        else:
            self._behind_the_lock(f"DROP TRIGGER IF EXISTS tf_fence_{event}" for event in EVENTS)

    def _behind_the_lock(self, statements: Iterable[str]) -> None:
        lock = WriterLock(self.config.path)
        lock.acquire()
        try:
            for statement in statements:
                self.kits["sqlite"].outside(statement)
        finally:
            lock.close()

    def copy(self, source: str, target: str) -> None:
        """Every row, as the moves copy them."""
        self.fence(source)
        self.lift(target)
        from_table, to_table = self.table(source), self.table(target)
        rows = self.kits[source].outside(f"SELECT {', '.join(COLUMNS)} FROM {from_table}")
        self.kits[target].outside(f"DELETE FROM {to_table}")
        for row in rows:
            values = ", ".join(self.literal(target, name, value) for name, value in zip(COLUMNS, row, strict=True))
            self.kits[target].outside(f"INSERT INTO {to_table} ({', '.join(COLUMNS)}) VALUES ({values})")

    @staticmethod
    def table(which: str) -> str:
        return "tf.tf_session" if which == "postgres" else "tf_session"

    @staticmethod
    def literal(which: str, name: str, value: Any) -> str:
        if value is None or isinstance(value, int):
            return "NULL" if value is None else str(value)
        if name in BINARY:
            return f"'\\x{value.hex()}'" if which == "postgres" else f"x'{value.hex()}'"
        return "'" + value.replace("'", "''") + "'"


@needs_postgres
def test_no_session_is_lost_and_no_read_is_older_than_what_was_acknowledged(tmp_path: Path) -> None:
    going = True
    done = [0] * BROWSERS

    async def use(browser: Browser, number: int) -> None:
        """Writes and reads what it wrote; now and then it signs in anew, out, or looks without what is remembered."""
        await browser.login(f"user{number}")
        for n in itertools.count(1):
            if not going:
                return
            assert (await browser.do(put("n", n))).status == 200
            assert (await browser.do(lambda s: s.incr("sum"))).status == 200
            if n % 5 == 0:
                browser.process.sessions.forget()
            if n % 7 == 0:
                assert (await browser.login(f"user{number}", n=n)).status == 200
            assert await browser.see() == {"n": n, "sum": n}
            assert await browser.user() == f"user{number}"
            done[number] = n

    async def work() -> None:
        nonlocal going
        two, process = Two(tmp_path), Process(tmp_path / "secrets")
        process.tf.database.on_switch = process.sessions.forget
        async with process.opened(two.map(1, "sqlite")):
            await process.tf.database.prepared(20)
            tasks = [asyncio.create_task(use(Browser(process), number)) for number in range(BROWSERS)]
            source, target = "sqlite", "postgres"
            for number in range(SWITCHES):
                wanted = [n + 8 for n in done]
                while any(n < want for n, want in zip(done, wanted, strict=True)):
                    assert not any(task.done() for task in tasks), [task for task in tasks if task.done()]
                    await asyncio.sleep(0.001)
                process.tf.database.adopt(two.map(2 * number + 2, source, held=True))
                await asyncio.to_thread(two.copy, source, target)
                process.tf.database.adopt(two.map(2 * number + 3, target))
                source, target = target, source
            going = False
            await asyncio.gather(*tasks)
            assert process.tf.database.holding.refused == 0

    asyncio.run(work())
