"""What an upload may come from, as pieces."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from tenfold.core.errors import ContractError

PIECE = 256 * 1024


async def pieces_of(source: Any) -> AsyncIterator[bytes]:
    """Pieces of at most 256 KB. From bytes, an asynchronous iterator, or what has `read(size)`: awaited when that is a
    coroutine, else called in a thread. `ContractError` (TF-FILES-SOURCE) for anything else."""
    if isinstance(source, bytes | bytearray | memoryview):
        for at in range(0, len(source), PIECE):
            yield bytes(source[at : at + PIECE])
    elif isinstance(source, AsyncIterable):
        async for found in source:
            for at in range(0, len(found), PIECE):
                yield _bytes(found)[at : at + PIECE]
    elif callable(getattr(source, "read", None)):
        while piece := await _read(source.read):
            yield _bytes(piece)
    else:
        raise _refused(source)


async def _read(read: Any) -> Any:
    if inspect.iscoroutinefunction(read):
        return await read(PIECE)
    return await asyncio.to_thread(read, PIECE)


def _bytes(piece: Any) -> bytes:
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise _refused(piece)
    return bytes(piece)


def _refused(found: Any) -> ContractError:
    return ContractError(
        f"An upload cannot come from a {type(found).__name__}.",
        hint="Give bytes, an asynchronous iterator of bytes, or something with read(size) that returns bytes.",
        code="TF-FILES-SOURCE",
    )
