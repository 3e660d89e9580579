"""What every answer of the service shares: the public address, HTML or JSON, problem documents, safe headers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from shortener import settings
from shortener.links.hosts import canonical_host
from shortener.links.urls import host_of
from shortener.refusal import Refusal

_HOST = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?\Z")

PAGE_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "vary": "accept",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}
DATA_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff", "x-robots-tag": "noindex"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where this service is, as the client sees it: `base` stands before `/CODE`; no link may lead to `own_hosts`."""

    base: str
    host: str
    own_hosts: frozenset[str]


def place_of(request: Request) -> Place:
    """The setting `public_url`, else what the client asked for; `Refusal` of a Host header that is none."""
    hosts = request.headers.getlist("host")
    if len(hosts) != 1 or not _HOST.match(hosts[0]):
        raise Refusal("body", "body.host")
    return _place(request.scope["scheme"], hosts[0].lower(), settings.public_url())


@lru_cache(maxsize=256)
def _place(scheme: str, host: str, public_url: str) -> Place:
    asked = f"{scheme}://{host}"
    base = public_url or asked
    own = frozenset(_spelling(host_of(address)) for address in (asked, base))
    return Place(base, base.partition("://")[2], own)


def _spelling(host: str) -> str:
    try:
        return canonical_host(host)
    except Refusal:  # a private name, to which no link may lead anyway
        return host


def prefers_html(request: Request) -> bool:
    """Whether a person with a browser is asking. Programs, which accept anything or JSON, get JSON."""
    if request.scope["path"].startswith("/api/"):
        return False
    qualities = dict(map(_quality, request.headers.get("accept", "").lower().split(",")))
    html = qualities.get("text/html", 0.0)
    return html > 0 and html >= qualities.get("application/json", 0.0)


def _quality(part: str) -> tuple[str, float]:
    kind, *parameters = (piece.strip() for piece in part.split(";"))
    for parameter in parameters:
        if found := re.fullmatch(r"q=([01](?:\.[0-9]{0,3})?)", parameter):
            return kind, float(found[1])
    return kind, 1.0


def data(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer that nobody stores."""
    return Response(msgspec.json.encode(value), status, {**DATA_HEADERS, **(headers or {})}, "application/json")


def problem(status: int, sentence: str, *, field: str = "", headers: dict[str, str] | None = None) -> Response:
    """A problem document (RFC 9457); `field` names the input at fault."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": sentence}
    if field and field != "body":
        document["field"] = field
    content = msgspec.json.encode(document)
    return Response(content, status, {**DATA_HEADERS, **(headers or {})}, "application/problem+json")
