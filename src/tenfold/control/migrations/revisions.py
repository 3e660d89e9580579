"""The service's revisions, run by Alembic as a library: no alembic.ini and no env.py, one transaction for each file.

Alembic is imported when there is a revision, or a database that had one: it takes as long as all else that a start
without any imports (0.2 s).

A revision file lives in `migrations/versions/` of the service. Besides Alembic's own names it may set
`kind = "contract"` when the code before it cannot run after it (a column was dropped); the default is "expand".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tenfold.control.migrations.facts import VERSION_TABLE, Facts, differences, strictness, told
from tenfold.control.migrations.store import Store, driver_error, said
from tenfold.core.errors import TenfoldError, UsageError

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import Script, ScriptDirectory

_RECORDED = sa.text("SELECT revision FROM tf_schema WHERE component = :component ORDER BY seq DESC")
_ALL = sa.text("SELECT kind, revision FROM tf_schema WHERE component = :component ORDER BY seq")
_SINCE = sa.text(
    "SELECT kind, revision FROM tf_schema WHERE component = :component AND seq >="
    " (SELECT max(seq) FROM tf_schema WHERE component = :component AND revision = :revision) ORDER BY seq"
)

_ENDS_TRANSACTION = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
    r"(?:COMMIT|END|ABORT|BEGIN|START\s+TRANSACTION|PREPARE\s+TRANSACTION|ROLLBACK(?!\s+(?:\w+\s+)?TO\b))\b",
    re.IGNORECASE | re.DOTALL,
)

FOLDER = "migrations"
KINDS = ("expand", "contract")


class MigrationFailed(TenfoldError):
    """A revision could not be applied; its transaction was rolled back and the database is as it was before it."""

    code = "TF-MIGRATE-1"
    title = "A migration failed"


class MigrationNeeded(UsageError):
    """The database or the migrations do not say what the code says."""

    code = "TF-MIGRATE-2"
    title = "The tables differ from the code"


@dataclass(frozen=True, slots=True)
class Revision:
    """One file: its id, the message of its author, and whether older code can live with it."""

    id: str
    message: str
    kind: str

    def __str__(self) -> str:
        return f"{self.id} ({self.message})"


class Revisions:
    """The straight line of revisions of one service; empty when it has none yet."""

    def __init__(self, root: Path, component: str) -> None:
        self.folder = root / FOLDER
        self.component = component
        self._exist = False
        self.refresh()

    def refresh(self) -> None:
        """Looks at the folder again, after a file was written."""
        versions = self.folder / "versions"
        self._exist = versions.is_dir() and any(versions.glob("[!_]*.py"))
        self._script: ScriptDirectory | None = None

    def __bool__(self) -> bool:
        return self._exist

    def script(self) -> ScriptDirectory:
        """Alembic's view of the folder; every file is loaded once."""
        if self._script is None:
            from alembic.script import ScriptDirectory  # noqa: PLC0415 - see above

            self._script = ScriptDirectory.from_config(self._config())
        return self._script

    def _config(self) -> Config:
        from alembic.config import Config  # noqa: PLC0415 - see above

        config = Config()
        config.set_main_option("script_location", str(self.folder).replace("%", "%%"))
        config.set_main_option("path_separator", "newline")
        return config

    def line(self) -> list[Revision]:
        """All revisions, oldest first. UsageError when a file does not load or when they fork."""
        if not self:
            return []
        try:
            script = self.script()
            heads = script.get_heads()
            files = list(script.walk_revisions()) if len(heads) == 1 else []
        except Exception as error:
            raise UsageError(
                f"The revisions in {self.folder / 'versions'} do not load: {error}.",
                hint="Correct or remove the file that it names.",
                code="TF-MIGRATE-3",
            ) from error
        if len(heads) != 1:
            raise UsageError(
                f"The revisions in {self.folder / 'versions'} end in {len(heads)} places: {', '.join(sorted(heads))}.",
                hint="Make them one line: set `down_revision` of the newer one to the other.",
                code="TF-MIGRATE-3",
            )
        return [_revision(file) for file in reversed(files)]

    def current(self, store: Store) -> str | None:
        """The revision that the database records, or None.

        Alembic's table says it. A database whose rows came from another one by a move may lack that table; then our
        own record says it.
        """
        with store.reading() as connection:
            recorded = sa.inspect(connection).has_table(VERSION_TABLE)
            told = _context(connection).get_current_revision() if recorded else None
            return told or self._recorded(store, connection)

    def _recorded(self, store: Store, connection: sa.Connection) -> str | None:
        if not store.records(connection):
            return None
        ids = {revision.id for revision in self.line()}
        rows = connection.execute(_RECORDED, {"component": self.component}).scalars()
        return next((revision for revision in rows if revision in ids), None)

    def pending(self, store: Store) -> list[Revision]:
        """What is still to be applied, in order; nothing when a newer version of the service migrated it further.

        UsageError when the database is at a revision that has no file, unless all of ours are below it and none after
        them contracts: then this code, from before a deploy that was taken back, can work with it.
        """
        line, current = self.line(), self.current(store)
        ids = [revision.id for revision in line]
        if current is None:
            return line
        if current in ids:
            return line[ids.index(current) + 1 :]
        if (later := _contracted_after(store, self.component, ids[-1] if ids else None)) is not None:
            if not later:
                return []
            raise UsageError(
                f"Revision {later} of newer code has taken away what this code needs.",
                hint="Run the code that knows that revision; older code needs one that brings it back.",
                code="TF-MIGRATE-3",
            )
        raise UsageError(
            f"The database is at revision {current}, and {self.folder / 'versions'} has no file for it.",
            hint="Start the newer version of the service, or put the missing file back.",
            code="TF-MIGRATE-3",
        )

    def apply(self, store: Store, wanted: Iterable[Revision], now_us: Callable[[], int]) -> list[Revision]:
        """Applies `wanted` in order, each file in one transaction with its record in `tf_schema`.

        MigrationFailed names the revision and the reason; those before it stay applied.
        """
        done: list[Revision] = []
        for revision in wanted:
            try:
                self._run(store, revision, now_us)
            except Exception as error:
                raise _failed(store, revision, error, done) from error
            done.append(revision)
        return done

    def stamp(self, store: Store, there: list[Revision], now_us: int) -> None:
        """Records that the database has all of `there` already, without running anything."""
        script = self.script()

        def write(connection: sa.Connection) -> None:
            _context(connection).stamp(script, there[-1].id)
            for revision in there:
                store.record(connection, self.component, revision.id, revision.kind, now_us)

        store.transact(write)

    def _run(self, store: Store, revision: Revision, now_us: Callable[[], int]) -> None:
        from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415 - see above

        script, line = self.script(), [each.id for each in self.line()]
        before = line[: line.index(revision.id)][-1:]

        def upgrade(heads: Any, _context: MigrationContext) -> Any:
            return script._upgrade_revs(revision.id, heads)

        def work(connection: sa.Connection) -> None:
            sa.event.listen(connection, "before_cursor_execute", _check_statement)
            strict_before = strictness(connection)
            context = _context(connection)
            if before and not context.get_current_heads():
                context.stamp(script, before[0])  # only our own record had it; see `current`

            def recorded(*_: Any, **__: Any) -> None:
                _check_rules(store, connection, strict_before)
                store.record(connection, self.component, revision.id, revision.kind, now_us())

            with EnvironmentContext(self._config(), script, fn=upgrade) as environment:
                environment.configure(
                    connection=connection, transactional_ddl=True, render_as_batch=True, on_version_apply=recorded
                )
                environment.get_context().autocommit_block = _outside  # type: ignore[method-assign]
                environment.run_migrations()

        store.transact(work, alone=True)


