"""What the tables of a service's code are, as a fingerprint: another one in the middle of a move turns it back."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable


def digest_of(metadata: sa.MetaData) -> str:
    """The same for the same tables and indexes, in whatever order they are declared."""
    dialect, words = sqlite.dialect(), []
    for table in metadata.sorted_tables:
        words.append(str(CreateTable(table).compile(dialect=dialect)))
        words += sorted(str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes)
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
