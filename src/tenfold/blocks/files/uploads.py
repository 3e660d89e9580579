"""One upload, from its first piece to its row.

The bytes go into a draft piece by piece, judged as they come; then the upload is marked as in doubt, its bytes become
durable, its row is committed, and the mark is taken off. Whoever dies in between leaves a mark, by which the caretaker
finds what has no row. So nothing has to be compared with the whole store, and a store whose database was lost or is the
wrong one is never emptied.

Each upload is an object of its own, even if another has the same bytes: counting references would need the store and
the database to agree in one step, and an upload that races the deletion of the last reference could lose its bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tenfold.blocks.files.http import Span
from tenfold.blocks.files.kinds import HEAD_BYTES, OTHER, TEXT, TextCheck, Types, kind_of
from tenfold.blocks.files.rows import ALL, QuotaExceeded, Row, Rows
from tenfold.blocks.files.store import Draft, Store
from tenfold.core.clock import Clock
from tenfold.core.errors import InvalidRequest, StorageFull, TenfoldError, Unavailable, UnknownOutcome

DOUBT = "doubt"
"""Where the marks of uploads and deletions under way lie in the store."""
DOUBT_S = 3600.0
"""After so long the caretaker looks at a mark."""
SURE_S = DOUBT_S / 2
"""An upload whose row came later than this after its mark looks whether its bytes are still there."""
GATHERED = 256 * 1024
"""Bytes that are handed to the store at once."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

log = logging.getLogger("tenfold.files")


class FileTooLarge(InvalidRequest):
    """The upload is larger than its limit; nothing of it was kept."""

    code = "TF-FILES-SIZE"
    title = "The file is too large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The file is larger than {limit:,} bytes.", hint="Send a smaller one.", status=413)


class TypeRefused(InvalidRequest):
    """The upload is of a type that is not taken here, by its own bytes; nothing of it was kept."""

    code = "TF-FILES-TYPE"
    title = "The file is of a type that is not taken here"

    def __init__(self, kind: str, types: Types) -> None:
        allowed = ", ".join(types.patterns or ())
        super().__init__(f"The file is {kind} by its content; allowed: {allowed}.", status=415)


