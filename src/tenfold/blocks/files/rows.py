"""The rows of uploads, and what each owner has. All of it is at home: one transaction counts and inserts."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.database.own.files import tf_file, tf_file_usage
from tenfold.core.clock import Clock
from tenfold.core.errors import Conflict, InvalidRequest

ALL = ""
"""Whose usage is that of all owners together."""
TRIES = 5
LIST_MAX = 1000

_USED = select(tf_file_usage.c.owner, tf_file_usage.c.bytes).where(
    tf_file_usage.c.owner.in_(bindparam("owners", expanding=True))
)
_COUNT = (
    update(tf_file_usage)
    .where(tf_file_usage.c.owner == bindparam("of"))
    .values(bytes=tf_file_usage.c.bytes + bindparam("more"), files=tf_file_usage.c.files + bindparam("more_files"))
    .returning(tf_file_usage.c.bytes)
)
_BEGIN = insert(tf_file_usage)
_ADD = insert(tf_file)
_FIND = select(tf_file).where(tf_file.c.id == bindparam("of"))
_DROP = delete(tf_file).where(tf_file.c.id == bindparam("of")).returning(tf_file.c.owner, tf_file.c.size)
_OF_OWNER = (
    select(tf_file)
    .where((tf_file.c.owner == bindparam("of")) & (tf_file.c.id > bindparam("after")))
    .order_by(tf_file.c.id)
    .limit(bindparam("count"))
)


class QuotaExceeded(InvalidRequest):
    """The upload would take its owner, or all together, above the quota; nothing of it was kept."""

    code = "TF-FILES-QUOTA"
    title = "There is no room for the file"

    def __init__(self, owner: str, quota: int) -> None:
        whose = "This owner's files" if owner else "All files together"
        super().__init__(
            f"{whose} may take {quota:,} bytes, and the upload does not fit any more.",
            hint="Delete files that are not needed.",
            status=507,
        )


class Row(msgspec.Struct, frozen=True):
    """One upload, as the table has it."""

    id: str
    name: str
    kind: str
    size: int
    sha256: bytes
    owner: str
    created_us: int


class Rows:
    """Reads and writes the rows. Counting waits for a row that another upload counts just then (READ COMMITTED): each
    statement is right by itself, and a replay of hot rows would only wait longer."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._add = database.transaction(isolation="read committed")(self._add_in)
        self._drop = database.transaction(isolation="read committed")(self._drop_in)

    async def used(self, owner: str) -> Mapping[str, int]:
        """Bytes of the owner's files, and of all (`ALL`)."""
        async with self._database.read() as db:
            found = await db.all(_USED, owners=sorted({owner, ALL}))
        return {owner: 0, ALL: 0} | {row.owner: row.bytes for row in found}

    async def find(self, of: str, *, strong: bool = False) -> Row | None:
        """The row of an upload."""
        async with self._database.read(consistency="strong" if strong else "session") as db:
            found = await db.one_or_none(_FIND, of=of)
        return None if found is None else Row(*found)

    async def of(self, owner: str, after: str, count: int) -> list[Row]:
        """An owner's uploads in the order of their ids."""
        async with self._database.read() as db:
            return [Row(*found) for found in await db.all(_OF_OWNER, of=owner, after=after, count=count)]

    async def add(self, row: Row, quotas: Mapping[str, int | None]) -> str:
        """Inserts the row and counts it; its id, or that of the row that a keyed request made before.

        `QuotaExceeded` when an owner of `quotas` would be above its own.
        """
        for _ in range(TRIES - 1):
            try:
                return await self._add(row, quotas)
            except Conflict:  # another process began to count for this owner just now
                continue
        return await self._add(row, quotas)

    async def drop(self, of: str) -> bool:
        """Removes the row and counts it off; whether there was one."""
        return await self._drop(of)

    async def _add_in(self, tx: Transaction, row: Row, quotas: Mapping[str, int | None]) -> str:
        for owner in sorted(quotas, reverse=True):  # always in this order, and the row that all wait for last
            quota, used = quotas[owner], await self._counted(tx, owner, row.size)
            if quota is not None and used > quota:
                raise QuotaExceeded(owner, quota)
        await tx.run(_ADD, **msgspec.structs.asdict(row))
        return row.id

    @staticmethod
    async def _counted(tx: Transaction, owner: str, size: int) -> int:
        used = await tx.scalar(_COUNT, of=owner, more=size, more_files=1)
        if used is None:
            await tx.run(_BEGIN, owner=owner, bytes=size, files=1)
            used = size
        return int(used)

    @staticmethod
    async def _drop_in(tx: Transaction, of: str) -> bool:
        found = await tx.one_or_none(_DROP, of=of)
        if found is None:
            return False
        for owner in sorted({found.owner, ALL}, reverse=True):
            await tx.run(_COUNT, of=owner, more=-found.size, more_files=-1)
        return True
