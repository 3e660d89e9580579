"""What is to be done to a database, decided before anything is touched, and how it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec
import sqlalchemy as sa

from tenfold.blocks.database import Database
from tenfold.blocks.database.schema import OWN_MIGRATIONS
from tenfold.control.migrations.facts import Difference, Facts, differences, told
from tenfold.control.migrations.revisions import MigrationNeeded, Revision, Revisions, check_agrees, place
from tenfold.control.migrations.store import Store, built
from tenfold.core.errors import UsageError
from tenfold.topology.map import DatabaseMap

Phase = Literal["expand", "contract"]
"""Half of a migration, in a deploy: before the new code runs, or after the old code has left."""
PHASES: tuple[Phase, ...] = ("expand", "contract")


class TwoDeploys(UsageError):
    """The revisions that are pending cannot be halved into what comes before the new code and what comes after."""

    code = "TF-MIGRATE-6"
    title = "These revisions need two deploys"


class MigrationRefused(UsageError):
    """The database must not change its shape now."""

    code = "TF-MIGRATE-5"
    title = "The tables cannot change now"


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
    left: tuple[str, ...] = ()
    """Revisions that are for the other phase, after the code has changed."""

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
    left: tuple[Revision, ...] = ()
    """Not to be done now: it comes in the other phase."""

    @property
    def target(self) -> str:
        """What a copy that is kept before this plan is named after."""
        if self.apply:
            return self.apply[0].id
        return "tables" if self.create else f"tenfold-{self.own[0]}" if self.own else ""

    def report(self, database: str, *, dry_run: bool = False, backup: str = "", notes: Sequence[str] = ()) -> Report:
        """The plan as it is told; `database` is the file or the server."""
        return Report(
            database=database,
            dry_run=dry_run,
            own=self.own,
            recorded=tuple(map(str, self.stamp)),
            applied=tuple(map(str, self.apply)),
            created=tuple(difference.sentence.removesuffix(" is missing") for difference in self.create),
            backup=backup,
            notes=(*self.notes, *notes),
            left=tuple(map(str, self.left)),
        )


def refuse_now(database: DatabaseMap, planned: Report) -> None:
    """Raises MigrationRefused when `planned` changes a database that a move still needs in the shape it has.

    Pure. A plan that changes nothing is always fine, so a service can be started and replaced during all of it.
    """
    if not planned.changes:
        return
    foreseen = msgspec.structs.replace(planned, dry_run=True)
    change = f"The database would change ({'; '.join(describe(foreseen, told_only=True))}), and "
    if database.standby or database.gate == "held":
        raise MigrationRefused(
            f"{change}a move is under way that copies it as it is.",
            hint="Wait until `tenfold moves` shows that it ended, or `tenfold abort` it; then run this again.",
        )
    if database.way_back:
        raise MigrationRefused(
            f"{change}the way back to the database before this one is still open: that one would not have the change.",
            hint="When you will not go back, run `tenfold finalize`, then this again; else `tenfold descend` first.",
        )


def tried(
    revisions: Revisions, metadata: sa.MetaData, store: Store, now_us: Callable[[], int]
) -> tuple[Facts, list[str]]:
    """What a database of that kind makes of the code, and sentences on what the revisions build beyond it.

    MigrationNeeded when they do not build what the code needs.
    """
    with store.scratch(now_us()) as empty:
        code = built(empty, metadata)
    if not revisions:
        return code, []
    with store.scratch(now_us()) as empty:
        return code, check_agrees(revisions, empty, code, now_us)


def plan(
    revisions: Revisions, code: Facts, store: Store, now_us: Callable[[], int], phase: Phase | None = None
) -> Plan:
    """What leads from the database in `store` to `code`; of it only what belongs to `phase`, when there is one.

    Raises MigrationNeeded and UsageError; changes nothing.
    """
    whole = _plan(revisions, code, store, now_us)
    if phase is None:
        return whole
    half = in_phase(whole, phase)
    if phase == "expand" and len(half.apply) < len(whole.apply):
        _refuse_missing(revisions, code, store, now_us, whole.apply[len(half.apply)])
    return half


def _refuse_missing(
    revisions: Revisions, code: Facts, store: Store, now_us: Callable[[], int], contracting: Revision
) -> None:
    """`TwoDeploys` when what comes before `contracting` is not enough for the new code, which runs before it."""
    line = revisions.line()
    with store.scratch(now_us()) as empty:
        revisions.apply(empty, line[: line.index(contracting)], now_us)
        left = [each for each in differences(empty.facts(), code) if each.is_absence]
    if left:
        raise TwoDeploys(
            f"Revision {contracting} takes away what the running code may use, and adds what the new code needs: "
            f"before it, {told(left)}.",
            hint='Make it two revisions: one that adds, and after it one that takes away (kind = "contract").',
        )


def in_phase(whole: Plan, phase: Phase) -> Plan:
    """The half of a plan that belongs to `phase`. Pure.

    `expand` is all that code from before can live with: our own tables, missing tables and indexes, and revisions up to
    the first that contracts. `contract` is what is left then, if any of it contracts. Raises `TwoDeploys` when a
    revision that contracts stands before one that expands: the new code needs the second, and the old one does not
    survive the first.
    """
    first = next((at for at, revision in enumerate(whole.apply) if revision.kind == "contract"), len(whole.apply))
    before, after = whole.apply[:first], whole.apply[first:]
    if phase == "contract":
        return Plan((), apply=whole.apply if after else (), notes=whole.notes)
    late = next((revision for revision in after if revision.kind == "expand"), None)
    if late is not None:
        raise TwoDeploys(
            f"Revision {after[0]} takes away what the running code may use, and revision {late}, which the new code"
            " needs, comes after it.",
            hint=f"Deploy twice: first the code whose last revision is {after[0].id}, then this.",
        )
    return msgspec.structs.replace(whole, apply=before, left=after)


def _plan(revisions: Revisions, code: Facts, store: Store, now_us: Callable[[], int]) -> Plan:
    own = tuple(step.version for step in OWN_MIGRATIONS if step.version > store.own_version())
    have = store.facts()
    if not revisions:
        found = _creatable(revisions, store, differences(have, code))
        left = tuple(f"{difference.sentence}; it stays." for difference in found if difference.harmless)
        return Plan(own, create=tuple(difference for difference in found if difference.creatable), notes=left)
    if revisions.current(store) is not None or not have:
        return Plan(own, apply=tuple(revisions.pending(store)))
    with store.scratch(now_us()) as empty:
        there = place(revisions, empty, have, now_us)
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


def describe(report: Report, *, told_only: bool = False) -> list[str]:
    """The report as lines for a person; with `told_only` just what changes."""
    would = "would be " if report.dry_run else ""
    lines = [f"tenfold's own tables: version {version} {would}applied" for version in report.own]
    lines += [f"revision {name}: was there already, {would}recorded" for name in report.recorded]
    lines += [f"revision {name}: {would}applied" for name in report.applied]
    lines += [f"{name}: {would}created" for name in report.created]
    if told_only:
        return lines
    if report.backup:
        lines.append(f"The database before this: {report.backup}")
    return [*(lines or ["The database is up to date."]), *report.notes]
