"""Databases for the suites of blocks that need nothing else: a fresh one, opened as often as a test has processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

from ids_backends import BACKENDS, PARAMETERS

from tenfold.blocks.database import Database

Opener = Callable[[], AbstractAsyncContextManager[Database]]
T = TypeVar("T")

__all__ = ["PARAMETERS", "Opener", "opener", "run"]


def opener(name: str, folder: Path) -> Opener:
    """Makes a database of that backend; each call of the result opens it, as one more process does."""
    return BACKENDS[name](folder)


def run(main: Coroutine[Any, Any, T], limit_s: float = 40.0) -> T:
    """asyncio.run with a bound."""

    async def bounded() -> T:
        return await asyncio.wait_for(main, limit_s)

    return asyncio.run(bounded())
