"""Is the schema in the database one that this code can work with?

The range of a service's code: its newest revision has been applied, except that those at the end which *contract* may
still be pending, since a deploy runs them when the code before it has left; and no contracting revision of newer code
(which would have removed what this code still uses). So the code of the last deploy stays ready while the next one
expands, and the next one is ready before it contracts.
"""

from __future__ import annotations

import ast
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import MetaData

from tenfold.blocks.database.backend import DatabaseConfig
from tenfold.blocks.database.schema import CURRENT_VERSION, OLDEST_READABLE, OWN_COMPONENT
from tenfold.core.errors import ContractError


@dataclass(frozen=True, slots=True)
class SchemaRange:
    """What code needs of the record of revisions: `needed` is applied, and no contracting one that is not `known`."""

    needed: str | None = None
    known: frozenset[str] = frozenset()


def schema_range(folder: Path | None) -> SchemaRange:
    """The range of the revision files in `folder/versions`, without importing them; an empty one without files."""
    files = [_assigned(path) for path in sorted(folder.glob("versions/*.py"))] if folder is not None else []
    by_id = {name: found for found in files for name in found.get("revision", ())}
    heads = set(by_id) - {name for found in files for name in found.get("down_revision", ())}
    if len(heads) > 1:
        raise ContractError(
            f"The revisions in {folder} have several heads: {', '.join(sorted(heads))}.",
            hint="Let one of them follow the other (down_revision).",
            code="TF-SCHEMA-2",
        )
    needed = next(iter(heads), None)
    while needed in by_id and by_id[needed].get("kind") == ("contract",):
        needed = next(iter(by_id[needed].get("down_revision", ())), None)
    return SchemaRange(needed, frozenset(by_id))


def judge_revisions(rows: Iterable[tuple[str, str, int]], code: SchemaRange) -> str:
    """What the recorded revisions (revision, kind, seq) of the service say against code of that range; empty when
    nothing does."""
    recorded = list(rows)
    if not code.known:
        return ""
    applied = max((seq for revision, _, seq in recorded if revision == code.needed), default=0)
    if code.needed is not None and not applied:
        return unapplied(code.needed)
    later = [
        (seq, revision)
        for revision, kind, seq in recorded
        if kind == "contract" and seq > applied and revision not in code.known
    ]
    return contracted(min(later)[1]) if later else ""


def _assigned(path: Path) -> dict[str, tuple[str, ...]]:
    """Top-level assignments of text, several texts or None in a revision file."""
    found: dict[str, tuple[str, ...]] = {}
    for node in _parsed(path).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = getattr(node, "value", None)
        texts = _texts(value)
        found.update({target.id: texts for target in targets if isinstance(target, ast.Name)})
    return found


def _texts(value: ast.expr | None) -> tuple[str, ...]:
    parts = value.elts if isinstance(value, ast.Tuple | ast.List) else [value]
    return tuple(part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str))


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text("utf-8"), str(path))
    except (OSError, SyntaxError, ValueError) as error:
        raise ContractError(
            f"The revision file {path} cannot be read: {error}.", hint="Correct it.", code="TF-SCHEMA-2"
        ) from error


NO_TABLES = "the database has no tables yet: run `tenfold migrate`"


def too_old(version: int) -> str:
    """Our own tables are older than this code can read."""
    return f"tenfold's tables have version {version}, this code needs {OLDEST_READABLE}: run `tenfold migrate`"


def newer(version: int) -> str:
    """A newer Tenfold has removed what this code uses."""
    return f"the database belongs to a newer tenfold (version {version})"


def unapplied(revision: str) -> str:
    """The service's newest revision is not there yet."""
    return f"revision {revision} has not been applied: run `tenfold migrate`"


def contracted(revision: str) -> str:
    """A later revision of the service has removed what this code uses."""
    return f"revision {revision} removed what this code needs: deploy the newer code"


def lacks(table: str, columns: list[str]) -> str:
    """A table lacks columns, or is not there at all."""
    return f"table {table} lacks {', '.join(columns)}: run `tenfold migrate`"


class Readiness:
    """Judges a SQLite database; remembers the verdict until its schema changes."""

    def __init__(self, config: DatabaseConfig, metadata: MetaData) -> None:
        self._service = config.service
        self._metadata = metadata
        self._range = schema_range(config.migrations)
        self._seen: tuple[int, int] | None = None
        self._verdict = (False, "")

    def judge(self, connection: sqlite3.Connection) -> tuple[bool, str]:
        """Whether this code can work with the database, and the reason when it cannot."""
        version = connection.execute("PRAGMA schema_version").fetchone()[0]
        exists = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'tf_schema'").fetchone()[0]
        rows = connection.execute("SELECT count(*) FROM tf_schema").fetchone()[0] if exists else -1
        if self._seen != (version, rows):
            reason = self._reason(connection) if exists else NO_TABLES
            self._verdict = (not reason, reason)
            self._seen = (version, rows)
        return self._verdict

    def _reason(self, connection: sqlite3.Connection) -> str:
        return self._own(connection) or self._revision(connection) or self._missing(connection)

    def _own(self, connection: sqlite3.Connection) -> str:
        row = connection.execute(
            "SELECT max(CAST(revision AS INTEGER)) FROM tf_schema WHERE component = ?", (OWN_COMPONENT,)
        ).fetchone()
        version = row[0] or 0
        if OLDEST_READABLE <= version <= CURRENT_VERSION:
            return ""
        if version < OLDEST_READABLE:
            return too_old(version)
        removed = connection.execute(
            "SELECT count(*) FROM tf_schema WHERE component = ? AND kind = 'contract' AND 0 + revision > ?",
            (OWN_COMPONENT, CURRENT_VERSION),
        ).fetchone()[0]
        return newer(version) if removed else ""

    def _revision(self, connection: sqlite3.Connection) -> str:
        rows = connection.execute("SELECT revision, kind, seq FROM tf_schema WHERE component = ?", (self._service,))
        return judge_revisions(rows.fetchall(), self._range)

    def _missing(self, connection: sqlite3.Connection) -> str:
        for table in self._metadata.sorted_tables:
            present = {row[1] for row in connection.execute(f'PRAGMA table_info("{table.name}")')}
            absent = [column.name for column in table.columns if column.name not in present]
            if absent:
                return lacks(table.name, absent)
        return ""
