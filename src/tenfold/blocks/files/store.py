"""The storage port: what the files block asks of a place that keeps bytes. The local folder is one (local.py).

Every store passes the same suite (tests/conformance/files). Names are lower-case words of `a-z 0-9`, at most two joined
by `/`, made by the block and never by a client.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from tenfold.blocks.files.http import Span

NAME = re.compile(r"[a-z0-9]{1,64}(/[a-z0-9]{1,64})?")


@dataclass(frozen=True, slots=True)
class Kept:
    """An object in a store: its name, its bytes, and when it was put (seconds since 1970, by the store's clock)."""

    name: str
    size: int
    at_s: float


class Draft(Protocol):
    """An object on its way into a store. Nobody sees anything of it before `finish` has returned."""

    async def write(self, piece: bytes) -> None:
        """Appends; `StorageFull` when there is no room."""
        ...

    async def finish(self) -> None:
        """Makes it durable and visible as a whole, in the place of an object of that name, if there is one."""
        ...

    async def abort(self) -> None:
        """Leaves nothing of it behind; does nothing after `finish`. Never raises the errors of the store."""
        ...


class Store(Protocol):
    """Keeps objects by name. Several processes use it at once."""

    async def begin(self, name: str, *, durable: bool = True) -> Draft:
        """Begins to put an object. One that is not `durable` outlives its process, and need not outlive a power cut."""
        ...

    def open(self, name: str, span: Span) -> AsyncGenerator[bytes, None]:
        """The bytes of a span that lies within the object, in pieces; `NotFound` at the first when there is none."""
        ...

    async def size(self, name: str) -> int | None:
        """The bytes of an object; None when there is none."""
        ...

    async def delete(self, name: str) -> bool:
        """Removes an object; whether there was one. Who reads it at that moment may read on."""
        ...

    def list(self, prefix: str) -> AsyncGenerator[Kept, None]:
        """All objects whose names begin with `prefix/`, in any order."""
        ...

    async def tidy(self) -> int:
        """Removes what drafts of processes that died have left; how many."""
        ...


def checked(name: str) -> str:
    """The name; an `AssertionError` for one that is none."""
    assert NAME.fullmatch(name), f"{name!r} is no name of an object"
    return name
