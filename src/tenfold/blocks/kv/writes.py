"""What is done inside a transaction of an entry's place. Every write of a key has a version above all before it.

An entry that is there counts on from its own version. One that is not begins above the floor of its bucket, which no
entry that was ever removed from that bucket is above; removing one lifts the floor to its version, in the same
transaction. So no version of a key comes back, whatever the clock does, and a compare-and-set that was made of an older
life of the key cannot succeed (`proof` in tests/conformance/kv). It needs SERIALIZABLE: floor and entry are two rows.
"""

from __future__ import annotations

from sqlalchemy import bindparam, delete, insert, select, update

from tenfold.blocks.database import Transaction
from tenfold.blocks.database.keys import bucket_of
from tenfold.blocks.database.own.kv import tf_kv, tf_kv_floor
from tenfold.blocks.kv.policy import At, Stored, alive

_HERE = (tf_kv.c.place == bindparam("at_place")) & (tf_kv.c.name == bindparam("at_name"))
_OF_BUCKET = tf_kv_floor.c.bucket == bindparam("of_bucket")

FIND = select(tf_kv.c.kind, tf_kv.c.value, tf_kv.c.version, tf_kv.c.expires_us).where(_HERE)
_LOOK = select(tf_kv.c.version, tf_kv.c.expires_us).where(_HERE)
_COUNT_ON = (
    update(tf_kv)
    .where(_HERE)
    .values(
        kind=bindparam("to_kind"),
        value=bindparam("to_value"),
        expires_us=bindparam("to_expires_us", required=True),
        version=tf_kv.c.version + 1,
    )
    .returning(tf_kv.c.version)
)
_MAKE = insert(tf_kv)
_REMOVE = delete(tf_kv).where(_HERE)

_FLOOR = select(tf_kv_floor.c.version).where(_OF_BUCKET)
_LIFT = update(tf_kv_floor).where(_OF_BUCKET).values(version=bindparam("to_version"))
_LAY = insert(tf_kv_floor)


async def put(tx: Transaction, at: At, new: Stored, now_us: int) -> int:
    """Writes the value, whatever was there; its version."""
    expires_us = new.expires_us(now_us)
    version = await tx.scalar(
        _COUNT_ON, at_place=at.place, at_name=at.name, to_kind=new.kind, to_value=new.data, to_expires_us=expires_us
    )
    return await _make(tx, at, new, expires_us) if version is None else int(version)


async def cas(tx: Transaction, at: At, expected: int | None, new: Stored, now_us: int) -> int | None:
    """Writes the value if the key has just this version (None: no value); its version, or None when it has not."""
    found = await tx.one_or_none(_LOOK, at_place=at.place, at_name=at.name)
    there = found.version if found is not None and alive(found.expires_us, now_us) else None
    return await put(tx, at, new, now_us) if there == expected else None


async def remove(tx: Transaction, at: At, version: int | None, now_us: int) -> bool:
    """Removes the entry, or only this version of it; whether there was a value. What had expired goes too."""
    found = await tx.one_or_none(_LOOK, at_place=at.place, at_name=at.name)
    if found is None or (version is not None and found.version != version):
        return False
    await tx.run(_REMOVE, at_place=at.place, at_name=at.name)
    await _lift(tx, bucket_of(at.place), found.version)
    return alive(found.expires_us, now_us)


async def clear(tx: Transaction, at: At, now_us: int) -> bool:
    """Removes the entry if it has expired."""
    found = await tx.one_or_none(_LOOK, at_place=at.place, at_name=at.name)
    if found is None or alive(found.expires_us, now_us):
        return False
    return not await remove(tx, at, None, now_us)


async def _make(tx: Transaction, at: At, new: Stored, expires_us: int | None) -> int:
    floor = await tx.scalar(_FLOOR, of_bucket=bucket_of(at.place))
    version = 1 if floor is None else int(floor) + 1
    row = {"kind": new.kind, "value": new.data, "expires_us": expires_us, "version": version}
    await tx.run(_MAKE, place=at.place, name=at.name, **row)
    return version


async def _lift(tx: Transaction, bucket: int, version: int) -> None:
    floor = await tx.scalar(_FLOOR, of_bucket=bucket)
    if floor is None:
        await tx.run(_LAY, bucket=bucket, version=version)
    elif floor < version:
        await tx.run(_LIFT, of_bucket=bucket, to_version=version)