@dataclass(frozen=True, slots=True)
class File:
    """An upload: what it is, and its bytes. `sha256` in hex; `name` is one line without a path, as its sender called
    it; `type` is what its bytes say; `created` in UTC."""

    id: str
    name: str
    type: str
    size: int
    sha256: str
    owner: str | None
    created: datetime
    _store: Store = field(repr=False, compare=False)

    def pieces(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` to `stop` (not included), as they are read from the store."""
        stop = self.size if stop is None else min(stop, self.size)
        return self._store.open(self.id, Span(min(max(start, 0), stop), stop))

    async def bytes(self, limit: int = 10 * 1024 * 1024) -> bytes:
        """The whole content; `FileTooLarge` above `limit` bytes."""
        if self.size > limit:
            raise FileTooLarge(limit)
        return b"".join([piece async for piece in self.pieces()])


def file_of(row: Row, store: Store) -> File:
    """The upload of a row."""
    created = _EPOCH + timedelta(microseconds=row.created_us)
    return File(row.id, row.name, row.kind, row.size, row.sha256.hex(), row.owner or None, created, store)


@dataclass(frozen=True, slots=True)
class Rules:
    """What an upload must keep to: bytes, types, and the quotas of its owner and of all (`ALL`)."""

    limit: int
    types: Types
    quotas: Mapping[str, int | None]


class Upload:
    """An upload under way: `write` the pieces, then `finish`; `abort` in every other case."""

    def __init__(self, row: Row, rules: Rules, store: Store, rows: Rows, clock: Clock) -> None:
        self._row = row
        self._rules = rules
        self._store = store
        self._rows = rows
        self._clock = clock
        self.repeated = False
        """Whether what it made is of an earlier request with the same Idempotency-Key."""
        self._draft: Draft | None = None
        self._gathered = bytearray()
        self._sha256 = hashlib.sha256()
        self._text = TextCheck()
        self._size = 0
        self._kind = ""
        self._left = _least_left(rules, {})

    async def check_room(self) -> None:
        """Refuses at once what cannot fit, and bounds the rest. The last word is the row's transaction."""
        self._left = _least_left(self._rules, await self._rows.used(self._row.owner))
        if self._left[0] <= 0:
            raise QuotaExceeded(*self._left[1:])

    async def write(self, piece: bytes) -> None:
        """The next piece. `FileTooLarge`, `QuotaExceeded`, `TypeRefused` or `StorageFull` as soon as it is known."""
        self._size += len(piece)
        if self._size > self._rules.limit:
            raise FileTooLarge(self._rules.limit)
        if self._size > self._left[0]:
            raise QuotaExceeded(*self._left[1:])
        self._gathered += piece
        if not self._kind and len(self._gathered) >= HEAD_BYTES:
            self._tell()
        if len(self._gathered) >= GATHERED:
            await self._pass_on()

    async def finish(self) -> File:
        """Makes bytes and row durable, in this order."""
        if not self._kind:
            self._tell()
        await self._pass_on(final=True)
        kind = OTHER if self._kind == TEXT and not self._text.is_text else self._kind
        if not self._rules.types.allow(kind):
            raise TypeRefused(kind, self._rules.types)
        assert self._draft is not None, "something was passed on, if only nothing"
        marked = self._clock.monotonic()
        await mark(self._store, self._row.id)
        with _full():
            await self._draft.finish()
        return await self._committed(kind, marked)

    async def abort(self) -> None:
        """Nothing of it stays."""
        if self._draft is not None:
            await self._draft.abort()

    async def _committed(self, kind: str, marked: float) -> File:
        made = Row(
            self._row.id, self._row.name, kind, self._size, self._sha256.digest(), self._row.owner,
            self._clock.wall_us(),
        )  # fmt: skip
        try:
            kept = await self._rows.add(made, self._rules.quotas)
        except UnknownOutcome:
            raise  # the caretaker sees later whether there is a row
        except TenfoldError:
            await discard(self._store, made.id)
            raise
        if kept != made.id:  # a keyed request came again: what it made the first time stands
            self.repeated = True
            await discard(self._store, made.id)
            row = await self._rows.find(kept, strong=True)
            if row is None:
                raise Unavailable("The file of this request was deleted since.", retry_after_s=60.0)
            return file_of(row, self._store)
        if self._clock.monotonic() - marked > SURE_S and await self._store.size(made.id) is None:
            await self._rows.drop(made.id)
            raise Unavailable("The upload was held up for too long, and was given up.", code="TF-FILES-LATE")
        await unmark(self._store, made.id)
        return file_of(made, self._store)

    def _tell(self) -> None:
        self._kind = kind_of(bytes(self._gathered[:HEAD_BYTES]))
        if not self._rules.types.allow(self._kind):
            raise TypeRefused(self._kind, self._rules.types)

    async def _pass_on(self, final: bool = False) -> None:
        piece, self._gathered = bytes(self._gathered), bytearray()
        self._sha256.update(piece)
        if self._kind == TEXT:
            self._text.feed(piece, final)
        with _full():
            if self._draft is None:
                self._draft = await self._store.begin(self._row.id)
            await self._draft.write(piece)


def _least_left(rules: Rules, used: Mapping[str, int]) -> tuple[int, str, int]:
    """Bytes that fit at most, and whose quota says so."""
    bounds = [(quota - used.get(owner, 0), owner, quota) for owner, quota in rules.quotas.items() if quota is not None]
    return min(bounds, default=(rules.limit + 1, ALL, 0))


class _full(contextlib.AbstractContextManager[None]):  # noqa: N801 - reads as a statement
    """A full disk is told to the client without the path, which is in the log."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StorageFull):
            log.error("An upload cannot be saved: %s", error)
            raise StorageFull(
                "There is no room for the file.", hint="Nothing of it was kept; try again later."
            ) from error


async def mark(store: Store, name: str) -> None:
    """Says that row and bytes of an upload may disagree from now on. A power cut may take it, and then leaves bytes
    that take room; never a row without them."""
    with _full():
        draft = await store.begin(f"{DOUBT}/{name}", durable=False)
        try:
            await draft.finish()
        except BaseException:
            await draft.abort()
            raise


async def unmark(store: Store, name: str) -> None:
    """Says that they agree. A mark that stays is looked at by the caretaker, and does no harm."""
    with contextlib.suppress(TenfoldError):
        await store.delete(f"{DOUBT}/{name}")


async def discard(store: Store, name: str) -> None:
    """Removes bytes that have no row, and their mark; what fails is left to the caretaker."""
    try:
        await store.delete(name)
    except TenfoldError as error:
        log.warning("The bytes of %s are removed later: %s", name, error)
    else:
        await unmark(store, name)