def _context(connection: sa.Connection) -> MigrationContext:
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415 - see above

    return MigrationContext.configure(connection)


def _outside() -> Any:
    raise UsageError(
        "A revision is one transaction and cannot work outside of it (autocommit_block).",
        hint="Leave the block out; a statement that insists on it is run by hand.",
        code="TF-MIGRATE-3",
    )


def _check_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
    """A revision that ends its transaction would leave half of itself behind when it fails."""
    if _ENDS_TRANSACTION.match(statement):
        raise UsageError(
            f"A revision is one transaction, which {statement.strip()[:40]!r} would break.",
            hint="Leave it out: it is begun and committed around the revision.",
            code="TF-MIGRATE-3",
        )


def _revision(file: Script) -> Revision:
    kind = getattr(file.module, "kind", "expand")
    if kind not in KINDS:
        raise UsageError(
            f"{file.path}: found kind = {kind!r}; allowed: {' or '.join(map(repr, KINDS))}.", code="TF-MIGRATE-3"
        )
    return Revision(file.revision, (file.doc or "").strip().split("\n")[0], kind)


def _check_rules(store: Store, connection: sa.Connection, before: Mapping[str, bool]) -> None:
    """What must hold before a revision may be committed."""
    lost = sorted(name for name, strict in strictness(connection).items() if before.get(name) and not strict)
    if lost:
        raise MigrationNeeded(
            f"The revision rebuilds {', '.join(lost)} without STRICT.",
            hint="Give its batch_alter_table the argument table_kwargs={'sqlite_strict': True}.",
        )
    broken = store.broken_reference(connection)
    if broken:
        raise MigrationNeeded(f"The revision leaves {broken}.")


