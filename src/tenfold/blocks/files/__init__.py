"""The files block: static files under URLs that name their content, and uploads in a store.

static = tf.files.static(Path(__file__).parent / "static")           # at import time
static.url("site.css")                                               # /static/site.3f2a91bc5d7e8f01.css
app = tf.asgi(app, hot={**static.routes, "/{code}": redirect})
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tenfold.blocks.database import Database
from tenfold.blocks.files.http import Headers
from tenfold.blocks.files.published import Published
from tenfold.blocks.files.static import Respond, Static
from tenfold.core.clock import Clock
from tenfold.core.errors import ContractError
from tenfold.core.randomness import Randomness
from tenfold.topology.map import Map

__all__ = ["Files", "Static"]


class Files:
    """Files of one service: what it ships (`static`) and what its users bring (`save`, `open`, `receive`)."""

    respond: Respond
    """Makes the responses of hot handlers; the Tenfold object sets it."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._statics: dict[str, Static] = {}
        self._state: Path | None = None

    def static(self, folder: str | Path, prefix: str = "/static") -> Static:
        """The files of a folder, read and hashed now, to be served below `prefix`.

        `ContractError` when there is no such folder (TF-FILES-FOLDER), or the prefix is taken or not allowed.
        """
        if prefix in self._statics:
            raise ContractError(
                f"Two folders of static files have the prefix {prefix!r}.",
                hint="Give each its own, or declare one.",
                code="TF-FILES-FOLDER",
            )
        made = self._statics[prefix] = Static(Path(folder), prefix, self._clock, self._response)
        return made

    async def start(self) -> None:
        """Puts the static files where the other processes of this deployment find them."""
        published = Published(self._folder() / "static")
        for static in self._statics.values():
            await asyncio.to_thread(static.publish, published)

    async def stop(self) -> None:
        """Closes it."""

    def adopt(self, new: Map) -> None:
        """Goes by a newer map."""
        self._state = Path(new.state)

    def _folder(self) -> Path:
        """Where data of this deployment lies."""
        return (self._state or Path.cwd() / ".tenfold") / "data"

    def _response(self, status: int, headers: Headers, body: bytes = b"", stream: Any = None) -> Any:
        return self.respond(status, headers, body, stream)
