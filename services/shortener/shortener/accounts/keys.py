"""API keys: `sho_OWNER_SECRET`. Shown once; what is stored is a hash, by which nobody can be anybody.

The owner's id is in the key, so that a key is looked up where its owner's rows live. A secret of 128 random bits needs
no slow hash: SHA-256 is enough.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from shortener.accounts.table import DELETE_KEY, FIND_GONE, FIND_KEY, INSERT_KEY, LIST_KEYS, USE_KEY
from shortener.links.codes import base62
from shortener.model import now, tf
from shortener.refusal import Refusal
from tenfold import Event, Transaction

LINKS, QUARANTINE = "links", "quarantine"
RIGHTS = (LINKS, QUARANTINE)
"""`links`: the owner's links, figures and keys. `quarantine`: anybody's links, while the owner is an administrator."""
MOST = 20
"""Keys of an account at most."""
LABEL = 60
USED = "key.used"
USED_EVERY = timedelta(minutes=1)
"""The last use is kept to the minute."""

_KEY = re.compile(r"sho_([0-9A-Za-z]{22})_([0-9A-Za-z]{22})\Z")
_ID = 12


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as its owner sees it: everything but the secret. `name` is the owner's."""

    owner: str
    id: str
    hash: str
    label: str
    rights: tuple[str, ...]
    name: str
    created: datetime
    used: datetime | None


def digest_of(key: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def check_label(text: str) -> str:
    """The name that a person gave a key, else `Refusal`."""
    label = " ".join(text.split())
    if not label:
        raise Refusal("label", "key.label_empty")
    if len(label) > LABEL or not label.isprintable():
        raise Refusal("label", "key.label_long", most=LABEL)
    return label


async def make_key(owner: str, name: str, label: str, rights: tuple[str, ...] = (LINKS,)) -> tuple[ApiKey, str | None]:
    """A new key with the text to show, once; `Refusal` when the account has `MOST` already, or is gone (401).

    The text is None when a repeated Idempotency-Key gave the key of the first time: that was shown then.
    """
    text = f"sho_{owner}_{base62(tf.randomness.bits(128)).rjust(22, '0')}"
    made = ApiKey(owner, digest_of(text)[:_ID], digest_of(text), label, rights, name, now(), None)
    stored = await _insert(owner, made)
    if stored is None:
        raise Refusal("label", "key.too_many", status=409, most=MOST)
    return stored, text if stored.hash == made.hash else None


@tf.database.transaction(key="owner")
async def _insert(tx: Transaction, owner: str, key: ApiKey) -> ApiKey | None:
    if await tx.one_or_none(FIND_GONE, owner=owner) is not None:
        raise Refusal("body", "key.wrong", status=401)  # by a request that was on its way while the account ended
    if len(await tx.all(LIST_KEYS, owner=owner)) >= MOST:
        return None
    await tx.run(
        INSERT_KEY, owner=owner, id=key.id, hash=key.hash, label=key.label, rights=" ".join(key.rights), name=key.name,
        created=key.created,
    )  # fmt: skip
    tf.cache.invalidate(tx, find_key, owner, key.id)
    return key


async def keys_of(owner: str) -> list[ApiKey]:
    """The keys of an account, the oldest first."""
    async with tf.database.read(key=owner) as db:
        return [_key_of(row) for row in await db.all(LIST_KEYS, owner=owner)]


@tf.database.transaction(key="owner")
async def revoke_key(tx: Transaction, owner: str, key_id: str) -> bool:
    """Ends a key at once in all processes; False when there is none of that id."""
    if await tx.one_or_none(FIND_KEY, owner=owner, id=key_id) is None:
        return False
    await tx.run(DELETE_KEY, owner=owner, id=key_id)
    tf.cache.invalidate(tx, find_key, owner, key_id)
    return True


@tf.cache.read("key:{owner}:{key_id}", ttl="10m", none_ttl="30s")
async def find_key(owner: str, key_id: str) -> ApiKey | None:
    """The key of that id."""
    async with tf.database.read(key=owner) as db:
        row = await db.one_or_none(FIND_KEY, owner=owner, id=key_id)
    return None if row is None else _key_of(row)


async def key_of(text: str) -> ApiKey | None:
    """The key that a program sent, if it is one in force; its use is noted."""
    found = _KEY.match(text)
    if found is None:
        return None
    digest = digest_of(text)
    key = await find_key(found[1], digest[:_ID])
    if key is None or not hmac.compare_digest(key.hash, digest):
        return None
    _note_use(key)
    return key


_noted: dict[tuple[str, str], datetime] = {}


def _note_use(key: ApiKey) -> None:
    """Records a use, at most every `USED_EVERY` for each key in a process."""
    at = now()
    if at - _noted.get((key.owner, key.id), key.created - USED_EVERY) >= USED_EVERY:
        if len(_noted) >= 10_000:
            _noted.clear()
        _noted[key.owner, key.id] = at
        tf.events.record(USED, {"owner": key.owner, "id": key.id})


@tf.events.subscriber(USED, name="key-uses", batch=500, wait="1s")
async def note_uses(batch: list[Event]) -> None:
    """Writes when keys were used last."""
    latest = {(event.data["owner"], event.data["id"]): event.at for event in batch}
    for (owner, key_id), at in sorted(latest.items()):
        await _used(owner, key_id, at)


@tf.database.transaction(key="owner")
async def _used(tx: Transaction, owner: str, key_id: str, at: datetime) -> None:
    await tx.run(USE_KEY, of=owner, which=key_id, at=at)


def _key_of(row: object) -> ApiKey:
    names = ("owner", "id", "hash", "label", "rights", "name", "created", "used")
    values = {name: getattr(row, name) for name in names}
    return ApiKey(**{**values, "rights": tuple(values["rights"].split())})
