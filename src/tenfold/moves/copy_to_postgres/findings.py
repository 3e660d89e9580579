"""What the preflight finds: pure judgement of definitions and of chunks of rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tenfold.moves.rows.kinds import Kind
from tenfold.moves.rows.tables import Moved, Row, encode_key

SHOWN = 5
"""Keys that a finding shows."""

REMEDIES = {
    "NUL characters in text": "Remove them, for example with replace(column, char(0), '').",
    "NUL characters in JSON": "Remove them: PostgreSQL cannot store them.",
    "text that is not UTF-8": "Correct it: it was written past the block.",
    "text that is not JSON": "Correct it: it was written past the block.",
    "infinite numbers or NaN": "Set them to NULL or to a finite number.",
    "NULL in a column that is NOT NULL": "Give them a value.",
}
_REMEDY = "Correct these rows; they were written past the block, which refuses such values."


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that PostgreSQL would refuse (`error`) or that is worth knowing (`warning`). `keys` are the first."""

    level: Literal["error", "warning"]
    table: str
    column: str
    problem: str
    todo: str
    count: int = 1
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f"{self.table}.{self.column}" if self.column else self.table
        first = f" (first: {', '.join(self.keys)})" if self.keys else ""
        number = f"{self.count:,} x " if self.keys else ""
        return f"{where}: {number}{self.problem}{first}. {self.todo}"


@dataclass(slots=True)
class Report:
    """What the preflight saw: rows and bytes by table, and the findings."""

    rows: dict[str, int] = field(default_factory=dict)
    file_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def errors(self) -> list[Finding]:
        """What stops the move."""
        return [finding for finding in self.findings if finding.level == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """What does not."""
        return [finding for finding in self.findings if finding.level == "warning"]

    @property
    def total(self) -> int:
        """Rows of all tables."""
        return sum(self.rows.values())


@dataclass(slots=True)
class Tally:
    """Counts problems of one table while its chunks go by."""

    table: Moved
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    keys: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def look(self, rows: Sequence[Sequence[Any]]) -> None:
        """Judges a chunk; text is given as bytes, as it is in the file."""
        if not rows:
            return
        by_column = list(zip(*rows, strict=True))
        for at, (name, kind) in enumerate(zip(self.table.columns, self.table.kinds, strict=True)):
            types, values = by_column[at * 2], by_column[at * 2 + 1]
            nullable = bool(self.table.table.c[name].nullable)
            if not _clean(kind, types, values, nullable):
                for row, type_, value in zip(rows, types, values, strict=True):
                    problem = judged(kind, type_, value, nullable)
                    if problem is not None:
                        self._add(name, problem, row)

    def _add(self, column: str, problem: str, row: Sequence[Any]) -> None:
        place = (column, problem)
        self.counts[place] = self.counts.get(place, 0) + 1
        shown = self.keys.setdefault(place, [])
        if len(shown) < SHOWN:
            shown.append(encode_key(tuple(_shown(row[at * 2 + 1]) for at in self.table.key)))

    def findings(self) -> Iterable[Finding]:
        """What was found."""
        for (column, problem), count in self.counts.items():
            todo = REMEDIES.get(problem, _REMEDY)
            yield Finding("error", self.table.name, column, problem, todo, count, tuple(self.keys[column, problem]))


def _shown(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) and value.isascii() else value


_CLASSES: dict[type, str] = {int: "integer", float: "real", str: "text", bytes: "blob"}


def _clean(kind: Kind, types: Row, values: Row, nullable: bool) -> bool:
    """Whether a column of a chunk is surely right: looked at as a whole, which is what makes the scan fast."""
    wanted = _CLASSES[kind.storage]
    if not set(types) <= ({wanted, "null"} if nullable else {wanted}):
        return False
    present = [value for value in values if value is not None]
    if kind.storage is str:
        try:
            return all(kind.judge(value.decode()) is None for value in present)
        except UnicodeDecodeError:
            return False
    return all(kind.judge(value) is None for value in present)


def judged(kind: Kind, type_: str, value: Any, nullable: bool) -> str | None:
    """What is wrong with one value; `type_` is what SQLite's typeof says."""
    if type_ == "null":
        return None if nullable else "NULL in a column that is NOT NULL"
    wanted = _CLASSES[kind.storage]
    if type_ != wanted:
        return f"values of type {type_} instead of {wanted}"
    if kind.storage is str:
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return "text that is not UTF-8"
    return kind.judge(value)
