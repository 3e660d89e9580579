"""What is kept of a visit: the host that it came from, and the kind of device. Pure.

Both come from headers that anybody can forge, so they are cut down to a host name and one of five words.
"""

from __future__ import annotations

import re
from functools import lru_cache

from shortener.visits.table import VALUE

DIRECT = ""
OTHER = "other"
PHONE, TABLET, COMPUTER, PROGRAM = "phone", "tablet", "computer", "program"
DEVICES = (COMPUTER, PHONE, TABLET, PROGRAM, OTHER)

_HEADER = 300
"""Characters of a header that are looked at."""
_HOST = re.compile(r"https?://([a-z0-9._-]+)(?::[0-9]{1,5})?(?:[/?#]|\Z)", re.IGNORECASE)
_PROGRAM = re.compile(
    r"bot\b|bot/|crawl|spider|slurp|curl|wget|python|httpx|okhttp|java/|go-http|axios|node|preview|facebookexternalhit",
    re.IGNORECASE,
)
_TABLET = re.compile(r"ipad|tablet|kindle|silk/|android(?!.*mobile)", re.IGNORECASE)
_PHONE = re.compile(r"iphone|ipod|android|mobile|phone", re.IGNORECASE)
_COMPUTER = re.compile(r"windows nt|macintosh|x11|cros |linux", re.IGNORECASE)


@lru_cache(maxsize=4096)
def referrer_of(header: str | None) -> str:
    """The host of a `Referer`, without `www.`; `DIRECT` without one, `OTHER` when it names none."""
    if not header:
        return DIRECT
    found = _HOST.match(header[:_HEADER])
    if found is None:
        return OTHER
    host = found[1].lower().removeprefix("www.").strip(".")
    return host if 0 < len(host) <= VALUE else OTHER


@lru_cache(maxsize=4096)
def device_of(header: str | None) -> str:
    """The kind of device that a `User-Agent` speaks of, one of `DEVICES`."""
    if not header:
        return OTHER
    text = header[:_HEADER]
    for pattern, kind in ((_PROGRAM, PROGRAM), (_TABLET, TABLET), (_PHONE, PHONE), (_COMPUTER, COMPUTER)):
        if pattern.search(text):
            return kind
    return OTHER
