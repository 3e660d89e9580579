"""The move `return_to_sqlite`: the data goes back to the SQLite file that it came from, nothing lost."""

from __future__ import annotations

from tenfold.moves.base import Move
from tenfold.moves.context import Context
from tenfold.moves.return_to_sqlite.stages import make
from tenfold.moves.rows.work import Work


async def build(context: Context) -> Move:
    """The move for a deployment. It looks at the log, for what the plan says; it changes nothing."""
    work = Work(context)
    try:
        return await make(work)
    finally:
        await work.close()


__all__ = ["build"]
