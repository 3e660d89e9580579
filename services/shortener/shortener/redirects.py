"""Redirects: the busiest answer of the service, so it is made once per target and given again and again."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from shortener import settings
from shortener.links.finding import find_link
from shortener.links.table import Link
from shortener.model import now
from shortener.visits.allowance import take_visit
from shortener.visits.record import record_visit
from tenfold import MISSING, Request, Response

# Every visit has to come by: nobody in between may answer for us.
_ASK_EVERY_TIME = "no-store"


def warm_redirect(request: Request, code: str) -> Response | None:
    """The hot route: answers when the link is in the cache and leads on, else leaves the request to the framework.

    The visit is recorded, which writes nothing here.
    """
    link = find_link.peek(code)
    if link is MISSING or link is None:
        return None
    moment = now() if link.expires else None
    if (link.expires or link.spent or link.deleted) and link.has_ended(moment or now()):
        return None
    if not link.leads_at_once and not _leads_on(link, request.method):
        return None
    if request.method == "GET":
        record_visit(code, request.header("referer"), request.header("user-agent"))
    return redirect(link, moment)


def follow_once(link: Link, method: str, referrer: str | None, agent: str | None) -> Response | None:
    """The redirect of a link that has not ended and is not quarantined, recorded; None when its visits were made."""
    if link.max_visits is not None and method == "GET" and not take_visit(link):
        return None
    if method == "GET":
        record_visit(link.code, referrer, agent)
    return redirect(link, now())


def _leads_on(link: Link, method: str) -> bool:
    if link.quarantined is not None:
        return False
    return method != "GET" or take_visit(link)


def redirect(link: Link, moment: datetime | None) -> Response:
    """The redirect of a link that has not ended at `moment`; a link without an end needs none."""
    status = settings.redirect_status() if link.max_visits is None else 302  # those visits are counted
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