def _contracted_after(store: Store, component: str, revision: str | None) -> str | None:
    """The first contracting revision after that one, or nothing when none is; None when that one was never applied.

    Code without revisions (None) stands before all of them.
    """
    with store.reading() as connection:
        if revision is None:
            rows = connection.execute(_ALL, {"component": component}).all()
        else:
            rows = connection.execute(_SINCE, {"component": component, "revision": revision}).all()
    if not rows:
        return None
    return next((name for kind, name in rows if kind == "contract" and name != revision), "")


def _failed(store: Store, revision: Revision, error: Exception, done: list[Revision]) -> TenfoldError:
    cause = driver_error(error)
    told_before = f" {len(done)} before it stay applied." if done else ""
    storage = store.storage_error(cause)
    if storage is not None:
        text = f"Revision {revision} was rolled back: {storage.message}{told_before}"
        return type(storage)(text, hint=storage.hint, code=storage.code)
    reason = cause.message if isinstance(cause, TenfoldError) else f"{type(cause).__name__}: {said(cause)}"
    hint = cause.hint if isinstance(cause, TenfoldError) else "Correct the file and run the same command again."
    return MigrationFailed(f"Revision {revision} failed and was rolled back: {reason}{told_before}", hint=hint)


def place(revisions: Revisions, empty: Store, have: Facts, now_us: Callable[[], int]) -> Revision | None:
    """The newest revision whose tables are exactly `have`: where an unrecorded database stands. None when nowhere.

    `empty` is a scratch database of the kind of that one.
    """
    found = None
    for revision in revisions.line():
        revisions.apply(empty, [revision], now_us)
        if not differences(empty.facts(), have):
            found = revision
    return found


def facts_of_revisions(revisions: Revisions, empty: Store, now_us: Callable[[], int]) -> Facts:
    """The tables that all revisions build together in `empty`, a scratch database."""
    revisions.apply(empty, revisions.line(), now_us)
    return empty.facts()


def check_agrees(revisions: Revisions, empty: Store, code: Facts, now_us: Callable[[], int]) -> list[str]:
    """MigrationNeeded when the revisions do not build what the code needs; sentences on what they build beyond that.

    They are tried in `empty`, a scratch database; `code` is how a database of the same kind shows the code's tables.
    """
    found = differences(facts_of_revisions(revisions, empty, now_us), code)
    needed = [difference for difference in found if not difference.harmless]
    if needed:
        raise MigrationNeeded(
            f"The revisions do not build the tables of the code: {told(needed)}.",
            hint='Run `tenfold migrate --new "message"` to write the next one.',
        )
    return [f"{difference.sentence}; it stays." for difference in found]
