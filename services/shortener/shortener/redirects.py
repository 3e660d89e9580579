"""Redirects: the busiest answer of the service, so it is made once per target and given again and again."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from shortener import settings
from shortener.links import Link, find_link, now
from tenfold import MISSING, Request, Response

# Every visit has to come by: nobody in between may answer for us.
_ASK_EVERY_TIME = "no-store"


def warm_redirect(request: Request, code: str) -> Response | None:
    """The hot route: answers when the link is in the cache and lives, else leaves the request to the framework."""
    link = find_link.peek(code)
    if link is MISSING or link is None:
        return None
    moment = now() if link.expires else None
    return None if moment and link.has_ended(moment) else redirect(link, moment)


def redirect(link: Link, moment: datetime | None) -> Response:
    """The redirect of a link that has not ended at `moment`; a link without an end needs none."""
    status = settings.redirect_status()
    max_age = settings.redirect_max_age() if status == 301 else 0
    if link.expires is None:
        return redirect_to_stay(link.url, status, max_age)
    assert moment is not None, "a link that ends is judged by the time"
    # A remembered redirect must not outlive its link.
    return _redirect(link.url, status, min(max_age, int((link.expires - moment).total_seconds())))


@lru_cache(maxsize=20_000)
def redirect_to_stay(url: str, status: int, max_age: int) -> Response:
    """The redirect to a target for ever; the same object for the same arguments."""
    return _redirect(url, status, max_age)


def _redirect(url: str, status: int, max_age: int) -> Response:
    caching = f"public, max-age={max_age}" if status == 301 else _ASK_EVERY_TIME
    headers = [(b"cache-control", caching.encode()), (b"x-robots-tag", b"noindex")]
    return Response.redirect(url, status, headers)
