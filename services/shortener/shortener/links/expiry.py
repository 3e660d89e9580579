"""When a link ends: `7d`, `90` seconds or a moment in RFC 3339, as a moment in UTC. Pure: the caller tells the time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from shortener.refusal import Refusal

LONGEST = timedelta(days=3650)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"([0-9]{1,12})\s*([smhdw]?)\Z", re.ASCII)
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})\Z", re.ASCII)


def moment_of(expires_in: int | str | None, expires_at: str | None, now: datetime) -> datetime | None:
    """The moment (UTC) after which the link is gone, None for never; `Refusal` when it is past, too far or unreadable.

    At most one of the two may be given. An empty text counts as not given, as a form sends it.
    """
    if expires_in in (None, "") and expires_at in (None, ""):
        return None
    if expires_in not in (None, "") and expires_at not in (None, ""):
        raise Refusal("expires", "expires.both")
    if expires_at:
        moment = _parse_moment(expires_at)
    else:
        assert expires_in is not None
        moment = now + min(_parse_duration(expires_in), LONGEST * 2)
    if moment <= now:
        raise Refusal("expires", "expires.past")
    if moment > now + LONGEST:
        raise Refusal("expires", "expires.far")
    return moment


def _parse_duration(value: int | str) -> timedelta:
    found = _DURATION.match(str(value).strip().lower())
    if found is None:
        raise Refusal("expires", "expires.duration")
    # A bound before the multiplication keeps timedelta from overflowing.
    seconds = min(int(found[1]) * _UNITS[found[2] or "s"], int(LONGEST.total_seconds()) * 2)
    return timedelta(seconds=seconds)


def _parse_moment(text: str) -> datetime:
    if _RFC3339.match(text):
        try:
            return datetime.fromisoformat(text.upper().replace("Z", "+00:00")).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise Refusal("expires", "expires.moment")
