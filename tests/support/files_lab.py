"""The files block on a database and a store of a test."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import msgspec

from tenfold.blocks.database import Database
from tenfold.blocks.files import Files, Store
from tenfold.blocks.files.local import LocalStore
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.serve.hot import Request, Response
from tenfold.topology.map import Map, map_of
from tenfold.topology.spec import parse_spec

PNG = b"\x89PNG\r\n\x1a\n"


def map_for(folder: Path, text: str = "", epoch: int = 1) -> Map:
    """The map of a deployment in this folder."""
    spec = parse_spec(f'[service]\nname = "shop"\napp = "x:app"\n{text}')
    made = map_of(spec, root=str(folder), state=str(folder / ".tenfold"), previous=None)
    return msgspec.structs.replace(made, epoch=epoch)


@contextlib.asynccontextmanager
async def started(
    database: Database, folder: Path, text: str = "", *, clock: Clock = SYSTEM_CLOCK, store: Store | None = None
) -> AsyncIterator[Files]:
    """A started block, as a process of the deployment in `folder` has it."""
    files = Files(database, clock, SYSTEM_RANDOMNESS, store=store or LocalStore(folder / "files", SYSTEM_RANDOMNESS))
    files.respond = Response
    files.adopt(map_for(folder, text))
    await files.start()
    try:
        yield files
    finally:
        await files.stop()


async def several(*pieces: bytes) -> AsyncIterator[bytes]:
    """A stream."""
    for piece in pieces:
        yield piece


def request(path: str, method: str = "GET", **headers: str) -> Request:
    """A request for a hot handler; `_` in names of headers stands for `-`."""
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"method": method, "path": path, "headers": pairs})


def header(response: Any, name: str) -> str | None:
    """A header of a response; None without it."""
    found = [value.decode() for key, value in response.headers if key.decode() == name]
    assert len(found) < 2, f"{name} is there {len(found)} times"
    return found[0] if found else None


def on_disk(folder: Path, beside: Iterable[str] = ()) -> list[str]:
    """Every file below a folder, but not those in the folders `beside`."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if path.parts[0] not in beside)
