"""A person's links: the list, the edit, the figures."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from shortener.accounts.who import Who, person
from shortener.answers import place_of
from shortener.api.links import owned
from shortener.api.orders import check_visits, rfc3339
from shortener.links.changing import UNSET, Change, change_link, delete_link
from shortener.links.codes import looks_like_code
from shortener.links.expiry import moment_of
from shortener.links.listing import links_of
from shortener.links.table import Link
from shortener.links.urls import canonical_url
from shortener.measures import ACTIVE_ACCOUNTS
from shortener.model import now
from shortener.pages.home import count_of
from shortener.pages.shell import ENDINGS, Values, page, read_form, refusal_of, see, with_retry, words_of
from shortener.pages.shown import shown
from shortener.refusal import Refusal
from shortener.visits.figures import LONGEST, TOP, Figures, read_figures, total_of
from shortener.visits.plot import plot
from shortener.words import Words
from tenfold import TenfoldError

FIELDS = ("url", "expires_in", "max_visits")
KEEP = "keep"
SPANS = (7, 30, 90, 365)


class LoginNeeded(Exception):
    """A page for people with an account; `path` is where they wanted to go."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


async def member(request: Request) -> Who:
    """Who is logged in; `LoginNeeded` for a visitor."""
    who = await person()
    if who is None:
        raise LoginNeeded(request.url.path if request.method == "GET" else "/dashboard")
    return who


async def list_page(request: Request) -> Response:
    """`GET /dashboard`: the links of the person, the newest first."""
    who = await member(request)
    ACTIVE_ACCOUNTS.add(who.owner)
    after = request.query_params.get("after", "")
    deleted = request.query_params.get("deleted", "")
    found = await links_of(who.owner, after)
    # The list hears of a deletion a moment later; who just deleted a link does not want to see it.
    links = [link for link in found.links if link.code != deleted]
    totals = await asyncio.gather(*(total_of(link.code) for link in links))
    words, place = words_of(request), place_of(request)
    rows = [
        shown(link, place, words, now(), who.owner) | {"visits": f"{total:,}", "visits_number": total}
        for link, total in zip(links, totals, strict=True)
    ]
    gone = deleted if looks_like_code(deleted) else ""
    return await page(request, "dashboard.html", rows=rows, next=found.next, after=after, deleted=gone)


async def edit_page(request: Request) -> Response:
    """`GET /dashboard/CODE`: the form with the link as it is."""
    who = await member(request)
    link = await owned(request.path_params["code"], who.owner)
    return await _edit(request, who, link, values_of(link), saved=request.query_params.get("saved") == "1")


async def submit_edit(request: Request) -> Response:
    """`POST /dashboard/CODE`: changes the link at once everywhere."""
    who = await member(request)
    link = await owned(request.path_params["code"], who.owner)
    values: Values = values_of(link)
    try:
        values = await read_form(request, FIELDS)
        change = change_of(values, place_of(request).own_hosts)
        if await change_link(link.code, who.owner, change) is None:
            raise HTTPException(404, "error.not_yours")
    except Refusal as refusal:
        return await _edit(request, who, link, values, refusal)
    except TenfoldError as error:
        return with_retry(await _edit(request, who, link, values, refusal_of(error, words_of(request))), error)
    return see(f"/dashboard/{link.code}?saved=1")


def values_of(link: Link) -> Values:
    """The form's fields for a link."""
    visits = "" if link.max_visits is None else str(link.max_visits)
    return {"url": link.url, "expires_in": KEEP if link.expires else "", "max_visits": visits}


def change_of(values: Values, own: frozenset[str]) -> Change:
    """The change that a form asks for; `Refusal` with the field at fault."""
    keep = values["expires_in"] == KEEP
    return Change(
        url=canonical_url(values["url"], own),
        expires=UNSET if keep else moment_of(values["expires_in"], None, now()),
        max_visits=check_visits(count_of(values["max_visits"])),
    )


async def _edit(
    request: Request, who: Who, link: Link, values: Values, refusal: Refusal | None = None, *, saved: bool = False
) -> Response:
    return await page(
        request, "edit.html", refusal.status if refusal else 200, refusal=refusal, saved=saved, values=values,
        link=shown(link, place_of(request), words_of(request), now(), who.owner),
        endings=(KEEP, *ENDINGS) if link.expires else ENDINGS,
    )  # fmt: skip


async def submit_delete(request: Request) -> Response:
    """`POST /dashboard/CODE/delete`."""
    who = await member(request)
    await read_form(request, ())
    code = request.path_params["code"]
    if not looks_like_code(code) or not await delete_link(code, who.owner):
        raise HTTPException(404, "error.not_yours")
    return see(f"/dashboard?deleted={code}")


async def stats_page(request: Request) -> Response:
    """`GET /dashboard/CODE/stats`: how often the link was visited, from where, with what; the plot, and its table."""
    who = await member(request)
    link = await owned(request.path_params["code"], who.owner)
    asked = request.query_params.get("days", "")
    days = int(asked) if asked in map(str, SPANS) else 30
    figures = await read_figures(link.code, days)
    words = words_of(request)
    link_shown = shown(replace(link, visits=figures.total), place_of(request), words, now(), who.owner)
    return await page(
        request, "stats.html", link=link_shown, days=days, spans=SPANS, figures=figures, **_figures(figures, words)
    )


def _figures(figures: Figures, words: Words) -> dict[str, Any]:
    """The figures in words and drawings."""
    assert len(figures.days) <= LONGEST
    drawn = plot([count for _, count in figures.days])
    labels = [words.short_day(day) for day, _ in figures.days]
    named = figures.referrers[:TOP]
    rest = sum(count for _, count in figures.referrers[TOP:])
    referrers = [(words("from.direct") if not host else words("from.other") if host == "other" else host, count)
                 for host, count in named]  # fmt: skip
    if rest:
        referrers.append((words("from.rest"), rest))
    return {
        "total": f"{figures.total:,}",
        "in_span": f"{figures.in_span:,}",
        "last": words.moment(figures.last) if figures.last else "",
        "last_machine": rfc3339(figures.last) if figures.last else "",
        "plot": drawn,
        "bars": list(zip(drawn.bars, labels, strict=True)),
        "table": [(day.isoformat(), words.day(day), f"{count:,}") for day, count in reversed(figures.days)],
        "referrers": [(name, count, f"{count:,}") for name, count in referrers],
        "devices": [
            (words(f"device.{kind}") if words.has(f"device.{kind}") else words("device.other"), count, f"{count:,}")
            for kind, count in figures.devices
        ],
    }
