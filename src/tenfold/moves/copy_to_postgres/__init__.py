"""The move `copy_to_postgres`: the data moves from SQLite to PostgreSQL while it is written to (step 2)."""

from __future__ import annotations

from tenfold.moves.base import Move
from tenfold.moves.context import Context
from tenfold.moves.copy_to_postgres.stages import make
from tenfold.moves.rows.pacing import Pacer
from tenfold.moves.rows.work import Work


async def build(context: Context) -> Move:
    """The move for a deployment. It counts rows, for what the plan says; it changes nothing."""
    work = Work(context, Pacer(p99=context.p99))
    try:
        return await make(work)
    finally:
        await work.close()


__all__ = ["build"]
