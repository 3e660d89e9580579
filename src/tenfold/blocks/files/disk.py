"""Opening a file, and reading a part of it, in threads, so that the loop goes on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from tenfold.blocks.files.http import Span
from tenfold.core.errors import StorageDamaged
from tenfold.core.files import storage_errors

PIECE = 256 * 1024
"""Bytes read or written at once."""


async def pieces(path: Path, span: Span) -> AsyncGenerator[bytes, None]:
    """The bytes of a span; never through a link. Raises the errors of the disk, and `StorageDamaged` at its end when
    the file is shorter."""
    with storage_errors("read", path):
        fd = await opened(lambda: os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
        reading: asyncio.Future[bytes] | None = None
        try:
            at = span.start
            while at < span.stop:
                reading = asyncio.ensure_future(asyncio.to_thread(os.pread, fd, min(PIECE, span.stop - at), at))
                piece = await asyncio.shield(reading)
                if not piece:
                    raise StorageDamaged(f"{path} ends before its length.", hint="Restore it from a backup.")
                yield piece
                at += len(piece)
        finally:
            _close(fd, reading)


async def opened(open_it: Callable[[], int]) -> int:
    """The descriptor that `open_it` gives in a thread; closed when the caller is cancelled meanwhile."""
    opening = asyncio.ensure_future(asyncio.to_thread(open_it))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_unused)
        raise


def _close_unused(opening: asyncio.Future[int]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())


def _close(fd: int, reading: asyncio.Future[bytes] | None) -> None:
    """Not while a thread still reads from it: the number would be another file's."""
    if reading is None or reading.done():
        os.close(fd)
    else:
        reading.add_done_callback(lambda _: os.close(fd))
