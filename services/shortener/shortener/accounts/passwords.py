"""Passwords hashed with Argon2id (RFC 9106), in threads: a hash takes 50 ms and 64 MB, which no loop may wait for."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

AT_ONCE = 2
"""Hashes at a time, and so 128 MB at most; further ones wait."""

_hasher = PasswordHasher()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, "passwords")


@cache
def _nobodys() -> str:
    """A hash of no account's password, for names that nobody has: their answer takes as long as any other."""
    return _hasher.hash("a password that nobody has")


async def hashed(password: str) -> str:
    """The hash to store; it carries its salt and parameters."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), _hasher.hash, password)


async def is_right(stored: str | None, password: str) -> bool:
    """Whether `password` is the one that was hashed; never for `stored` None, and after the same work."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), _verify, stored, password)


def is_outdated(stored: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _hasher.check_needs_rehash(stored)


def _verify(stored: str | None, password: str) -> bool:
    try:
        return _hasher.verify(stored or _nobodys(), password) and stored is not None
    except (Argon2Error, InvalidHashError):
        return False
