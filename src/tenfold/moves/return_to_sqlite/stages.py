"""The stages of `return_to_sqlite`: those of `copy_to_postgres` mirrored, over the log that PostgreSQL kept."""

from __future__ import annotations

import asyncio
from functools import cached_property

from tenfold.core.errors import TenfoldError, UsageError
from tenfold.moves.base import Move, Progress, Stage
from tenfold.moves.copy_to_postgres.findings import Finding
from tenfold.moves.copy_to_postgres.preflight import judge_code, judge_file
from tenfold.moves.rows import building, maps, returning, watch
from tenfold.moves.rows.replay import Differs, clear_server_log, read_server
from tenfold.moves.rows.returning import Busy, Way, lock_tables, replay_to_file
from tenfold.moves.rows.server import ServerGone, take_term
from tenfold.moves.rows.verify import Comparison, compare_table
from tenfold.moves.rows.work import Meter, Work, plural, shown_keys

NEARLY = 200
COUNTED = 20_000
ROUNDS = 500
HELD_LIMIT_S = 20.0
HOLD_MS = 150
LOCK_MS, LOCK_MOST_MS = 60, 300
"""How long the first attempt at the lock waits, and the longest: nobody writes while it waits."""

LOCK_TRIES = 20


class WayBackClosed(UsageError):
    """The data cannot go back to the SQLite file."""

    code = "TF-NO-WAY-BACK"


async def make(work: Work) -> Move:
    """The move, with what its plan says."""
    waiting = 0
    try:
        async with work.server.session() as session:
            if await watch.has_server_table(session, "tf.tf_log"):
                waiting = await returning.server_log_length(session)
    except TenfoldError:
        pass  # the plan is made all the same; the preflight says what is wrong
    facts = {"changes": waiting, "tables": len(work.tables), "expected_hold_ms": HOLD_MS}
    title = "Move the data back from PostgreSQL to the SQLite file while the service goes on"
    return Move("return_to_sqlite", title, work.acted(ReturnToSqlite(work, waiting).stages()), "open", facts)


