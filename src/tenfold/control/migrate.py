"""`python -m tenfold.control.migrate --map map.json`: brings the service's database to the shape its code expects.

The controller runs this as a child before it starts web processes, so that the service's code is never imported into
the controller. First come Tenfold's own numbered migrations, then the service's: through its revisions when it has a
`migrations/` folder, else by creating the tables and indexes that are missing. The writer's lock is held throughout:
web processes that run wait with their writes and then go on.

Exit 0 with the report as the last line of standard output, or 1 with `{"error": {...}}` as the last line of standard
error. Killed at any point, it can be run again.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Protocol, cast

import msgspec
import sqlalchemy as sa

from tenfold.blocks.database import Database
from tenfold.blocks.database.schema import (
    CURRENT_VERSION,
    OWN_MIGRATIONS,
    apply_own,
    own_version,
    record_revision,
)
from tenfold.control.migrations.backup import back_up
from tenfold.control.migrations.facts import Difference, Facts, differences, told
from tenfold.control.migrations.revisions import MigrationNeeded, Revision, Revisions, check_agrees, place
from tenfold.control.migrations.store import Store, empty_store, facts_of_code, open_store
from tenfold.control.migrations.writing import write_revisions
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.errors import TenfoldError, Unavailable, UsageError
from tenfold.core.files import private_dir
from tenfold.drivers.sqlite import WriterLock
from tenfold.serve.loading import load_app
from tenfold.topology import map as maps

LOCK_WAIT_S = 30.0
LOCK_LOOK_S = 0.01


class HasTables(Protocol):
    """What a migration needs of the Tenfold object."""

    @property
    def name(self) -> str:
        """The service's name, under which its revisions are recorded."""
        ...

    @property
    def metadata(self) -> sa.MetaData:
        """Its tables."""
        ...

    @property
    def database(self) -> Database:
        """Its database block."""
        ...


class Report(msgspec.Struct, frozen=True):
    """What was done (or, in a dry run, would be)."""

    database: str
    dry_run: bool = False
    own: tuple[int, ...] = ()
    """Versions of Tenfold's own schema."""
    recorded: tuple[str, ...] = ()
    """Revisions that the database had already, only written down."""
    applied: tuple[str, ...] = ()
    """Revisions of the service."""
    created: tuple[str, ...] = ()
    """Tables and indexes made straight from the code, for a service without revisions."""
    backup: str = ""
    notes: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether the database changes at all."""
        return bool(self.own or self.recorded or self.applied or self.created)


class Plan(msgspec.Struct, frozen=True):
    """What is to be done, decided before anything is touched."""

    own: tuple[int, ...]
    stamp: tuple[Revision, ...] = ()
    apply: tuple[Revision, ...] = ()
    create: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """What a copy that is kept before this plan is named after."""
        if self.apply:
            return self.apply[0].id
        return "tables" if self.create else f"tenfold-{self.own[0]}" if self.own else ""


def load_service(wanted: maps.Map) -> HasTables:
    """Imports the service's app and returns its Tenfold object. `AppError` names file and line when that fails."""
    return cast(HasTables, load_app(wanted.app, Path(wanted.root)).runtime)


def migrate(
    service: HasTables,
    root: Path,
    path: Path,
    *,
    dry_run: bool = False,
    backup: bool = True,
    clock: Clock = SYSTEM_CLOCK,
) -> Report:
    """Brings the database file `path` up to date with `service`, whose revisions live below `root`.

    Raises MigrationNeeded, MigrationFailed, UsageError, Unavailable (another process holds the lock for 30 s),
    StorageFull, StorageDamaged. Each revision is one transaction; after an error the database is as it was before the
    revision that is named.
    """
    revisions = Revisions(root, service.name)
    code = facts_of_code(service.metadata, clock.wall_us())
    notes = check_agrees(revisions, code, clock.wall_us) if revisions else []
    if dry_run:
        return _dry(revisions, code, path, clock, notes)
    private_dir(path.parent)
    with _turn(path, clock), open_store(path) as store:
        plan = _plan(revisions, code, store, clock.wall_us)
        kept, untold = None, ""
        if backup and plan.target and store.facts():
            kept, untold = back_up(store.raw, path, plan.target)
        _perform(plan, service, revisions, store, clock.wall_us)
        return _report(plan, path, backup=str(kept or ""), notes=[*notes, *([untold] if untold else [])])


def _dry(revisions: Revisions, code: Facts, path: Path, clock: Clock, notes: list[str]) -> Report:
    opened = open_store(path) if path.exists() else empty_store()
    with opened as store:
        plan = _plan(revisions, code, store, clock.wall_us)
    return _report(plan, path, dry_run=True, notes=notes)


@contextmanager
def _turn(path: Path, clock: Clock) -> Iterator[None]:
    """Holds the writer's lock of the database, waiting for it at most `LOCK_WAIT_S`."""
    lock, until, pause = WriterLock(path), clock.monotonic() + LOCK_WAIT_S, Event()
    try:
        while not lock.try_acquire():
            if clock.monotonic() > until:
                raise Unavailable(
                    f"Another process has held the right to write to {path} for {LOCK_WAIT_S:.0f} s.",
                    hint="Look with `tenfold status` at what runs, then run `tenfold migrate` again.",
                    code="TF-MIGRATE-4",
                )
            pause.wait(LOCK_LOOK_S)
        yield
    finally:
        lock.close()


