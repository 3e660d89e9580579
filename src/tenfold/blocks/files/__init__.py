"""The files block: static files under URLs that name their content, and uploads in a store.

static = tf.files.static(Path(__file__).parent / "static")           # at import time
static.url("site.css")                                               # /static/site.3f2a91bc5d7e8f01.css
app = tf.asgi(app, hot={**static.routes, "/{code}": redirect})

file = await tf.files.save(stream, name="me.png", types=("image/png", "image/jpeg"), limit="5MB", owner=user)
answer = tf.files.answer(await tf.files.open(file.id))               # an ASGI application
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.blocks.database import Database
from tenfold.blocks.database.scope import current_scope
from tenfold.blocks.files.answers import FileAnswer, answer_with
from tenfold.blocks.files.caretaker import Caretaker
from tenfold.blocks.files.form import Form, FormReader, FormRefused, Receive, header_of
from tenfold.blocks.files.http import Headers, plain_name
from tenfold.blocks.files.kinds import Types
from tenfold.blocks.files.local import LocalStore
from tenfold.blocks.files.published import Published
from tenfold.blocks.files.rows import ALL, LIST_MAX, QuotaExceeded, Row, Rows
from tenfold.blocks.files.sources import pieces_of
from tenfold.blocks.files.static import Respond, Static
from tenfold.blocks.files.store import Draft, Kept, Store
from tenfold.blocks.files.uploads import File, FileTooLarge, Rules, TypeRefused, Upload, discard, file_of, mark, unmark
from tenfold.core.clock import Clock
from tenfold.core.errors import ContractError, InvalidRequest, NotFound, TenfoldError
from tenfold.core.randomness import Randomness
from tenfold.core.units import parse_size
from tenfold.topology.files import FOLDER, OWNER_QUOTA, QUOTA
from tenfold.topology.map import Map

__all__ = [
    "Draft",
    "File",
    "FileAnswer",
    "FileTooLarge",
    "Files",
    "FilesStats",
    "Form",
    "FormRefused",
    "Kept",
    "QuotaExceeded",
    "Static",
    "Store",
    "TypeRefused",
]

LIMIT = "10MB"
"""What an upload may have where its call says nothing."""
OWNER_MAX = 200

_ID = re.compile(r"[0-9a-f]{32}")
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

log = logging.getLogger("tenfold.files")


@dataclass(frozen=True, slots=True)
class FilesStats:
    """What this process did: uploads saved, refused (size, type, quota, form), their bytes, and uploads deleted."""

    saved: int
    refused: int
    bytes: int
    deleted: int


class Files:
    """Files of one service: what it ships (`static`) and what its users bring (`save`, `open`, `receive`, `delete`).

    Guarantees: an upload is there as a whole or not at all; when `save` returned, its bytes and its row are durable;
    never more than 512 KB of it are in memory; what is stored as its type is what its bytes say. Bytes without a row,
    left by a process that died, are removed within hours; a row never lacks its bytes.
    """

    respond: Respond
    """Makes the responses of hot handlers; the Tenfold object sets it."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness, *, store: Store | None = None) -> None:
        self._clock = clock
        self._randomness = randomness
        self._statics: dict[str, Static] = {}
        self._state: Path | None = None
        self._folder = FOLDER
        self._quota = QUOTA
        self._owner_quota = OWNER_QUOTA
        self._given = store
        self._store: Store | None = None
        self._rows = Rows(database, clock)
        self._caretaker: Caretaker | None = None
        self._saved = self._refused = self._bytes = self._deleted = 0

    # -- lifecycle ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Opens the store, and puts the static files where the other processes of this deployment find them."""
        caretaker = self._caretaker or self._open_store()
        for static in self._statics.values():
            await asyncio.to_thread(static.publish, caretaker.published)
        await caretaker.start()

    def _open_store(self) -> Caretaker:
        state = self._state or Path.cwd() / ".tenfold"
        store = self._store = self._given or LocalStore(state / self._folder, self._randomness)
        published = Published(state / "data" / "static")
        self._caretaker = Caretaker(store, self._rows, published, clock=self._clock, randomness=self._randomness)
        self._caretaker.statics = list(self._statics.values())
        return self._caretaker

    async def stop(self) -> None:
        """Ends clearing up. Uploads under way end with their requests."""
        caretaker = self._caretaker
        if caretaker is not None:
            await caretaker.stop()
            self._caretaker = None

    def adopt(self, new: Map) -> None:
        """Goes by a newer map: the quotas at once, the folder with the next start."""
        self._state = Path(new.state)
        self._folder, self._quota, self._owner_quota = new.files.folder, new.files.quota, new.files.owner_quota

    def stats(self) -> FilesStats:
        """What this process did since it started."""
        return FilesStats(self._saved, self._refused, self._bytes, self._deleted)

    async def tidy(self) -> int:
        """Removes what processes that died have left, which also happens by itself; how many things."""
        assert self._caretaker is not None, "the files block is started"
        return await self._caretaker.tidy()

    # -- static files -------------------------------------------------------------------------------------------------

    def static(self, folder: str | Path, prefix: str = "/static") -> Static:
        """The files of a folder, read and hashed now, to be served below `prefix`.

        `ContractError` (TF-FILES-FOLDER) when there is no such folder, or the prefix is taken or not allowed.
        """
        if prefix in self._statics:
            raise ContractError(
                f"Two folders of static files have the prefix {prefix!r}.",
                hint="Give each its own, or declare one.",
                code="TF-FILES-FOLDER",
            )
        made = self._statics[prefix] = Static(Path(folder), prefix, self._clock, self._response)
        return made

    # -- uploads ------------------------------------------------------------------------------------------------------

    async def save(
        self,
        source: bytes | AsyncIterable[bytes] | Any,
        *,
        name: str = "file",
        types: Iterable[str] | None = None,
        limit: str | int = LIMIT,
        owner: str | None = None,
    ) -> File:
        """Keeps an upload: bytes, an asynchronous iterator of bytes, or something with a `read(size)` method.

        `types` are what its bytes may be ("image/png", "image/*"; None: anything), `limit` its size, `owner` whom it
        counts for. `FileTooLarge` (413), `TypeRefused` (415), `QuotaExceeded` (507), `StorageFull` (507); nothing of it
        is kept then. `UnknownOutcome` when the database's answer was lost: it may be there or not.
        """
        upload = await self._begin(self._rules(types, limit, owner), name, owner)
        try:
            async for piece in pieces_of(source):
                await upload.write(piece)
            file = await upload.finish()
        except BaseException as error:
            self._refused += isinstance(error, InvalidRequest)
            await upload.abort()
            raise
        return self._counted(file)

    async def receive(
        self,
        scope: Mapping[str, Any],
        receive: Receive,
        *,
        types: Iterable[str] | None = None,
        limit: str | int = LIMIT,
        owner: str | None = None,
    ) -> Form:
        """Reads the form (multipart/form-data) of a request: its fields, and its files as `save` keeps them, as they
        come. `FormRefused` for what cannot be read. On any error none of its files is kept.

        With Starlette and FastAPI: `await tf.files.receive(request.scope, request.receive, ...)`. The whole request has
        to fit the body limit of its route: `tf.asgi(app, body_limits={"/uploads": "20MB"})`.
        """
        rules = self._rules(types, limit, owner)

        async def begin(name: str) -> Upload:
            return await self._begin(rules, name, owner)

        reader = FormReader(header_of(scope, b"content-type"), begin)
        try:
            form = await reader.read(receive)
        except BaseException as error:
            self._refused += isinstance(error, InvalidRequest)
            for file in reader.made:
                with contextlib.suppress(TenfoldError):
                    await self.delete(file.id)
            raise
        for file in form.all_files():
            self._counted(file)
        return form

    async def open(self, file_id: str) -> File:
        """The upload of that id: what it is, and `pieces(start, stop)` of its bytes. `NotFound` (TF-FILES-NONE)."""
        row = await self._rows.find(file_id) if _ID.fullmatch(file_id) else None
        if row is None:
            raise NotFound("There is no such file.", code="TF-FILES-NONE")
        return file_of(row, self._opened())

    async def of(self, owner: str, *, after: str = "", limit: int = 100) -> list[File]:
        """An owner's uploads in the order of their ids, which begin after `after`; at most 1,000."""
        rows = await self._rows.of(_checked_owner(owner), after, min(limit, LIST_MAX))
        return [file_of(row, self._opened()) for row in rows]

    async def used(self, owner: str | None = None) -> int:
        """Bytes of an owner's uploads; of all without one."""
        wanted = ALL if owner is None else _checked_owner(owner)
        return (await self._rows.used(wanted))[wanted]

    async def delete(self, file_id: str) -> bool:
        """Removes an upload; whether there was one. Who reads it at that moment may read on."""
        if not _ID.fullmatch(file_id) or await self._rows.find(file_id, strong=True) is None:
            return False
        store = self._opened()
        await mark(store, file_id)
        try:
            dropped = await self._rows.drop(file_id)
        except TenfoldError:
            await self._settle(file_id)
            raise
        await discard(store, file_id)
        self._deleted += dropped
        return dropped

    def answer(
        self,
        file: File,
        scope: Mapping[str, Any] | None = None,
        *,
        inline: bool = False,
        cache: str = "private, no-cache",
    ) -> FileAnswer:
        """The answer with an upload to the current request (or the one of `scope`): ranges, conditions, and headers
        that keep a browser from running it. `inline` shows what cannot carry scripts in the page instead of saving it.

        An ASGI application: Starlette returns it as a response; for others it has `status`, `headers`, `body`, `hot()`.
        """
        if scope is None:
            request = current_scope()
            scope = {} if request is None else request.http
        return answer_with(file, scope, self._response, inline=inline, cache=cache)

    # -- inside -------------------------------------------------------------------------------------------------------

    async def _begin(self, rules: Rules, name: str, owner: str | None) -> Upload:
        made = self._randomness.bytes(16).hex()
        row = Row(made, plain_name(name), "", 0, b"", owner or ALL, 0)
        upload = Upload(row, rules, self._opened(), self._rows, self._clock)
        await upload.check_room()
        return upload

    def _rules(self, types: Iterable[str] | None, limit: str | int, owner: str | None) -> Rules:
        quotas: dict[str, int | None] = {ALL: self._quota}
        if owner is not None:
            quotas[_checked_owner(owner)] = self._owner_quota
        return Rules(parse_size(limit), Types(types), quotas)

    def _opened(self) -> Store:
        if self._store is None:
            raise ContractError("The files block is not open.", hint="It opens when the service starts.")
        return self._store

    def _counted(self, file: File) -> File:
        self._saved += 1
        self._bytes += file.size
        return file

    async def _settle(self, file_id: str) -> None:
        """After a deletion that failed: the mark goes where the row surely stayed, else the caretaker looks."""
        with contextlib.suppress(TenfoldError):
            if await self._rows.find(file_id, strong=True) is not None:
                await unmark(self._opened(), file_id)

    def _response(self, status: int, headers: Headers, body: bytes = b"", stream: Any = None) -> Any:
        return self.respond(status, headers, body, stream)


def _checked_owner(owner: str) -> str:
    if not isinstance(owner, str) or not 0 < len(owner) <= OWNER_MAX or _UNSEEN.search(owner):
        raise InvalidRequest(f"An owner of files is text of 1 to {OWNER_MAX} characters.", code="TF-FILES-OWNER")
    return owner
