"""Signing up, logging in and out, and leaving for good."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shortener import settings
from shortener.accounts.leaving import forget_owner
from shortener.accounts.names import check_name, check_password, looks_like_name
from shortener.accounts.passwords import hashed, is_outdated, is_right
from shortener.accounts.table import CHANGE_PASSWORD, DELETE_ACCOUNT, FIND_ACCOUNT, INSERT_ACCOUNT
from shortener.links.codes import base62
from shortener.measures import ACCOUNTS_MADE
from shortener.model import now, tf
from shortener.refusal import Refusal
from tenfold import Transaction


@dataclass(frozen=True, slots=True)
class Account:
    """An account. `id` is what links and keys belong to: who takes a name that was given up gets nothing of before."""

    name: str
    id: str
    password: str
    created: datetime


async def sign_up(name: str, password: str) -> Account:
    """Makes an account and logs it in; `Refusal` when the name or the password cannot be."""
    name = check_name(name)
    check_password(password, name)
    if name in settings.admins():  # named before it exists: nobody may become an administrator by being quick
        raise Refusal("name", "name.reserved", name=name)
    account = Account(name, base62(tf.ids.uuid7().int).rjust(22, "0"), await hashed(password), now())
    if not await _insert(name, account):
        raise Refusal("name", "name.taken", status=409, name=name)
    ACCOUNTS_MADE.add()
    await begin_session(account)
    return account


async def log_in(name: str, password: str) -> Account:
    """Logs in; `Refusal` with one sentence for a wrong name and a wrong password, after the same work."""
    account = await find_account(name.strip().lower()) if looks_like_name(name) else None
    right = await is_right(None if account is None else account.password, password)
    if account is None or not right:
        raise Refusal("body", "login.wrong", status=401)
    if is_outdated(account.password):
        await _set_password(account.name, account.id, await hashed(password))
    await begin_session(account)
    return account


async def change_password(name: str, old: str, new: str) -> None:
    """Sets another password and ends all other sessions; `Refusal` of field `old` or `password`."""
    account = await _proven(name, old)
    check_password(new, name)
    await _set_password(name, account.id, await hashed(new))
    await tf.sessions.revoke_all(account.id)
    await begin_session(account)


async def leave(name: str, password: str) -> None:
    """Deletes an account with its links, figures and keys; `Refusal` of field `old` when the password is wrong.

    The account is gone at once, what it made is deleted by a job, which begins with the keys.
    """
    account = await _proven(name, password)
    await _delete(name, account.id)
    await tf.sessions.revoke_all(account.id)
    await tf.sessions.logout()


async def begin_session(account: Account) -> None:
    """A new session id, so that nobody who knew the one before is logged in with it."""
    await tf.sessions.login(account.id, name=account.name)


async def find_account(name: str) -> Account | None:
    """The account of that name."""
    async with tf.database.read(key=name) as db:
        row = await db.one_or_none(FIND_ACCOUNT, name=name)
    return None if row is None else Account(row.name, row.id, row.password, row.created)


async def _proven(name: str, password: str) -> Account:
    account = await find_account(name)
    if not await is_right(None if account is None else account.password, password) or account is None:
        raise Refusal("old", "password.wrong", status=403)
    return account


@tf.database.transaction(key="name")
async def _insert(tx: Transaction, name: str, account: Account) -> bool:
    if await tx.one_or_none(FIND_ACCOUNT, name=name) is not None:
        return False
    await tx.run(INSERT_ACCOUNT, name=name, id=account.id, password=account.password, created=account.created)
    return True


@tf.database.transaction(key="name")
async def _set_password(tx: Transaction, name: str, account_id: str, password: str) -> None:
    row = await tx.one_or_none(FIND_ACCOUNT, name=name)
    if row is not None and row.id == account_id:
        await tx.run(CHANGE_PASSWORD, of=name, to_password=password)


@tf.database.transaction(key="name")
async def _delete(tx: Transaction, name: str, account_id: str) -> None:
    row = await tx.one_or_none(FIND_ACCOUNT, name=name)
    if row is not None and row.id == account_id:
        await tx.run(DELETE_ACCOUNT, name=name)
        await tf.tasks.enqueue(tx, forget_owner, account_id)
