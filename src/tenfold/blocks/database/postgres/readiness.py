"""Is the schema in the PostgreSQL database one that this code can work with? The rules are those of `readiness.py`.

Asking costs nothing: the verdict is kept, and looked at again beside the work when it is older than a second. While the
server is away the last verdict stands for a while, because requests are held then and will succeed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

from sqlalchemy import MetaData

from tenfold.blocks.database.backend import DatabaseConfig
from tenfold.blocks.database.readiness import (
    NO_TABLES,
    SchemaRange,
    judge_revisions,
    lacks,
    newer,
    schema_range,
    too_old,
)
from tenfold.blocks.database.schema import CURRENT_VERSION, OLDEST_READABLE, OWN_COMPONENT
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.drivers.postgres import Link

LOOK_AGAIN_S = 1.0

_STEPS = "SELECT component, revision, kind, seq FROM tf.tf_schema ORDER BY seq"
_EXISTS = "SELECT to_regclass('tf.tf_schema') IS NOT NULL AS there"
_COLUMNS = """
    SELECT c.relname AS name, array_agg(a.attname::text) AS columns
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace IN ('public'::regnamespace, 'tf'::regnamespace) AND c.relkind IN ('r', 'p')
      AND a.attnum > 0 AND NOT a.attisdropped
    GROUP BY c.relname"""

Reading = Callable[[Callable[[Link], Awaitable[Any]]], Awaitable[Any]]


class PostgresReadiness:
    """Judges the database that `reading` reads from."""

    def __init__(self, config: DatabaseConfig, metadata: MetaData, clock: Clock, reading: Reading) -> None:
        self._config = config
        self._metadata = metadata
        self._clock = clock
        self._reading = reading
        self._range = schema_range(config.migrations)
        self._verdict = (False, "the database has not been looked at yet")
        self._looked_at = 0.0
        self._away_since: float | None = None
        self._looking: asyncio.Task[None] | None = None

    def ready(self) -> tuple[bool, str]:
        """The verdict; it is looked at again beside the work."""
        if self._looking is None and self._clock.monotonic() - self._looked_at >= LOOK_AGAIN_S:
            self._looking = asyncio.get_running_loop().create_task(self._look_again(), context=Context())
        return self._verdict

    async def stop(self) -> None:
        """Ends the looking."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def look(self) -> None:
        """Judges now; an error when the database cannot be asked."""
        reason = await self._reading(self._reason)
        self._verdict = (not reason, reason)
        self._looked_at = self._clock.monotonic()
        self._away_since = None

    async def _look_again(self) -> None:
        began = self._clock.monotonic()
        if self._away_since is None:
            self._away_since = began  # until it has answered
        try:
            await self.look()
        except TenfoldError as error:
            self._looked_at = self._clock.monotonic()
            if self._looked_at - self._away_since > self._config.hold_s:
                self._verdict = (False, f"the database does not answer ({error.message.rstrip('.')})")
        finally:
            self._looking = None

    async def _reason(self, link: Link) -> str:
        """Why this code cannot work with the database; empty when it can."""
        if not (await link.fetch(_EXISTS, ()))[0]["there"]:
            return NO_TABLES
        steps = [tuple(row) for row in await link.fetch(_STEPS, ())]
        columns = {row["name"]: set(row["columns"]) for row in await link.fetch(_COLUMNS, ())}
        return judged(steps, self._config.service, self._range) or self._missing(columns)

    def _missing(self, columns: dict[str, set[str]]) -> str:
        for table in self._metadata.sorted_tables:
            absent = [column.name for column in table.columns if column.name not in columns.get(table.name, ())]
            if absent:
                return lacks(table.name, absent)
        return ""


def judged(steps: list[tuple[Any, ...]], service: str, code: SchemaRange) -> str:
    """What the rows of `tf_schema` (component, revision, kind, seq) say against this code; empty when nothing does."""
    own = [(int(revision), kind) for component, revision, kind, _ in steps if component == OWN_COMPONENT]
    version = max((number for number, _ in own), default=0)
    if version < OLDEST_READABLE:
        return too_old(version)
    if any(kind == "contract" and number > CURRENT_VERSION for number, kind in own):
        return newer(version)
    rows = [(revision, kind, seq) for component, revision, kind, seq in steps if component == service]
    return judge_revisions(rows, code)
