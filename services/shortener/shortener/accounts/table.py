"""The tables of accounts and of their API keys, and their statements."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, insert, select, update

from shortener.model import tf
from tenfold import Column, Text, UtcDateTime, sharded_by

ID = 22
"""Characters of an account's id: a UUID in base 62."""

accounts = tf.table(
    "accounts",
    Column("name", Text(32), primary_key=True),
    Column("id", Text(ID), nullable=False),
    Column("password", Text(200), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    home=sharded_by("name"),
)
api_keys = tf.table(
    "api_keys",
    Column("owner", Text(ID), primary_key=True),
    Column("id", Text(12), primary_key=True),
    Column("hash", Text(64), nullable=False),
    Column("label", Text(60), nullable=False),
    Column("rights", Text(60), nullable=False),
    Column("name", Text(32), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("used", UtcDateTime),
    home=sharded_by("owner"),
)
gone_owners = tf.table(
    "gone_owners",
    Column("owner", Text(ID), primary_key=True),
    Column("since", UtcDateTime, nullable=False),
    home=sharded_by("owner"),
)

_a = accounts.c
FIND_ACCOUNT = select(_a.name, _a.id, _a.password, _a.created).where(_a.name == bindparam("name"))
INSERT_ACCOUNT = insert(accounts)
CHANGE_PASSWORD = update(accounts).where(_a.name == bindparam("of")).values(password=bindparam("to_password"))
DELETE_ACCOUNT = delete(accounts).where(_a.name == bindparam("name"))

_k = api_keys.c
_COLUMNS = (_k.owner, _k.id, _k.hash, _k.label, _k.rights, _k.name, _k.created, _k.used)
FIND_KEY = select(*_COLUMNS).where(_k.owner == bindparam("owner"), _k.id == bindparam("id"))
LIST_KEYS = select(*_COLUMNS).where(_k.owner == bindparam("owner")).order_by(_k.created, _k.id)
INSERT_KEY = insert(api_keys)
USE_KEY = update(api_keys).where(_k.owner == bindparam("of"), _k.id == bindparam("which")).values(used=bindparam("at"))
DELETE_KEY = delete(api_keys).where(_k.owner == bindparam("owner"), _k.id == bindparam("id"))
DELETE_KEYS = delete(api_keys).where(_k.owner == bindparam("owner"))

FIND_GONE = select(gone_owners.c.owner).where(gone_owners.c.owner == bindparam("owner"))
INSERT_GONE = insert(gone_owners)
