"""The pages for people: the form, the preview, what went wrong. Plain HTML that works without JavaScript."""

from __future__ import annotations

import hashlib
import math
import mimetypes
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jinja2
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from shortener.answers import PAGE_HEADERS, Place, data, place_of, prefers_html
from shortener.api import Order, checked, rfc3339
from shortener.codes import looks_like_code
from shortener.links import Link, find_link, make_link, now
from shortener.refusal import Refusal
from shortener.urls import host_of
from tenfold import TenfoldError, Unavailable

ENDINGS = (("", "Never"), ("1h", "In an hour"), ("1d", "In a day"), ("7d", "In a week"), ("30d", "In 30 days"))
_FORM_FIELDS = ("url", "alias", "expires_in")
_HERE = Path(__file__).parent


class Asset:
    """A static file, read once; `path` contains a digest of its content, so it may be cached for ever."""

    def __init__(self, file: Path) -> None:
        self.content = file.read_bytes()
        self.kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        self.name = f"{file.stem}.{hashlib.sha256(self.content).hexdigest()[:10]}{file.suffix}"
        self.path = f"/static/{self.name}"


_assets = {file.name: Asset(file) for file in sorted((_HERE / "static").iterdir()) if file.is_file()}
_by_name = {asset.name: asset for asset in _assets.values()}
_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals["asset"] = lambda name: _assets[name].path


def page(template: str, status: int = 200, **values: Any) -> Response:
    """A rendered page with the headers that keep foreign code, frames and caches out."""
    return Response(_templates.get_template(template).render(**values), status, PAGE_HEADERS, "text/html")


def error_page(status: int, title: str, sentence: str) -> Response:
    """A page that says what went wrong and where to go on."""
    return page("error.html", status, number=status, title=title, sentence=sentence)


async def first_page(request: Request) -> Response:
    """`GET /`: the form; with `?made=CODE` also the link that was just made, so that reloading makes no second one."""
    place = place_of(request)
    code = request.query_params.get("made", "")
    link = await find_link(code) if looks_like_code(code) else None
    made = shown(link, place) if link and not link.has_ended(now()) else None
    return page("home.html", **_form(place, {}), made=made)


async def submit(request: Request) -> Response:
    """`POST /`: makes the link and goes to the page that shows it; the form again when something is wrong with it."""
    place = place_of(request)
    values: dict[str, str] = {}
    try:
        values = read_form(await request.body(), request.headers.get("content-type", ""))
        order = Order(values["url"], values["alias"] or None, values["expires_in"])
        made = await make_link(checked(order, place.own_hosts))
    except Refusal as refusal:
        return page("home.html", refusal.status, **_form(place, values, refusal), made=None)
    except TenfoldError as error:  # a full disk, a database that is moving: what was typed stays in the form
        if not error.public:
            raise
        form = page("home.html", error.status, **_form(place, values, _as_refusal(error)), made=None)
        if isinstance(error, Unavailable):
            form.headers["retry-after"] = str(math.ceil(error.retry_after_s))
        return form
    return RedirectResponse(f"/?made={made.code}", 303, {"cache-control": "no-store"})


def _as_refusal(error: TenfoldError) -> Refusal:
    return Refusal("body", error.message.removesuffix(".") + ".", status=error.status)


def read_form(body: bytes, content_type: str) -> dict[str, str]:
    """The fields of the form, without the spaces around them; `Refusal` when the body is no such form."""
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Refusal("body", "The form was not sent as a form; reload the page and try again.", status=415)
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:  # UnicodeDecodeError is one
        raise Refusal("body", "The form could not be read: it is not valid UTF-8 or has too many fields.") from None
    return {name: fields.get(name, [""])[0].strip(" ") for name in _FORM_FIELDS}


def _form(place: Place, values: dict[str, str], refusal: Refusal | None = None) -> dict[str, Any]:
    return {
        "host": place.host,
        "endings": ENDINGS,
        "values": {name: values.get(name, "") for name in _FORM_FIELDS},
        "errors": dict.fromkeys(("url", "alias", "expires", "body"), "") | _said(refusal),
    }


def _said(refusal: Refusal | None) -> dict[str, str]:
    return {refusal.field: refusal.sentence} if refusal else {}


async def preview(request: Request) -> Response:
    """`GET /CODE+`: where a link leads, without going there; JSON for programs."""
    place = place_of(request)
    link = await live_link(request.path_params["code"])
    if prefers_html(request):
        return page("preview.html", link=shown(link, place))
    details = {"code": link.code, "short_url": f"{place.base}/{link.code}", "url": link.url}
    times = {"created_at": rfc3339(link.created), "expires_at": rfc3339(link.expires) if link.expires else None}
    return data(details | times, headers={"vary": "accept"})


async def live_link(code: str) -> Link:
    """The link with that code; HTTPException 404 when there is none, 410 when it has ended."""
    link = await find_link(code) if looks_like_code(code) else None
    if link is None:
        raise HTTPException(404, "There is no link with this code; check that it was copied completely.")
    if link.has_ended(now()):
        raise HTTPException(410, "This link has ended; ask whoever gave it to you for a new one.")
    return link


def shown(link: Link, place: Place) -> dict[str, Any]:
    """A link as the templates show it."""
    host = host_of(link.url)
    before, _, after = link.url.partition(host)
    return {
        "code": link.code,
        "short_url": f"{place.base}/{link.code}",
        "short_url_shown": f"{place.host}/{link.code}",
        "url": link.url,
        "host": host,
        "url_before": before,
        "url_after": after,
        "created_shown": _readable(link.created),
        "created_machine": rfc3339(link.created),
        "expires": link.expires,
        "expires_shown": _readable(link.expires) if link.expires else "",
        "expires_machine": rfc3339(link.expires) if link.expires else "",
    }


def _readable(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


async def static(request: Request) -> Response:
    """`GET /static/NAME`: the files of the pages; their names change with their content."""
    asset = _by_name.get(request.path_params["name"])
    if asset is None:
        raise HTTPException(404, "There is no such file.")
    headers = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}
    return Response(asset.content, headers=headers, media_type=asset.kind)


async def icon(request: Request) -> Response:
    """`GET /favicon.ico`, for those who do not read the page's own link."""
    return Response(
        _assets["mark.svg"].content, headers={"cache-control": "public, max-age=86400"}, media_type="image/svg+xml"
    )


async def robots(request: Request) -> Response:
    """`GET /robots.txt`. Links stay reachable for crawlers: only so do they see that nothing is to be indexed."""
    return Response(
        "User-agent: *\nDisallow: /api/\n", headers={"cache-control": "public, max-age=86400"}, media_type="text/plain"
    )