class ReturnToSqlite:
    """The stages of the move over one deployment; `waiting` changes were logged when the plan was made."""

    def __init__(self, work: Work, waiting: int) -> None:
        self.work = work
        self.waiting = waiting

    @cached_property
    def way(self) -> Way:
        """The two databases."""
        return Way(self.work.file, self.work.server, self.work.tables, self.work.epoch)

    def stages(self) -> tuple[Stage, ...]:
        """All of them, in order."""
        changes, long = plural(self.waiting, "change"), 3600.0 + self.waiting / 200
        return (
            Stage("preflight", "Looks whether the way back is open and the SQLite file is as it was left.",
                  self.preflight, self.never),
            Stage("prepare", "Closes the SQLite file to everybody but the move.", self.prepare, self.is_prepared),
            Stage("catch_up", f"Writes {changes} into the SQLite file, until fewer than {NEARLY} are left.",
                  self.catch_up, self.never, limit_s=long),
            Stage("verify", "Compares all rows on both sides by hashes of key ranges, until nothing differs.",
                  self.verify, self.never, limit_s=long),
            Stage("connect", "Every process of the service opens SQLite beside PostgreSQL.",
                  self.connect, self.never, self.disconnect),
            Stage("hold", f"New writes wait from here on, about {HOLD_MS} ms in all; reads go on.",
                  self.hold, self.never, self.release, holds_writes=True, limit_s=HELD_LIMIT_S),
            Stage("fence", "Writes the last changes, compares them, and closes PostgreSQL to every writer.",
                  self.fence, self.is_fenced, self.unfence, holds_writes=True, limit_s=HELD_LIMIT_S),
            Stage("open", "Opens the SQLite file to writers. From here on the move only goes forward.",
                  self.open, self.is_open, holds_writes=True, limit_s=HELD_LIMIT_S),
            Stage("flip", "The service works on SQLite; the writes that waited go on there.",
                  self.flip, self.never, holds_writes=True, limit_s=HELD_LIMIT_S),
            Stage("settle", "Empties the database on PostgreSQL and removes a server of ours.",
                  self.settle, self.never, limit_s=300),
        )  # fmt: skip

    async def never(self) -> bool:
        """For stages that are simply done again."""
        return False

    # -- catching up --------------------------------------------------------------------------------------------------

    async def preflight(self, progress: Progress) -> None:
        """Refuses when something was lost of what the way back needs."""
        path = self.work.context.sqlite_path
        if not self.work.context.current().database.way_back or not path.exists():
            raise WayBackClosed(
                f"The way back to {path.name} is closed.", hint="The data can be taken out with pg_dump --data-only."
            )
        async with self.work.server.session() as session:
            if not await watch.server_is_captured(session, self.work.tables):
                raise WayBackClosed(
                    "PostgreSQL has not logged the changes of every table, so SQLite cannot follow.",
                    hint="A table was added or rebuilt since the climb; take the data out with pg_dump --data-only.",
                )
            progress.fact("changes", await returning.server_log_length(session))
        tables, found = judge_code(self.work.context.metadata)
        found += await self.work.file.look(lambda connection: judge_file(connection, tables))
        self._refuse([finding for finding in found if finding.level == "error"])

    def _refuse(self, errors: list[Finding]) -> None:
        if errors:
            raise WayBackClosed(
                "The SQLite file does not have the tables of the code any more: " + " ".join(map(str, errors[:3])),
                hint="It was left before a migration; take the data out with pg_dump --data-only.",
            )

    async def prepare(self, progress: Progress) -> None:
        """Makes sure that the file is fenced."""

        await self.work.file.change(lambda connection: watch.fence_file(connection, self.work.tables, self.work.epoch))

    async def is_prepared(self) -> bool:
        """Whether the file is fenced."""
        return await self.work.file.look(lambda connection: watch.file_is_fenced(connection, self.work.tables))

    async def catch_up(self, progress: Progress) -> None:
        """Replays PostgreSQL's log until it is nearly empty."""
        done = 0
        for number in range(ROUNDS):
            entries = await replay_to_file(self.way)
            done += entries
            async with self.work.server.session() as session:
                left = await returning.server_log_length(session)
            progress.say(f"Writing changes to SQLite, {plural(left, 'change')} left", done=done, total=done + left)
            if entries < NEARLY and left < NEARLY:
                progress.fact("replayed", done)
                progress.fact("replay_rounds", number + 1)
                return
        raise Differs(
            f"After {ROUNDS} rounds changes still come in faster than they can be written.",
            hint="Run the command again when the service is less busy.",
        )

    async def verify(self, progress: Progress) -> None:
        """Compares everything; repairs and compares again while something differs."""
        for _ in range(3):
            found = Comparison()
            meter = Meter(progress, "Comparing rows", 0, self.work.context.clock.monotonic)

            async def compared(rows: int, meter: Meter = meter) -> None:
                meter.add(rows)
                await asyncio.sleep(0)

            for table in self.work.tables:
                await compare_table(self.work.file, self.work.server, table, found, compared)
            settled = await returning.settle_return(self.way, found.suspects)
            progress.fact("compared_rows", found.rows)
            progress.fact("differences", settled.differences)
            if not settled.differences:
                return
            progress.fact("written_past_the_capture", shown_keys(settled.repaired))
        raise Differs(
            "The two databases differ again and again: something writes past the triggers.",
            hint="The record of the move names rows; find what writes them, then run the command again.",
        )

    # -- switching ----------------------------------------------------------------------------------------------------

    async def connect(self, progress: Progress) -> None:
        """Makes every process open SQLite."""
        await self.work.publish_to_all(maps.standing_by_sqlite)

    async def disconnect(self, progress: Progress) -> None:
        """Makes them close it."""
        await self.work.context.publish(maps.without_standby)

    async def hold(self, progress: Progress) -> None:
        """Makes new writes wait; what is left in the log is written first, so that they wait less."""
        await replay_to_file(self.way)
        await self.work.publish_while_held(maps.held)

    async def release(self, progress: Progress) -> None:
        """Lets them go on."""
        await self.work.publish_while_held(maps.open_gate)

    async def fence(self, progress: Progress) -> None:
        """One transaction on PostgreSQL: writers are drained, the last changes written, the tables closed."""
        for attempt in range(LOCK_TRIES):
            try:
                entries = await self._fence_once(min(LOCK_MOST_MS, LOCK_MS * 2**attempt))
            except Busy:
                await self.work.sleep(min(0.5, 0.02 * 2**attempt))
            else:
                progress.fact("fenced_with", entries)
                progress.fact("lock_tries", attempt + 1)
                return
        raise Differs(
            f"Tables on PostgreSQL were in use at each of {LOCK_TRIES} attempts to close them.",
            hint="End long transactions there (pg_stat_activity shows them), then run the command again.",
        )

    async def _fence_once(self, wait_ms: int) -> int:
        total, tables = 0, self.work.tables
        async with self.work.server.session() as session, session.transaction():
            await take_term(session, self.work.server.term, self.work.server.move)
            await lock_tables(session, tables, wait_ms)
            while True:
                entries, found = await read_server(session, tables)
                if not entries:
                    break
                await returning.write_to_file(self.way, found)
                await clear_server_log(session, entries)
                total += len(entries)
            different = await returning.count_both(self.way, session, COUNTED)
            if different:
                raise Differs(
                    f"The numbers of rows differ (SQLite, PostgreSQL): {different}.",
                    hint="It is undone; something wrote past the triggers.",
                )
            await watch.fence_server(session, tables, self.work.epoch)
        return total

    async def is_fenced(self) -> bool:
        """Whether PostgreSQL refuses every writer."""
        async with self.work.server.session() as session:
            return await watch.server_is_fenced(session, self.work.tables)

    async def unfence(self, progress: Progress) -> None:
        """Lets writers into PostgreSQL again."""
        async with self.work.server.effect() as session:
            await watch.unfence_server(session, self.work.tables)

    async def open(self, progress: Progress) -> None:
        """Lets writers into the file; only when PostgreSQL is closed."""
        if not await self.is_fenced():
            raise Differs("PostgreSQL is not fenced, so the SQLite file is not opened.")
        await self.work.file.change(watch.unfence_file)

    async def is_open(self) -> bool:
        """Whether writers may write to the file."""
        return await self.work.file.look(watch.file_is_open)

    async def flip(self, progress: Progress) -> None:
        """Sends the work to SQLite."""
        await self.work.publish_while_held(maps.on_sqlite)

    async def settle(self, progress: Progress) -> None:
        """Empties PostgreSQL, so that the next climb finds it empty."""
        if self.work.context.current().database.server is not None:
            await self._empty(progress)
            await self.work.context.publish(maps.without_server)
        await self.work.close()
        await self.work.context.remove_server()

    async def _empty(self, progress: Progress) -> None:
        try:
            async with self.work.server.session() as session:
                there = await watch.has_server_table(session, "tf.tf_move")
            if there:
                async with self.work.server.effect() as session:
                    await building.drop_all(session, self.work.tables)
        except TenfoldError as gone:
            if not isinstance(gone, ServerGone) and not gone.code.startswith("TF-PG-"):
                raise
            server = self.work.context.current().database.server
            if server is not None and not server.supervised:
                raise
            progress.fact("left_behind", gone.message)
