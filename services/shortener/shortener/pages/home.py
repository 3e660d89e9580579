"""The first page with its form, the preview of a link, the warning before one, and the small files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shortener import quotas
from shortener.accounts.who import person
from shortener.answers import data, place_of, prefers_html, problem
from shortener.api.orders import Order, checked, rfc3339
from shortener.links.codes import looks_like_code
from shortener.links.finding import find_link, live_link
from shortener.links.making import make_link
from shortener.links.table import Link
from shortener.model import now
from shortener.pages.shell import (
    LANGUAGE_COOKIE,
    Values,
    local_path,
    page,
    read_form,
    refusal_of,
    see,
    with_retry,
    words_of,
)
from shortener.pages.shown import shown
from shortener.refusal import Refusal
from shortener.words import CATALOGS, ENGLISH
from tenfold import TenfoldError

FIELDS = ("url", "alias", "expires_in", "max_visits")
_MARK = (Path(__file__).parents[1] / "static" / "mark.svg").read_bytes()


async def first_page(request: Request) -> Response:
    """`GET /`: the form; with `?made=CODE` also the link that was just made, so that reloading makes no second one."""
    place = place_of(request)
    code = request.query_params.get("made", "")
    link = await find_link(code) if looks_like_code(code) else None
    made = None
    if link is not None and not link.has_ended(now()) and link.quarantined is None:
        who = await person()
        made = shown(link, place, words_of(request), now(), who.owner if who else None)
    return await page(request, "home.html", **_form(request, {}), made=made)


async def submit(request: Request) -> Response:
    """`POST /`: makes the link and goes to the page that shows it; the form again when something is wrong with it."""
    place = place_of(request)
    values: Values = {}
    try:
        values = await read_form(request, FIELDS, guarded=False)
        who = await person()
        owner = None if who is None else who.owner
        order = Order(
            values["url"], values["alias"] or None, values["expires_in"], None, count_of(values["max_visits"])
        )
        wanted = checked(order, place.own_hosts, owner)
        await quotas.for_link(request, owner)
        made = await make_link(wanted)
    except Refusal as refusal:
        return await page(request, "home.html", refusal.status, refusal=refusal, **_form(request, values), made=None)
    except TenfoldError as error:  # a full disk, a database that is moving, a limit: what was typed stays in the form
        said = refusal_of(error, words_of(request))
        again = await page(request, "home.html", error.status, refusal=said, **_form(request, values), made=None)
        return with_retry(again, error)
    return see(f"/?made={made.code}")


def count_of(text: str) -> int | None:
    """A number of visits as people type it, None for an empty field; `Refusal` for what is no number."""
    digits = text.replace(",", "").replace(" ", "")
    if not digits:
        return None
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 15):
        raise Refusal("max_visits", "visits.number")
    return int(digits)


def _form(request: Request, values: Values) -> dict[str, Any]:
    return {"host": place_of(request).host, "values": {name: values.get(name, "") for name in FIELDS}}


async def preview(request: Request) -> Response:
    """`GET /CODE+`: where a link leads, without going there; JSON for programs."""
    place = place_of(request)
    link = await live_link(request.path_params["code"])
    if link.quarantined is not None:
        return await warning(request, link)
    if prefers_html(request):
        return await page(request, "preview.html", link=shown(link, place, words_of(request), now()))
    details = {"code": link.code, "short_url": f"{place.base}/{link.code}", "url": link.url}
    times = {"created_at": rfc3339(link.created), "expires_at": rfc3339(link.expires) if link.expires else None}
    return data(details | times, headers={"vary": "accept"})


async def warning(request: Request, link: Link) -> Response:
    """What stands before a link in quarantine: 403, and no way on."""
    if not prefers_html(request):
        return problem(403, ENGLISH("warning.text"), headers={"vary": "accept"})
    link_shown = shown(link, place_of(request), words_of(request), now())
    return await page(request, "warning.html", 403, link=link_shown)


async def choose_language(request: Request) -> Response:
    """`POST /settings/language`: remembers it in a cookie, and goes back."""
    values = await read_form(request, ("language", "next"), guarded=False)
    answer = see(local_path(values["next"], "/"))
    if values["language"] in CATALOGS:
        answer.set_cookie(
            LANGUAGE_COOKIE, values["language"], max_age=31_536_000, httponly=True, samesite="lax",
            secure=request.url.scheme == "https",
        )  # fmt: skip
    return answer


async def icon(request: Request) -> Response:
    """`GET /favicon.ico`, for those who do not read the page's own link."""
    return Response(_MARK, headers={"cache-control": "public, max-age=86400"}, media_type="image/svg+xml")


async def robots(request: Request) -> Response:
    """`GET /robots.txt`. Links stay reachable for crawlers: only so do they see that nothing is to be indexed."""
    return Response(
        "User-agent: *\nDisallow: /api/\n", headers={"cache-control": "public, max-age=86400"}, media_type="text/plain"
    )
