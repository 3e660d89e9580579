"""`migrate` for a database on a PostgreSQL server: the same plan, done by its owner, with a dump before it."""

from __future__ import annotations

from pathlib import Path

from tenfold.control.engine import owner_login
from tenfold.control.migrations import dumping
from tenfold.control.migrations.performing import perform
from tenfold.control.migrations.planning import HasTables, Phase, Report, plan, refuse_now, tried
from tenfold.control.migrations.postgres import PostgresStore, at_server
from tenfold.control.migrations.revisions import Revisions
from tenfold.control.place import Place
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.engines.postgres.address import ServerUrl
from tenfold.engines.postgres.failures import CannotConnect
from tenfold.engines.postgres.programs import installed
from tenfold.hosts.commands import output_of, run_quietly
from tenfold.topology.map import Map


def migrate_on_server(
    service: HasTables,
    wanted: Map,
    login: ServerUrl | None = None,
    *,
    root: Path | None = None,
    phase: Phase | None = None,
    dry_run: bool = False,
    backup: bool = True,
    clock: Clock = SYSTEM_CLOCK,
) -> Report:
    """Brings the database that `wanted` names up to date, as `login` (by default the one of its owner).

    `root`: the folder with the revisions (by default the map's), `phase`: only that half of it (see `in_phase`).

    Revisions are tried in a schema of their own in that database, which is rolled back. A dump is kept before a change
    where one can be made. While a revision runs, writers wait; readers do not. Each revision is one transaction; after
    an error the database is as it was before the revision that is named.

    Raises MigrationNeeded, MigrationFailed, MigrationRefused, UsageError, Unavailable (another migration has its turn,
    or the tables are in use, for 30 s), StorageFull, StorageDamaged, and the errors TF-PG-... of a login that fails.
    """
    server = wanted.database.server
    assert server is not None, "a map with this backend names its server"
    owner = login or owner_login(Place(Path(wanted.root)), server)
    revisions = Revisions(root or Path(wanted.root), service.name)

    def work(store: PostgresStore) -> Report:
        code, notes = tried(revisions, service.metadata, store, clock.wall_us)
        planned = plan(revisions, code, store, clock.wall_us, phase)
        foreseen = planned.report(owner.shown, dry_run=dry_run, notes=notes)
        refuse_now(wanted.database, foreseen)
        if dry_run or not foreseen.changes:
            return foreseen
        kept, untold = "", ""
        if backup and planned.target and store.facts():
            kept, untold = _dumped(owner, wanted, planned.target, store)
        perform(planned, service.metadata, revisions, store, clock.wall_us)
        return planned.report(owner.shown, backup=kept, notes=[*notes, *([untold] if untold else [])])

    try:
        return at_server(owner, server.user, work, clock, turn=not dry_run)
    except CannotConnect as error:
        if not server.supervised:
            raise
        raise CannotConnect(error.message, hint="`tenfold up` starts the database server, and migrates.") from error


def write_first_from_server(
    service: HasTables, wanted: Map, message: str, login: ServerUrl | None = None, *, clock: Clock = SYSTEM_CLOCK
) -> list[Path]:
    """Writes the first revisions of a service whose database is on a server; see `write_revisions`."""
    from tenfold.control.migrations.writing import write_revisions  # noqa: PLC0415 - most starts write none

    server = wanted.database.server
    assert server is not None, "a map with this backend names its server"
    owner = login or owner_login(Place(Path(wanted.root)), server)
    revisions = Revisions(Path(wanted.root), service.name)

    def work(store: PostgresStore) -> list[Path]:
        return write_revisions(revisions, service.metadata, store, message, clock.wall_us)

    return at_server(owner, server.user, work, clock, turn=False)


def _dumped(login: ServerUrl, wanted: Map, revision: str, store: PostgresStore) -> tuple[str, str]:
    target = dumping.dump_of(Path(wanted.state) / "data", wanted.service, revision)
    programs = [each.folder for each in installed(output_of)]
    others = f"{wanted.service}.before-*.dump"
    dump, untold = dumping.keep_dump(login, store.size(), target, others, run=run_quietly, programs=programs)
    return str(dump or ""), untold
