"""The move `drop_way_back` (`tenfold finalize`): PostgreSQL stops logging for SQLite, and the file is put aside."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

from tenfold.core.errors import TenfoldError
from tenfold.core.files import sync_dir
from tenfold.drivers.sqlite import WriterLock, open_writer
from tenfold.moves.base import Move, Progress, Stage
from tenfold.moves.context import Context
from tenfold.moves.rows import maps, watch
from tenfold.moves.rows.returning import server_log_length
from tenfold.moves.rows.work import Work

CLOSED_WITHIN_S = 45.0
"""Longer than `hold` by default, which is how long a process keeps a database that it has left."""

LOOK_S = 0.2


async def build(context: Context) -> Move:
    """The move for a deployment."""
    work = Work(context)
    waiting = 0
    try:
        async with work.server.session() as session:
            if await watch.has_server_table(session, "tf.tf_log"):
                waiting = await server_log_length(session)
    except TenfoldError:
        pass  # the plan is made all the same
    finally:
        await work.close()
    aside = archive_path(context.sqlite_path)
    facts = {"changes": waiting, "archive": str(aside)}
    return Move(
        "drop_way_back", "Close the way back to SQLite", work.acted(DropWayBack(work).stages()), "drop_capture", facts
    )


def archive_path(path: Path) -> Path:
    """Where the SQLite file goes: beside where it was, under a name that is free."""
    number, tried = 1, path.with_name(f"{path.stem}.before-postgres.db")
    while tried.exists():
        number += 1
        tried = path.with_name(f"{path.stem}.before-postgres-{number}.db")
    return tried


class DropWayBack:
    """The stages of the move over one deployment."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def stages(self) -> tuple[Stage, ...]:
        """All of them, in order."""
        return (
            Stage("forget", "Writes down that there is no way back.", self.forget, self.is_forgotten, self.remember),
            Stage("drop_capture", "PostgreSQL stops logging changes for SQLite. From here on there is no way back.",
                  self.drop_capture, self.is_dropped),
            Stage("archive", f"Puts the SQLite file aside as {archive_path(self.work.context.sqlite_path).name}.",
                  self.archive, self.is_archived),
        )  # fmt: skip

    async def forget(self, progress: Progress) -> None:
        """Publishes it."""
        await self.work.context.publish(maps.without_way_back)

    async def is_forgotten(self) -> bool:
        """Whether the map says so."""
        return not self.work.context.current().database.way_back

    async def remember(self, progress: Progress) -> None:
        """Takes it back."""
        await self.work.context.publish(maps.with_way_back)

    async def drop_capture(self, progress: Progress) -> None:
        """Drops triggers and log."""
        async with self.work.server.effect() as session:
            await watch.uncapture_server(session, self.work.tables)

    async def is_dropped(self) -> bool:
        """Whether the log is gone."""
        async with self.work.server.session() as session:
            return not await watch.has_server_table(session, "tf.tf_log")

    async def archive(self, progress: Progress) -> None:
        """Renames the file, whole: what is in its write-ahead log goes into it first."""
        await self.work.close()
        path = self.work.context.sqlite_path
        if path.exists():
            aside = archive_path(path)
            await self._closed(lambda: put_aside(path, aside), progress)
            progress.fact("archive", str(aside))

    async def _closed(self, work: Callable[[], None], progress: Progress) -> None:
        """Does it once nobody has the file open: processes keep theirs for reads that had begun there."""
        monotonic = self.work.context.clock.monotonic
        until = monotonic() + CLOSED_WITHIN_S
        while True:
            try:
                return work()
            except StillOpen:
                if monotonic() > until:
                    raise
            progress.say("Waiting until every process has closed the SQLite file")
            await asyncio.sleep(LOOK_S)

    async def is_archived(self) -> bool:
        """Whether the file is gone from its place."""
        return not self.work.context.sqlite_path.exists()


class StillOpen(TenfoldError):
    """Somebody has the file open."""

    code = "TF-MOVE-FILE"


def put_aside(path: Path, aside: Path) -> None:
    """Renames a database file that nobody writes to, with everything that is in its log."""
    lock = WriterLock(path)
    lock.acquire()
    try:
        connection = open_writer(path)
        try:
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            alone = not busy and connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0] == "delete"
        except sqlite3.OperationalError:  # a process still has it open
            alone = False
        finally:
            connection.close()
        if not alone:
            raise StillOpen(
                f"Another program has {path} open, so it is not put aside.",
                hint="Close it; `tenfold finalize` goes on by itself.",
            )
        path.rename(aside)
        sync_dir(path.parent)
    finally:
        lock.close()
