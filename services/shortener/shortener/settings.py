"""The service's settings, from `[settings]` in tenfold.toml. Read when they are needed, so a change holds at once."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

from shortener.model import tf

_log = logging.getLogger("shortener")


def redirect_status() -> int:
    """302 (every visit comes by here) or 301 (browsers remember the redirect)."""
    status: int = _choice("redirect_status", tf.setting("redirect_status", 302), (302, 301))
    return status


def redirect_max_age() -> int:
    """Seconds for which a browser or a shared cache may remember a 301."""
    seconds = tf.setting("redirect_max_age", 86_400)
    return seconds if isinstance(seconds, int) and seconds >= 0 else 86_400


def generator() -> str:
    """`permuted` (a number of its own for every link) or `hash` (one code for one address)."""
    name: str = _choice("codes", tf.setting("codes", "permuted"), ("permuted", "hash"))
    return name


def code_key() -> str:
    """What the order of permuted codes depends on. Set it before the first link and leave it."""
    return str(tf.setting("code_key", ""))


def public_url() -> str:
    """The address in front of every code, as `https://sho.example`; empty: what the client asked for."""
    return str(tf.setting("public_url", "")).rstrip("/")


def _choice(name: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    """`value` when it is allowed; else the first allowed one, and a line in the log: a slip of the pen in a live
    setting must not stop the redirects."""
    if value in allowed:
        return value
    _complain(name, repr(value), " or ".join(map(repr, allowed)))
    return allowed[0]


@lru_cache(maxsize=64)
def _complain(name: str, found: str, allowed: str) -> None:
    _log.warning("setting %s is %s; allowed is %s, and the first is used", name, found, allowed)