def _plan(revisions: Revisions, code: Facts, store: Store, now_us: Callable[[], int]) -> Plan:
    own = tuple(step.version for step in OWN_MIGRATIONS if step.version > own_version(store.raw))
    have = store.facts()
    if not revisions:
        found = _creatable(revisions, store, differences(have, code))
        left = tuple(f"{difference.sentence}; it stays." for difference in found if difference.harmless)
        return Plan(own, create=tuple(difference for difference in found if difference.creatable), notes=left)
    if revisions.current(store) is not None or not have:
        return Plan(own, apply=tuple(revisions.pending(store)))
    there = place(revisions, have, now_us)
    if there is None:
        raise MigrationNeeded(
            "The database has tables, no record of revisions, and is not what any of the revisions builds. "
            f"From the code it differs in this: {told(differences(have, code))}.",
            hint="Write the first revision so that it builds the tables as they are, then the changes as the next one.",
        )
    line = revisions.line()
    reached = line.index(there) + 1
    return Plan(own, stamp=tuple(line[:reached]), apply=tuple(line[reached:]))


def _creatable(revisions: Revisions, store: Store, found: list[Difference]) -> list[Difference]:
    """`found`, if it needs nothing but new tables and indexes."""
    if revisions.current(store) is not None:
        revisions.pending(store)  # says which file is missing
    needed = [difference for difference in found if not difference.creatable and not difference.harmless]
    if needed:
        raise MigrationNeeded(
            f"The database differs from the code: {told(needed)}.",
            hint='Run `tenfold migrate --new "message"` to write the revision that changes it.',
        )
    return found


def _perform(plan: Plan, service: HasTables, revisions: Revisions, store: Store, now_us: Callable[[], int]) -> None:
    apply_own(store.raw, now_us=now_us())
    assert own_version(store.raw) >= CURRENT_VERSION, "our own schema is in place before the service's"
    if plan.stamp:
        revisions.stamp(store, list(plan.stamp), now_us())
    revisions.apply(store, plan.apply, now_us)
    if plan.create:
        _create(plan.create, service, store, now_us())


def _create(missing: Sequence[Difference], service: HasTables, store: Store, now_us: int) -> None:
    digest = hashlib.sha256(told(list(missing), len(missing)).encode()).hexdigest()
    with store.engine.begin() as connection:
        service.metadata.create_all(connection)
        for table in service.metadata.sorted_tables:
            for index in table.indexes:
                index.create(connection, checkfirst=True)
        record_revision(store.raw, service.name, f"tables-{digest[:12]}", "expand", now_us)


def _report(plan: Plan, path: Path, *, dry_run: bool = False, backup: str = "", notes: Sequence[str] = ()) -> Report:
    return Report(
        database=str(path),
        dry_run=dry_run,
        own=plan.own,
        recorded=tuple(map(str, plan.stamp)),
        applied=tuple(map(str, plan.apply)),
        created=tuple(difference.sentence.removesuffix(" is missing") for difference in plan.create),
        backup=backup,
        notes=(*plan.notes, *notes),
    )


def describe(report: Report) -> list[str]:
    """The report as lines for a person."""
    would = "would be " if report.dry_run else ""
    lines = [f"tenfold's own tables: version {version} {would}applied" for version in report.own]
    lines += [f"revision {name}: was there already, {would}recorded" for name in report.recorded]
    lines += [f"revision {name}: {would}applied" for name in report.applied]
    lines += [f"{name}: {would}created" for name in report.created]
    if report.backup:
        lines.append(f"The database before this: {report.backup}")
    return [*(lines or ["The database is up to date."]), *report.notes]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="tenfold.control.migrate")
    parser.add_argument("--map", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--no-backup", action="store_true")
    chosen = parser.parse_args(arguments)
    try:
        report = _from_map(chosen.map.absolute(), dry_run=chosen.dry_run, backup=not chosen.no_backup)
    except TenfoldError as error:
        said = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
        sys.stderr.write(msgspec.json.encode(said).decode() + "\n")
        return 1
    lines = [msgspec.json.encode(report).decode()] if chosen.json else describe(report)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _from_map(map_path: Path, *, dry_run: bool, backup: bool) -> Report:
    try:
        data = map_path.read_bytes()
    except OSError as error:
        raise UsageError(f"The map {map_path} cannot be read: {error.strerror}.", hint="Use `tenfold up`.") from error
    return migrate_map(maps.decode(data, str(map_path)), dry_run=dry_run, backup=backup)


def check_revisions(service: HasTables, root: Path, clock: Clock = SYSTEM_CLOCK) -> None:
    """MigrationNeeded when the service has revisions and they do not build the tables of its code."""
    revisions = Revisions(root, service.name)
    if revisions:
        check_agrees(revisions, facts_of_code(service.metadata, clock.wall_us()), clock.wall_us)


def write_next(service: HasTables, root: Path, path: Path, message: str, clock: Clock = SYSTEM_CLOCK) -> list[Path]:
    """Writes the next revision file of the service; see `write_revisions`."""
    return write_revisions(Revisions(root, service.name), service.metadata, path, message, clock.wall_us)


def migrate_map(wanted: maps.Map, *, dry_run: bool = False, backup: bool = True) -> Report:
    """`migrate` for the service and the database that a map names; imports the service."""
    service = load_service(wanted)
    return migrate(service, Path(wanted.root), Path(wanted.database.path), dry_run=dry_run, backup=backup)


if __name__ == "__main__":
    sys.exit(main())
