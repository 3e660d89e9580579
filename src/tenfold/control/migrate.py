"""`python -m tenfold.control.migrate --map map.json`: brings the service's database to the shape its code expects.

The controller runs this as a child before it starts web processes, so that the service's code is never imported into
the controller. First come Tenfold's own numbered migrations, then the service's: through its revisions when it has a
`migrations/` folder, else by creating the tables and indexes that are missing. The writer's lock is held throughout:
web processes that run wait with their writes and then go on.

`--version V` takes the code of that version (a folder of `.tenfold/versions`) instead of the folder's. `--phase` does
half of it, for a deploy: `expand` what code from before can live with, `contract` the rest once that code has left.
`--pending` changes nothing and says whether there is something to do, as `{"pending": true, "what": [sentences]}`.

Exit 0 with the report as the last line of standard output, or 1 with `{"error": {...}}` as the last line of standard
error. Killed at any point, it can be run again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import cast

import msgspec
import sqlalchemy as sa

from tenfold.control.migrations.backup import back_up
from tenfold.control.migrations.facts import Facts
from tenfold.control.migrations.performing import perform
from tenfold.control.migrations.planning import PHASES, HasTables, Phase, Report, describe, plan, tried
from tenfold.control.migrations.revisions import Revisions
from tenfold.control.migrations.store import empty_store, open_store
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.errors import TenfoldError, Unavailable, UsageError
from tenfold.core.files import private_dir
from tenfold.drivers.sqlite import WriterLock
from tenfold.serve.loading import load_app
from tenfold.serve.pace import gently
from tenfold.topology import map as maps

__all__ = [
    "Report", "check_revisions", "describe", "load_service", "main", "migrate", "migrate_map",
    "write_next", "write_next_for_map",
]  # fmt: skip

LOCK_WAIT_S = 30.0
LOCK_LOOK_S = 0.01


def load_service(wanted: maps.Map, version: str = "") -> HasTables:
    """Imports the service's app and returns its Tenfold object; `version`: whose code (empty: the folder's).

    `AppError` names file and line when that fails. One process can load one version.
    """
    root = wanted.code_of(version)
    if version and wanted.root in sys.path:
        sys.path.remove(wanted.root)  # what this version does not have is not to be found in another one
    return cast(HasTables, load_app(wanted.app, Path(root)).runtime)


def migrate(
    service: HasTables,
    root: Path,
    path: Path,
    *,
    phase: Phase | None = None,
    dry_run: bool = False,
    backup: bool = True,
    clock: Clock = SYSTEM_CLOCK,
) -> Report:
    """Brings the database file `path` up to date with `service`, whose revisions live below `root`.

    `phase`: only that half of it (see `in_phase`); None does all.

    Raises MigrationNeeded, MigrationFailed, UsageError, Unavailable (another process holds the lock for 30 s),
    StorageFull, StorageDamaged. Each revision is one transaction; after an error the database is as it was before the
    revision that is named.
    """
    revisions = Revisions(root, service.name)
    code, notes = _tried_in_memory(revisions, service.metadata, clock.wall_us)
    if dry_run:
        opened = open_store(path) if path.exists() else empty_store()
        with opened as store:
            return plan(revisions, code, store, clock.wall_us, phase).report(str(path), dry_run=True, notes=notes)
    private_dir(path.parent)
    with _turn(path, clock), open_store(path) as store:
        planned = plan(revisions, code, store, clock.wall_us, phase)
        kept, untold = None, ""
        if backup and planned.target and store.facts():
            kept, untold = back_up(store.raw, path, planned.target)
        perform(planned, service.metadata, revisions, store, clock.wall_us)
        return planned.report(str(path), backup=str(kept or ""), notes=[*notes, *([untold] if untold else [])])


def _tried_in_memory(revisions: Revisions, metadata: sa.MetaData, now_us: Callable[[], int]) -> tuple[Facts, list[str]]:
    with empty_store() as store:
        return tried(revisions, metadata, store, now_us)


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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="tenfold.control.migrate")
    parser.add_argument("--map", type=Path, required=True)
    parser.add_argument("--version", default="", help="the code of this version instead of the folder's")
    parser.add_argument("--phase", choices=PHASES, help="only what comes before, or after, the change of the code")
    parser.add_argument("--pending", action="store_true", help="say whether there is something to do, and do nothing")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--no-backup", action="store_true")
    chosen = parser.parse_args(arguments)
    try:
        report = migrate_map(
            _map_in(chosen.map.absolute()),
            version=chosen.version,
            phase=chosen.phase,
            dry_run=chosen.dry_run or chosen.pending,
            backup=not chosen.no_backup,
        )
    except TenfoldError as error:
        said = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
        sys.stderr.write(msgspec.json.encode(said).decode() + "\n")
        return 1
    sys.stdout.write("\n".join(_told(report, pending=chosen.pending, as_json=chosen.json)) + "\n")
    return 0


def _told(report: Report, *, pending: bool, as_json: bool) -> list[str]:
    if pending:
        what = describe(report, told_only=True)
        return [msgspec.json.encode({"pending": report.changes, "what": what}).decode()]
    return [msgspec.json.encode(report).decode()] if as_json else describe(report)


def _map_in(map_path: Path) -> maps.Map:
    try:
        data = map_path.read_bytes()
    except OSError as error:
        raise UsageError(f"The map {map_path} cannot be read: {error.strerror}.", hint="Use `tenfold up`.") from error
    return maps.decode(data, str(map_path))


def check_revisions(service: HasTables, root: Path, clock: Clock = SYSTEM_CLOCK) -> None:
    """MigrationNeeded when the service has revisions and they do not build the tables of its code."""
    _tried_in_memory(Revisions(root, service.name), service.metadata, clock.wall_us)


def write_next(service: HasTables, root: Path, path: Path, message: str, clock: Clock = SYSTEM_CLOCK) -> list[Path]:
    """Writes the next revision file of the service; `path` is its database file. See `write_revisions`."""
    from tenfold.control.migrations.writing import write_revisions  # noqa: PLC0415 - most starts write none

    revisions = Revisions(root, service.name)
    if revisions or not path.exists():
        return write_revisions(revisions, service.metadata, None, message, clock.wall_us)
    with open_store(path) as store:
        return write_revisions(revisions, service.metadata, store, message, clock.wall_us)


def write_next_for_map(service: HasTables, wanted: maps.Map, message: str) -> list[Path]:
    """`write_next` for the database that a map names, on any backend. A server is asked only before the first one."""
    root = Path(wanted.root)
    if wanted.database.backend == "postgres" and not Revisions(root, service.name):
        from tenfold.control.migrations.server import write_first_from_server  # noqa: PLC0415 - as for migrate_map

        return write_first_from_server(service, wanted, message)
    return write_next(service, root, Path(wanted.database.path), message)


def migrate_map(
    wanted: maps.Map, *, version: str = "", phase: Phase | None = None, dry_run: bool = False, backup: bool = True
) -> Report:
    """Brings the database that a map names, on any backend, up to date with the service; imports the service.

    `version`: whose code, `phase`: which half of it; by default the folder's, and all.

    Raises what `migrate` raises, MigrationRefused while a move needs the database as it is, and on a server the errors
    TF-PG-... of a login that fails.
    """
    with gently(phase is not None):  # half of a deploy, beside those that serve
        service = load_service(wanted, version)
    root = Path(wanted.code_of(version))
    if wanted.database.backend == "postgres":
        from tenfold.control.migrations.server import migrate_on_server  # noqa: PLC0415 - SQLite does not wait for it

        return migrate_on_server(service, wanted, root=root, phase=phase, dry_run=dry_run, backup=backup)
    path = Path(wanted.database.path)
    return migrate(service, root, path, phase=phase, dry_run=dry_run, backup=backup)


if __name__ == "__main__":
    sys.exit(main())
