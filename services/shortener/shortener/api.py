"""The interface for programs, with the paths of the textbook."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from shortener.answers import data, place_of
from shortener.codes import check_alias
from shortener.expiry import moment_of
from shortener.links import Wanted, make_link, now
from shortener.refusal import Refusal
from shortener.urls import canonical_url

FIELDS = ("url", "longUrl", "alias", "expires_in", "expires_at")


@dataclass(frozen=True, slots=True)
class Order:
    """What a client sent, of the right types but otherwise unchecked."""

    url: str
    alias: str | None = None
    expires_in: int | str | None = None
    expires_at: str | None = None


async def shorten(request: Request) -> Response:
    """`POST /api/v1/data/shorten`: 201 with the new link, 200 with one that was there already."""
    order = read_order(await request.body(), request.headers.get("content-type", ""))
    place = place_of(request)
    made = await make_link(checked(order, place.own_hosts))
    answer = {"code": made.code, "short_url": f"{place.base}/{made.code}", "url": made.url}
    if made.expires:
        answer["expires_at"] = rfc3339(made.expires)
    return data(answer, 201 if made.new else 200, {"location": answer["short_url"]})


def checked(order: Order, own: frozenset[str]) -> Wanted:
    """The order as a link that may be made; `Refusal` with the field at fault."""
    return Wanted(
        url=canonical_url(order.url, own),
        alias=check_alias(order.alias) if order.alias is not None else None,
        expires=moment_of(order.expires_in, order.expires_at, now()),
    )


def rfc3339(moment: datetime) -> str:
    """A moment in UTC, as `2030-01-31T12:00:00Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_order(body: bytes, content_type: str) -> Order:
    """The order in a JSON body; `Refusal` in one sentence for everything that is not one."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in ("", "application/json") and not kind.endswith("+json"):
        raise Refusal("body", "The body has to be JSON, sent with Content-Type: application/json.", status=415)
    fields = _decode(body)
    _check_names(fields)
    if "url" in fields and "longUrl" in fields:
        raise Refusal("url", "Give url or longUrl, not both: they mean the same.")
    name = "longUrl" if "longUrl" in fields else "url"
    return Order(
        url=_text(fields, name, required=True) or "",
        alias=_text(fields, "alias"),
        expires_in=_number_or_text(fields, "expires_in"),
        expires_at=_text(fields, "expires_at"),
    )


def _decode(body: bytes) -> dict[str, Any]:
    if not body.strip():
        raise Refusal("body", 'The body is empty; send JSON such as {"url": "https://example.com/page"}.')
    try:
        fields = msgspec.json.decode(body)
    except UnicodeDecodeError:
        raise Refusal("body", "The body is not valid UTF-8.") from None
    except (msgspec.DecodeError, RecursionError) as error:
        reason = str(error).rstrip(".") or "it is nested too deeply"
        raise Refusal("body", f"The body is not valid JSON: {reason}.") from None
    if not isinstance(fields, dict):
        raise Refusal("body", 'The body has to be a JSON object such as {"url": "https://example.com/page"}.')
    return fields


def _check_names(fields: dict[str, Any]) -> None:
    for name in fields:
        if name not in FIELDS:
            near = difflib.get_close_matches(name[:40], FIELDS, n=1)
            guess = f" Perhaps {near[0]} was meant." if near else f" Known are {', '.join(FIELDS)}."
            raise Refusal("body", f"The field {name[:40]!a} is unknown.{guess}")


def _text(fields: dict[str, Any], name: str, *, required: bool = False) -> str | None:
    value = fields.get(name)
    if isinstance(value, str) or (value is None and not required):
        return value
    what = "is missing" if name not in fields else f"has to be a text, not {_kind(value)}"
    raise Refusal(_input(name), f"The field {name} {what}.")


def _number_or_text(fields: dict[str, Any], name: str) -> int | str | None:
    value = fields.get(name)
    if value is None or (isinstance(value, int | str) and not isinstance(value, bool)):
        return value
    raise Refusal(
        _input(name), f"The field {name} has to be a number of seconds or a text such as 7d, not {_kind(value)}."
    )


def _input(name: str) -> str:
    return {"longUrl": "url", "expires_in": "expires", "expires_at": "expires"}.get(name, name)


def _kind(value: Any) -> str:
    names = {
        bool: "true or false",
        dict: "an object",
        list: "a list",
        float: "a fraction",
        int: "a number",
        str: "a text",
    }
    return names.get(type(value), "null")
