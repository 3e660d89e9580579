"""WebSockets and event streams on a HAProxy that leaves: only the web servers can end them as their clients understand.

HAProxy would wait for them until its limit, and cut them off then. So every web server of this host is asked to end
what lasts on its private door; the clients come back, and come to a HAProxy that stays.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path

from tenfold.core.errors import TenfoldError
from tenfold.hosts import wire

LIMIT_S = 2.0


async def call_back(run: Path, webs: Iterable[str]) -> None:
    """Asks these web servers, by their sockets in `run`; one that does not answer has nothing to end."""

    def ask(web: str) -> None:
        with contextlib.suppress(TenfoldError):
            wire.call(run / f"{web}.sock", {"op": "call_back"}, LIMIT_S)

    await asyncio.gather(*(asyncio.to_thread(ask, web) for web in webs))
