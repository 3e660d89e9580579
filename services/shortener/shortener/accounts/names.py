"""Which names and passwords an account may have. Pure."""

from __future__ import annotations

import re

from shortener.links.codes import is_reserved
from shortener.refusal import Refusal

SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 200
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{1,30})[a-z0-9]\Z")
_FEW = 4
"""Different characters that a password has at least."""


def check_name(text: str) -> str:
    """The name in its one spelling (lower case), else `Refusal`: 3 to 32 letters, digits, `.-_`, not reserved."""
    name = text.strip().lower()
    if not name:
        raise Refusal("name", "name.empty")
    if not _NAME.match(name):
        raise Refusal("name", "name.letters")
    if is_reserved(name):
        raise Refusal("name", "name.reserved", name=name)
    return name


def looks_like_name(text: str) -> bool:
    """Whether there can be an account of that name at all."""
    return _NAME.match(text.strip().lower()) is not None


def check_password(password: str, name: str) -> str:
    """The password itself when a new account may have it, else `Refusal`.

    Length is what counts (NIST SP 800-63B, 5.1.1.2): no rules about capitals and digits, which people meet with `1!`.
    """
    if len(password) < SHORTEST_PASSWORD:
        raise Refusal("password", "password.short", least=SHORTEST_PASSWORD)
    if len(password) > LONGEST_PASSWORD:
        raise Refusal("password", "password.long", most=LONGEST_PASSWORD)
    if len(set(password)) < _FEW or password.lower() in (name, name * 2, name[::-1]):
        raise Refusal("password", "password.simple")
    return password
