"""What a numbered migration of Tenfold's own tables is, and the metadata that all of them share."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import MetaData


@dataclass(frozen=True, slots=True)
class OwnMigration:
    """One step of our own schema: applied whole, in one transaction, or not at all."""

    version: int
    sqlite: tuple[str, ...]
    postgres: tuple[str, ...]


own_metadata = MetaData()
"""Tables of ours that blocks read and write through Core statements; home tables unless they say otherwise."""
