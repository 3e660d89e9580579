"""What all pages share: templates, language, who is looking, forms and where they come from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jinja2
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from shortener.accounts.who import person
from shortener.answers import PAGE_HEADERS
from shortener.model import tf
from shortener.refusal import Refusal
from shortener.words import CATALOGS, Words, chosen
from tenfold import TenfoldError, Unavailable

_HERE = Path(__file__).parents[1]
LANGUAGE_COOKIE = "language"
FORM_BYTES = 64_000
ENDINGS = ("", "1h", "1d", "7d", "30d")

static = tf.files.static(_HERE / "static")
_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_LANGUAGES = [(words.language, words("language")) for words in CATALOGS.values()]
_INPUTS = (
    "url", "alias", "expires", "max_visits", "body", "name", "password", "old", "label", "code", "reason", "text",
    "leave",
)  # fmt: skip
_templates.globals["asset"] = static.url

Values = dict[str, str]


def words_of(request: Request) -> Words:
    """The language of a visitor: as they chose, else as their browser says."""
    return chosen(request.cookies.get(LANGUAGE_COOKIE, ""), request.headers.get("accept-language", ""))


async def page(
    request: Request, template: str, status: int = 200, *, refusal: Refusal | None = None, **values: Any
) -> Response:
    """A rendered page with the headers that keep foreign code, frames and caches out.

    `refusal` is shown at its field; one whose field this page has not is shown above its form.
    """
    values["errors"] = errors = dict.fromkeys(_INPUTS, "")
    if refusal is not None:
        errors[refusal.field if refusal.field in errors else "body"] = refusal.said(words_of(request))
    values |= {"who": await person(), "csrf": await tf.sessions.csrf_token(), "failed": refusal is not None}
    return _render(request, template, status, values)


def _render(request: Request, template: str, status: int, values: dict[str, Any]) -> Response:
    common = {"t": words_of(request), "here": request.url.path, "languages": _LANGUAGES, "endings": ENDINGS}
    text = _templates.get_template(template).render(**(common | values))
    return Response(text, status, PAGE_HEADERS, "text/html")


async def error_page(request: Request, status: int, title: str, sentence: str) -> Response:
    """A page that says what went wrong and where to go on; it is there also while sessions cannot be read."""
    try:
        who, csrf = await person(), await tf.sessions.csrf_token()
    except TenfoldError:
        who, csrf = None, ""
    values = {"number": status, "title": title, "sentence": sentence, "who": who, "csrf": csrf}
    return _render(request, "error.html", status, values)


def see(path: str) -> Response:
    """On to another page, after a form: reloading that one sends nothing again."""
    return RedirectResponse(path, 303, {"cache-control": "no-store"})


async def read_form(request: Request, names: tuple[str, ...], *, guarded: bool = True) -> Values:
    """The fields of a form, without the spaces around them (but for passwords); `Refusal` when the body is no form.

    Every form carries a token of its visitor. It is demanded of forms that act for somebody (`guarded`), and of every
    visitor who is logged in. The others do only what anybody may do with a program too; of them it is enough that the
    browser does not say that another site sent them.
    """
    if request.headers.get("sec-fetch-site", "none") in ("cross-site", "same-site"):
        raise Refusal("body", "form.foreign", status=403)
    values = parse_form(await request.body(), request.headers.get("content-type", ""), (*names, "csrf"))
    if guarded or await person() is not None:
        await tf.sessions.check_csrf(values["csrf"])
    return values


def parse_form(body: bytes, content_type: str, names: tuple[str, ...]) -> Values:
    """The fields of a body; a field that is missing is empty."""
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Refusal("body", "form.kind", status=415)
    try:
        if len(body) > FORM_BYTES:
            raise ValueError
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:  # UnicodeDecodeError is one
        raise Refusal("body", "form.unreadable") from None
    found = {name: fields.get(name, [""])[0] for name in names}
    return {name: value if name in ("password", "old", "leave") else value.strip(" ") for name, value in found.items()}


def refusal_of(error: TenfoldError, words: Words) -> Refusal:
    """What a person is told of a full disk, a moving database, a limit. Reraises what is not for them."""
    if not error.public:
        raise error
    if error.outside:  # a page says less than what happened, so the log has to
        tf.log.warning(str(error))
    key = f"error.status.{error.status}"
    if words.language != "en" and words.has(f"refusal.{key}"):
        return Refusal("body", key, status=error.status)
    return Refusal("body", "verbatim", status=error.status, sentence=error.for_clients.removesuffix(".") + ".")


def with_retry(response: Response, error: TenfoldError) -> Response:
    """The response with the time after which it is worth trying again, where the error knows one."""
    wait_s = error.retry_after_s if isinstance(error, Unavailable) else getattr(error, "retry_after_s", None)
    if wait_s is not None:
        response.headers["retry-after"] = str(math.ceil(wait_s))
    return response


def local_path(text: str, otherwise: str) -> str:
    """A path of this site to go on to; anything else would lead people away with our name on it."""
    plain = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isascii() and text.isprintable()
    return text if plain and len(text) <= 200 else otherwise
