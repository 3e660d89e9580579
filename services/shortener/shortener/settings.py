"""The service's settings, from `[settings]` in tenfold.toml. Read when they are needed, so a change holds at once.

A value that is not allowed is replaced by the default and named in the log: a slip of the pen in a live setting must
not stop the redirects.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from shortener.model import tf

T = TypeVar("T")

_log = logging.getLogger("shortener")


def redirect_status() -> int:
    """302 (every visit comes by here) or 301 (browsers remember the redirect)."""
    return _setting("redirect_status", 302, (302, 301).__contains__, "301 or 302")


def redirect_max_age() -> int:
    """Seconds for which a browser or a shared cache may remember a 301."""
    return _setting("redirect_max_age", 86_400, _is_count, "a whole number of seconds")


def generator() -> str:
    """`permuted` (a number of its own for every link) or `hash` (one code for one address)."""
    return _setting("codes", "permuted", ("permuted", "hash").__contains__, '"permuted" or "hash"')


def code_key() -> str:
    """What the order of permuted codes depends on. Set it before the first link and leave it."""
    return _setting("code_key", "", _is_text, "a text")


def public_url() -> str:
    """The address in front of every code, as `https://sho.example`; empty: what the client asked for."""
    return _setting("public_url", "", _is_address, "an address such as https://sho.example").rstrip("/")


def admins() -> frozenset[str]:
    """The names of the accounts that may quarantine links of others."""
    return _names(_setting("admins", "", _is_text, 'names of accounts, such as "alice, bob"'))


@lru_cache(maxsize=4)
def _names(text: str) -> frozenset[str]:
    return frozenset(text.lower().replace(",", " ").split())


def limit_this_machine() -> bool:
    """Whether limits by address also hold for programs on this machine."""
    return _setting("limit_this_machine", False, _is_flag, "true or false")


def _setting(name: str, default: T, allowed: Callable[[Any], bool], words: str) -> T:
    value = tf.setting(name, None)
    if value is None:
        return default
    if not allowed(value):
        _complain(name, repr(value), words, repr(default))
        return default
    return value  # type: ignore[no-any-return]


@lru_cache(maxsize=64)
def _complain(name: str, found: str, words: str, default: str) -> None:
    _log.warning("settings.%s: found %s; allowed: %s; going on with %s", name, found, words, default)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and (not value or value.startswith(("http://", "https://")))


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)
