"""The stages of `copy_to_postgres`, from the first look to the SQLite file that is left behind, fenced."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tenfold.core.errors import TenfoldError
from tenfold.moves.base import Move, Progress, Stage
from tenfold.moves.copy_to_postgres.preflight import count_rows, file_size, judge_code, judge_file, preflight, refuse
from tenfold.moves.rows import building, maps, watch
from tenfold.moves.rows.copying import all_copied, copy_table
from tenfold.moves.rows.replay import Differs, clear_log, drain, log_length, replay_to_server
from tenfold.moves.rows.server import ServerGone
from tenfold.moves.rows.verify import Comparison, compare_table, counts, settle
from tenfold.moves.rows.work import Changed, Meter, Work, plural, shown_keys

NEARLY = 200
"""Log entries that may be left for the hold."""

COUNTED = 20_000
"""Tables of at most so many rows are counted once more while writes are held."""

HELD_LIMIT_S = 20.0
"""A stage that holds writes is given up after this, before the first of them fails."""

ROUNDS = 500
RATE = 50_000
HOLD_MS = 150
"""What the plan expects: rows a second of the copy, and milliseconds of the hold."""


async def make(work: Work) -> Move:
    """The move, with what its plan says."""
    tables, found = judge_code(work.context.metadata)
    rows, size = 0, 0
    if work.context.sqlite_path.exists():
        rows = await work.file.look(lambda connection: count_rows(connection, tables))
        size = await work.file.look(file_size)
        found += await work.file.look(lambda connection: judge_file(connection, tables))
    facts = {
        "rows": rows,
        "bytes": size,
        "tables": len(tables),
        "expected_s": round(10 + 3 * rows / RATE),
        "expected_hold_ms": HOLD_MS,
        "findings": [str(finding) for finding in found],
    }
    return Move(
        "copy_to_postgres",
        "Move the data from SQLite to PostgreSQL while the service goes on",
        work.acted(CopyToPostgres(work, rows, size).stages()),
        "open",
        facts,
    )


def _uncaptured() -> Changed:
    return Changed(
        "Somebody removed the triggers that note what changes in the SQLite file.",
        hint="It is undone; find the program that changes the file's definitions, then run the command again.",
    )


class CopyToPostgres:
    """The stages of the move over one deployment; `rows` and `size` (bytes) are what the plan saw."""

    def __init__(self, work: Work, rows: int, size: int) -> None:
        self.work = work
        self.rows = rows
        self.size = size

    def stages(self) -> tuple[Stage, ...]:
        """All of them, in order."""
        rows, long = plural(self.rows, "row"), 3600.0 + self.rows / 500
        return (
            Stage("preflight", f"Looks at {rows} ({self.size / 1e6:,.1f} MB) for values that PostgreSQL would refuse.",
                  self.preflight, self.never, limit_s=long),
            Stage("server", "Makes a PostgreSQL server run, with a database and two roles for the service.",
                  self.make_server, self.never, self.remove_server, limit_s=300),
            Stage("schema", "Makes the tables there, closed to everybody but the move.",
                  self.make_schema, self.has_schema, self.drop_schema, limit_s=120),
            Stage("capture", "Notes in the SQLite file the key of every row that changes from now on.",
                  self.capture, self.is_captured, self.uncapture),
            Stage("copy", f"Copies {rows} in key order, a few thousand at a time; the service comes first.",
                  self.copy, self.is_copied, limit_s=long),
            Stage("replay", f"Copies again what changed meanwhile, until fewer than {NEARLY} changes are left.",
                  self.replay, self.never, limit_s=long),
            Stage("constraints", "Adds indexes, unique rules and checks, and gathers statistics.",
                  self.constrain, self.is_constrained, limit_s=long),
            Stage("verify", f"Compares {rows} on both sides by hashes of key ranges, until nothing differs.",
                  self.verify, self.never, limit_s=long),
            Stage("return_path", "Notes on PostgreSQL what will change there, for the way back.",
                  self.capture_return, self.is_return_captured),
            Stage("connect", "Every process of the service opens PostgreSQL beside SQLite.",
                  self.connect, self.never, self.disconnect),
            Stage("hold", f"New writes wait from here on, about {HOLD_MS} ms in all; reads go on.",
                  self.hold, self.never, self.release, holds_writes=True, limit_s=HELD_LIMIT_S),
            Stage("fence", "Copies the last changes, compares them, and closes the SQLite file to every writer.",
                  self.fence, self.is_fenced, self.unfence, holds_writes=True, limit_s=HELD_LIMIT_S),
            Stage("open", "Opens PostgreSQL to writers. From here on the move only goes forward.",
                  self.open, self.is_open, holds_writes=True, limit_s=HELD_LIMIT_S),
            Stage("flip", "The service works on PostgreSQL; the writes that waited go on there.",
                  self.flip, self.never, holds_writes=True, limit_s=HELD_LIMIT_S),
            Stage("settle", "Removes the notes from the SQLite file, which stays for the way back.",
                  self.settle, self.never, limit_s=long),
        )  # fmt: skip

    async def never(self) -> bool:
        """For stages that are simply done again: they look first, or repeating them changes nothing."""
        return False

    # -- looking, and making room ------------------------------------------------------------------------------------

    async def preflight(self, progress: Progress) -> None:
        """Looks at every row; refuses the move when PostgreSQL would refuse one."""
        meter = Meter(progress, "Looking at rows", self.rows, self.work.context.clock.monotonic)
        scanned = self._paced(meter)

        report = await preflight(self.work.file, self.work.context.metadata, scanned)
        progress.fact("rows", report.total)
        progress.fact("bytes", report.file_bytes)
        for finding in report.warnings:
            progress.say(str(finding))
        progress.fact("warnings", [str(finding) for finding in report.warnings])
        refuse(report)

    async def make_server(self, progress: Progress) -> None:
        """Makes the server run."""
        server = await self.work.context.ensure_server()
        progress.fact("server", f"{server.host}:{server.port}/{server.database}")

    async def remove_server(self, progress: Progress) -> None:
        """Stops and removes a server of ours."""
        await self.work.close()
        await self.work.context.remove_server()

    async def make_schema(self, progress: Progress) -> None:
        """Makes the tables, empty and fenced."""
        server = await self.work.context.ensure_server()
        seen = await self.work.file.look(watch.fingerprint)
        await building.build(
            self.work.server, self.work.tables, web=server.user, epoch=self.work.epoch, fingerprint=seen
        )

    async def has_schema(self) -> bool:
        """Whether the tables are there, fenced."""
        async with self.work.server.session() as session:
            noted = await building.noted(session, building.FINGERPRINT)
            return noted is not None and await watch.server_is_fenced(session, self.work.tables)

    async def drop_schema(self, progress: Progress) -> None:
        """Removes the tables; refuses when writers were let in. What cannot be reached is left for the next climb."""
        try:
            async with self.work.server.session() as session:
                there = await watch.has_server_table(session, "tf.tf_move")
            if there:
                async with self.work.server.effect() as session:
                    if await watch.has_server_table(session, "tf.tf_copied"):
                        if await watch.server_is_open(session, self.work.tables):
                            raise Differs("PostgreSQL is open to writers, so its tables are not removed.")
                        await building.drop_all(session, self.work.tables)
        except TenfoldError as gone:
            if not isinstance(gone, ServerGone) and not gone.code.startswith("TF-PG-"):
                raise
            progress.fact("left_behind", f"tables on PostgreSQL, which does not answer ({gone.message})")

    async def unchanged(self) -> None:
        """Raises `Changed` when the definitions in the file are not those that the move began with."""
        seen = await self.work.file.look(watch.fingerprint)
        async with self.work.server.session() as session:
            self._compare_schema(seen, await building.noted(session, building.FINGERPRINT))

    async def still_captured(self) -> None:
        """As `unchanged`, and raises `Changed` when somebody took the capture off."""
        await self.unchanged()
        if not await self.is_captured():
            raise _uncaptured()

    def _compare_schema(self, seen: str, noted: str | None) -> None:
        if seen != noted:
            raise Changed(
                "The tables in the SQLite file were changed while the move was under way.",
                hint="It is undone; run the command again when no migration is under way.",
            )

    # -- rows ---------------------------------------------------------------------------------------------------------

    async def capture(self, progress: Progress) -> None:
        """Puts the capture on the file."""
        await self.unchanged()
        await self.work.file.change(lambda connection: watch.capture_file(connection, self.work.tables))

    async def is_captured(self) -> bool:
        """Whether it is there."""
        return await self.work.file.look(lambda connection: watch.file_is_captured(connection, self.work.tables))

    async def uncapture(self, progress: Progress) -> None:
        """Takes it off."""
        if not await self.work.file.look(watch.file_is_free_of_capture):
            await self.work.file.change(watch.uncapture_file)

    async def copy(self, progress: Progress) -> None:
        """Copies all tables, at the pace that the service allows."""
        work = self.work
        meter = Meter(progress, "Copying rows", self.rows, work.context.clock.monotonic)
        for table in work.tables:
            await self.unchanged()
            doing = f"Copying {table.name}"

            async def copied(rows: int, took_s: float, doing: str = doing) -> None:
                meter.add(rows, doing)
                await work.rest(took_s)

            await copy_table(work.file, work.server, table, work.context.clock, copied)
        progress.fact("copied_rows", meter.done)
        progress.fact("rows_per_s", round(meter.rate))

    def _paced(self, meter: Meter) -> Callable[[int], Awaitable[None]]:
        """Counts rows, and rests after each call in proportion to the time since the one before."""
        clock = self.work.context.clock
        began = clock.monotonic()

        async def counted(rows: int) -> None:
            nonlocal began
            meter.add(rows)
            await self.work.rest(clock.monotonic() - began)
            began = clock.monotonic()

        return counted

    async def is_copied(self) -> bool:
        """Whether every table was copied to its end."""
        async with self.work.server.session() as session:
            return await all_copied(session, len(self.work.tables))

    async def replay(self, progress: Progress) -> None:
        """Replays the log until it is nearly empty."""
        await self.still_captured()
        total = 0
        for number in range(ROUNDS):
            done = await replay_to_server(self.work.file, self.work.server, self.work.tables)
            total += done.entries
            left = await self.work.file.look(log_length)
            progress.say(f"Copying changes again, {plural(left, 'change')} left", done=total, total=total + left)
            if done.whole and done.entries < NEARLY:
                progress.fact("replayed", total)
                progress.fact("replay_rounds", number + 1)
                return
        raise Differs(
            f"After {ROUNDS} rounds changes still come in faster than they can be copied.",
            hint="Run the command again when the service is less busy.",
        )

    async def constrain(self, progress: Progress) -> None:
        """Completes the tables. A round of replay first: then they hold one exact state, in which rules hold."""
        await self.still_captured()
        for table in self.work.tables:
            progress.say(f"Adding indexes and constraints of {table.name}")
            for _ in range(5):
                await replay_to_server(self.work.file, self.work.server, self.work.tables)
                if await building.complete(self.work.server, table):
                    break
                await self._compare(progress, table.name)
            else:
                raise Differs(
                    f"Rows of {table.name} break one of its unique rules on PostgreSQL.",
                    hint="See its indexes in the SQLite file: a unique rule of the code may be missing there.",
                )

    async def is_constrained(self) -> bool:
        """Whether every table is complete."""
        async with self.work.server.session() as session:
            return await building.completed(session, self.work.tables)

    # -- comparing ----------------------------------------------------------------------------------------------------

    async def verify(self, progress: Progress) -> None:
        """Compares everything; repairs what was written past the capture, names it, and compares again."""
        for _ in range(3):
            await self.still_captured()
            if not await self._compare(progress):
                return
        raise Differs(
            "The two databases differ again and again: something writes to the SQLite file past its triggers.",
            hint="The record of the move names rows; find the program that writes them, then run the command again.",
        )

    async def _compare(self, progress: Progress, only: str = "") -> int:
        """Compares all tables or one; the number of differences, which are repaired."""
        work, found = self.work, Comparison()
        tables = [table for table in work.tables if only in ("", table.name)]
        meter = Meter(progress, "Comparing rows", self.rows, work.context.clock.monotonic)
        for table in tables:
            await compare_table(work.file, work.server, table, found, self._paced(meter))
        settled = await settle(work.file, work.server, work.tables, found.suspects)
        progress.fact("compared_rows", found.rows)
        progress.fact("compared_ranges", found.ranges)
        if settled.differences:
            progress.fact("written_past_the_capture", shown_keys(settled.repaired))
            progress.fact("counts_that_differed", {name: list(pair) for name, pair in settled.counts.items()})
        progress.fact("differences", settled.differences)
        return settled.differences

    # -- switching ----------------------------------------------------------------------------------------------------

    async def capture_return(self, progress: Progress) -> None:
        """Puts the capture for the way back on PostgreSQL. It goes away with the tables."""
        async with self.work.server.effect() as session:
            await watch.capture_server(session, self.work.tables)

    async def is_return_captured(self) -> bool:
        """Whether it is there."""
        async with self.work.server.session() as session:
            return await watch.server_is_captured(session, self.work.tables)

    async def connect(self, progress: Progress) -> None:
        """Makes every process open PostgreSQL."""
        server = await self.work.context.ensure_server()
        await self.work.publish_to_all(lambda current: maps.standing_by_postgres(current, server))

    async def disconnect(self, progress: Progress) -> None:
        """Makes them close it."""
        await self.work.context.publish(maps.without_standby)

    async def hold(self, progress: Progress) -> None:
        """Makes new writes wait. What is left in the log is copied first, so that they wait less."""
        await self.unchanged()
        await replay_to_server(self.work.file, self.work.server, self.work.tables)
        await self.work.publish_while_held(maps.held)

    async def release(self, progress: Progress) -> None:
        """Lets them go on."""
        await self.work.publish_while_held(maps.open_gate)

    async def fence(self, progress: Progress) -> None:
        """One transaction on SQLite: the last changes are copied and compared, then its tables refuse writers."""
        work = self.work
        async with work.server.session() as session:
            noted = await building.noted(session, building.FINGERPRINT)
        entries = 0
        async with work.file.holding() as run:
            self._compare_schema(await run(watch.fingerprint), noted)
            if not await run(lambda connection: watch.file_is_captured(connection, work.tables)):
                raise _uncaptured()
            whole = False
            while not whole:
                done, last = await drain(run, work.server, work.tables, checked=True)
                await run(lambda connection, last=last: clear_log(connection, last))  # type: ignore[misc]
                whole, entries = done.whole, entries + done.entries
            different = await counts(run, work.server, work.tables, COUNTED)
            if different:
                raise Differs(
                    f"The numbers of rows differ (SQLite, PostgreSQL): {different}.",
                    hint="It is undone; something wrote to the SQLite file past its triggers.",
                )
            epoch = work.epoch
            await run(lambda connection: watch.fence_file(connection, work.tables, epoch))
        progress.fact("fenced_with", entries)

    async def is_fenced(self) -> bool:
        """Whether the file refuses every writer."""
        return await self.work.file.look(lambda connection: watch.file_is_fenced(connection, self.work.tables))

    async def unfence(self, progress: Progress) -> None:
        """Lets writers into the file again."""
        if not await self.work.file.look(watch.file_is_open):
            await self.work.file.change(watch.unfence_file)

    async def open(self, progress: Progress) -> None:
        """Lets writers into PostgreSQL; only when the file is closed."""
        if not await self.is_fenced():
            raise TenfoldError("The SQLite file is not fenced, so PostgreSQL is not opened.", code="TF-MOVE-DIFFERS")
        async with self.work.server.effect() as session:
            await building.open_all(session, self.work.tables)

    async def is_open(self) -> bool:
        """Whether writers may write to PostgreSQL."""
        async with self.work.server.session() as session:
            return await watch.server_is_open(session, self.work.tables)

    async def flip(self, progress: Progress) -> None:
        """Sends the work to PostgreSQL."""
        await self.work.publish_while_held(maps.on_postgres)

    async def settle(self, progress: Progress) -> None:
        """Removes what only the move needed."""
        await self.uncapture(progress)
        broken = await building.validate_references(self.work.server, self.work.tables)
        if broken:
            progress.fact("references_with_old_rows", broken)
        async with self.work.server.effect() as session:
            await building.drop_notes(session)
        await self.work.close()
