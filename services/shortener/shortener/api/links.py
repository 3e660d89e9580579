"""Links for programs, with the paths of the textbook."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from shortener import quotas
from shortener.accounts.keys import LINKS
from shortener.accounts.who import Who, perhaps_program, program
from shortener.answers import Place, data, place_of
from shortener.api.orders import checked, read_change, read_order, rfc3339
from shortener.links.changing import change_link, delete_link
from shortener.links.codes import looks_like_code
from shortener.links.finding import stored_link
from shortener.links.listing import links_of
from shortener.links.making import make_link
from shortener.links.table import Link
from shortener.refusal import Refusal
from shortener.visits.figures import DAYS, LONGEST, read_figures, total_of


async def shorten(request: Request) -> Response:
    """`POST /api/v1/data/shorten`: 201 with the new link, 200 with one that was there already."""
    who = await perhaps_program(request)
    order = read_order(await request.body(), request.headers.get("content-type", ""))
    place = place_of(request)
    owner = None if who is None else who.owner
    wanted = checked(order, place.own_hosts, owner)
    await quotas.for_link(request, owner)
    made = await make_link(wanted)
    answer: dict[str, Any] = {"code": made.code, "short_url": f"{place.base}/{made.code}", "url": made.url}
    if made.expires:
        answer["expires_at"] = rfc3339(made.expires)
    if made.max_visits is not None:
        answer["max_visits"] = made.max_visits
    return data(answer, 201 if made.new else 200, {"location": answer["short_url"]})


async def list_links(request: Request) -> Response:
    """`GET /api/v1/data/links`: a page of the key's owner's links, the newest first."""
    who = await caller(request)
    place = place_of(request)
    page = await links_of(who.owner, request.query_params.get("after", ""))
    totals = await asyncio.gather(*(total_of(link.code) for link in page.links))
    rows = [shown(link, place) | {"visits": total} for link, total in zip(page.links, totals, strict=True)]
    return data({"links": rows, "next": page.next or None})


async def one_link(request: Request) -> Response:
    """`GET /api/v1/data/links/CODE`: one link of the key's owner."""
    who = await caller(request)
    link = await owned(request.path_params["code"], who.owner)
    return data(shown(link, place_of(request)) | {"visits": await total_of(link.code)})


async def edit(request: Request) -> Response:
    """`PATCH /api/v1/data/links/CODE`: another target or another end, at once everywhere."""
    who = await caller(request)
    place = place_of(request)
    change = read_change(await request.body(), request.headers.get("content-type", ""), place.own_hosts)
    link = await change_link(request.path_params["code"], who.owner, change) if _may_be(request) else None
    if link is None:
        raise HTTPException(404, "error.not_yours")
    return data(shown(link, place))


async def delete(request: Request) -> Response:
    """`DELETE /api/v1/data/links/CODE`: 204; the code answers 410 from now on."""
    who = await caller(request)
    if not _may_be(request) or not await delete_link(request.path_params["code"], who.owner):
        raise HTTPException(404, "error.not_yours")
    return Response(status_code=204, headers={"cache-control": "no-store"})


async def stats(request: Request) -> Response:
    """`GET /api/v1/data/links/CODE/stats?days=30`: the visits that were counted."""
    who = await caller(request)
    link = await owned(request.path_params["code"], who.owner)
    figures = await read_figures(link.code, days_of(request.query_params.get("days", "")))
    return data(
        {
            "code": link.code,
            "total": figures.total,
            "last_visit_at": _moment(figures.last),
            "days": [{"day": day.isoformat(), "visits": count} for day, count in figures.days],
            "referrers": [{"host": host, "visits": count} for host, count in figures.referrers],
            "devices": [{"device": device, "visits": count} for device, count in figures.devices],
        }
    )


async def caller(request: Request, right: str = LINKS) -> Who:
    """Whose API key this is, if it has the right; its calls are counted."""
    who = await program(request, right)
    await quotas.for_api(who.owner)
    return who


async def owned(code: str, owner: str) -> Link:
    """A link of theirs as it is stored; HTTPException 404 when there is none."""
    link = await stored_link(code) if looks_like_code(code) else None
    if link is None or link.owner != owner:
        raise HTTPException(404, "error.not_yours")
    return link


def days_of(text: str) -> int:
    """How many days are asked for, else `Refusal`; 30 when nothing is said."""
    if not text:
        return DAYS
    if not (text.isascii() and text.isdigit() and len(text) <= 4) or not 0 < int(text) <= LONGEST:
        raise Refusal("days", "stats.days", most=LONGEST)
    return int(text)


def shown(link: Link, place: Place) -> dict[str, Any]:
    """A link as its owner sees it."""
    return {
        "code": link.code,
        "short_url": f"{place.base}/{link.code}",
        "url": link.url,
        "created_at": rfc3339(link.created),
        "expires_at": _moment(link.expires),
        "max_visits": link.max_visits,
        "spent_at": _moment(link.spent),
        "quarantined_at": _moment(link.quarantined),
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def _may_be(request: Request) -> bool:
    return looks_like_code(request.path_params["code"])
