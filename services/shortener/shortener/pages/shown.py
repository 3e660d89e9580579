"""Links as the templates show them, in a language. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from shortener.answers import Place
from shortener.api.orders import rfc3339
from shortener.links.table import Link
from shortener.links.urls import host_of
from shortener.words import Words


def shown(link: Link, place: Place, words: Words, now: datetime, owner: str | None = None) -> dict[str, Any]:
    """A link for a template; `owner` is who looks at it."""
    host = host_of(link.url)
    before, _, after = link.url.partition(host)
    short = f"{place.base}/{link.code}"
    return {
        "code": link.code,
        "short_url": short,
        "short_url_shown": f"{place.host}/{link.code}",
        "url": link.url,
        "continue_url": link.url if link.max_visits is None else short,
        "host": host,
        "url_before": before,
        "url_after": after,
        "created_day": words.day(link.created),
        "created_shown": words.moment(link.created),
        "created_machine": rfc3339(link.created),
        "expires": link.expires,
        "expires_shown": words.moment(link.expires) if link.expires else "",
        "expires_machine": rfc3339(link.expires) if link.expires else "",
        "max_visits": link.max_visits,
        "spent": link.spent,
        "ended": link.has_ended(now),
        "quarantined": link.quarantined,
        "quarantine_reason": link.quarantine_reason,
        "own": owner is not None and link.owner == owner,
    }
