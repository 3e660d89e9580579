"""Removing the results of keyed requests once nobody may ask for them any more."""

from __future__ import annotations

import asyncio
import contextlib
from contextvars import Context
from typing import Any

from sqlalchemy import bindparam, delete, literal_column, select

from tenfold.blocks.database.backend import Call, Transaction
from tenfold.blocks.database.commits import BRIEF_S, PRUNE_EVERY_S, PRUNE_ROWS, RETENTION_S, ResultCodec
from tenfold.blocks.database.router import Router
from tenfold.blocks.database.schema import tf_commit
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.core.lifecycle import Background
from tenfold.core.randomness import Randomness

_OLD = select(tf_commit.c.id).where(tf_commit.c.at_us < bindparam("before")).limit(PRUNE_ROWS)
_DROP = delete(tf_commit).where(tf_commit.c.id.in_(bindparam("ids", expanding=True)))

# Rows of transactions without a key. The empty text stands in the statement, so that the index on just these is used.
_OLD_BRIEF = _OLD.where(tf_commit.c.result == literal_column("''"))


class Pruner(Background):
    """Clears up every ten minutes or so, at another moment in each process, in small transactions."""

    def __init__(self, router: Router, clock: Clock, randomness: Randomness) -> None:
        super().__init__()
        self._router = router
        self._clock = clock
        self._randomness = randomness

    async def run(self) -> None:
        """Clears up for ever; a full or busy database is tried again next time."""
        while True:
            await asyncio.sleep(PRUNE_EVERY_S * (0.5 + self._randomness.uniform()))
            with contextlib.suppress(TenfoldError):
                await self.prune()

    async def prune(self) -> int:
        """Removes results older than `RETENTION_S`, and rows without a result older than `BRIEF_S`; how many."""
        removed = await self._prune(_OLD, RETENTION_S)
        if self._router.capabilities.parallel_writers:
            removed += await self._prune(_OLD_BRIEF, BRIEF_S)
        return removed

    async def _prune(self, old: Any, age_s: int) -> int:
        before = self._clock.wall_us() - age_s * 1_000_000
        removed = 0
        while ids := await self._old(old, before):
            removed += await self._drop(ids)
        return removed

    async def _old(self, old: Any, before: int) -> list[bytes]:
        async with self._router.read(None, "session", False) as db:
            return [row.id for row in await db.all(old, before=before)]

    async def _drop(self, ids: list[bytes]) -> int:
        async def drop(tx: Transaction) -> int:
            return await tx.run(_DROP, ids=ids)

        # Under SERIALIZABLE the look at the index would collide with whoever adds a row.
        call = Call("drop_commits", drop, None, ResultCodec(drop), Context(), isolation="snapshot")
        return int(await self._router.write(call))
