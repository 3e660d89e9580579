"""A small service under migration: its tables in several versions, its folder, its database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Index

from tenfold import Choice, Int64, Tenfold, Text, home, sharded_by
from tenfold.control.migrate import Report, migrate, write_next
from tenfold.control.migrations.facts import Facts
from tenfold.control.migrations.store import open_store


def service(version: int) -> Tenfold:
    """Version 1: links. 2: and users, with an index. 3: links get a title. 4: links lose their kind, longer codes."""
    tf = Tenfold("small")
    columns: list[Any] = [
        Column("code", Text(16 if version < 4 else 32), primary_key=True),
        Column("url", Text(100), nullable=False),
    ]
    if version < 4:
        columns.append(Column("kind", Choice("a", "b")))
    if version >= 3:
        columns.append(Column("title", Text(50)))
    tf.table("links", *columns, home=sharded_by("code"))
    if version >= 2:
        email = Column("email", Text(80), nullable=False)
        tf.table("users", Column("id", Int64, primary_key=True), email, Index("ix_users_email", "email"), home=home())
    return tf


@dataclass
class Place:
    """The folder of the service. Methods act on its one database file."""

    root: Path

    @property
    def path(self) -> Path:
        return self.root / "data" / "small.db"

    def migrate(self, version: int, **options: Any) -> Report:
        return migrate(service(version), self.root, self.path, **options)

    def write(self, version: int, message: str) -> list[str]:
        return [path.name for path in write_next(service(version), self.root, self.path, message)]

    def revision(self, number: int, body: str, *, more: str = "") -> Path:
        """Writes a revision file by hand."""
        path = self.root / "migrations" / "versions" / f"{number:04d}_by_hand.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        down = repr(f"{number - 1:04d}") if number > 1 else "None"
        path.write_text(
            f'"""by hand"""\nimport sqlalchemy as sa\nfrom alembic import op\n{more}\n'
            f'revision = "{number:04d}"\ndown_revision = {down}\n\ndef upgrade():\n    {body}\n'
        )
        return path

    def sql(self, statement: str, *parameters: Any) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(statement, parameters).fetchall()

    def dump(self) -> list[str]:
        """Everything in the database but the record of revisions."""
        with closing(sqlite3.connect(self.path)) as connection:
            return [line for line in connection.iterdump() if "tf_schema" not in line]

    def facts(self) -> Facts:
        """The service's tables as the database shows them."""
        with open_store(self.path) as store:
            return store.facts()

    def applied(self) -> list[tuple[str, str]]:
        return self.sql("SELECT revision, kind FROM tf_schema WHERE component = 'small' ORDER BY seq")
