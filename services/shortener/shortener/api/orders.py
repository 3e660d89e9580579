"""What clients ask for: a link, or a change of one, read from JSON or a form, then judged. Pure but for the time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from shortener.api.body import Fields, number, number_or_text, read_object, text
from shortener.links.changing import UNSET, Change
from shortener.links.codes import check_alias
from shortener.links.expiry import moment_of
from shortener.links.making import Wanted
from shortener.links.urls import canonical_url
from shortener.model import now
from shortener.refusal import Refusal

FIELDS = ("url", "longUrl", "alias", "expires_in", "expires_at", "max_visits")
CHANGES = ("url", "longUrl", "expires_in", "expires_at", "max_visits")
MOST_VISITS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Order:
    """What a client sent, of the right types but otherwise unchecked."""

    url: str
    alias: str | None = None
    expires_in: int | str | None = None
    expires_at: str | None = None
    max_visits: int | None = None


def read_order(body: bytes, content_type: str) -> Order:
    """The order in a JSON body; `Refusal` in one sentence for everything that is not one."""
    fields = read_object(body, content_type, FIELDS)
    return Order(
        url=_url(fields, required=True) or "",
        alias=text(fields, "alias"),
        expires_in=number_or_text(fields, "expires_in"),
        expires_at=text(fields, "expires_at"),
        max_visits=number(fields, "max_visits"),
    )


def _url(fields: Fields, *, required: bool) -> str | None:
    if "url" in fields and "longUrl" in fields:
        raise Refusal("url", "body.both_urls")
    name = "longUrl" if "longUrl" in fields else "url"
    return text(fields, name, required=required)


def checked(order: Order, own: frozenset[str], owner: str | None = None) -> Wanted:
    """The order as a link that may be made; `Refusal` with the field at fault."""
    return Wanted(
        url=canonical_url(order.url, own),
        alias=check_alias(order.alias) if order.alias is not None else None,
        expires=moment_of(order.expires_in, order.expires_at, now()),
        max_visits=check_visits(order.max_visits),
        owner=owner,
    )


def check_visits(count: int | None) -> int | None:
    """How many visits a link is good for, else `Refusal`; None: any number."""
    if count is not None and not 1 <= count <= MOST_VISITS:
        raise Refusal("max_visits", "visits.range", most=MOST_VISITS)
    return count


def read_change(body: bytes, content_type: str, own: frozenset[str]) -> Change:
    """The change in a JSON body: what is not named stays, null takes an end away."""
    fields = read_object(body, content_type, CHANGES)
    if not fields:
        raise Refusal("body", "body.no_change")
    url = _url(fields, required="url" in fields or "longUrl" in fields)
    ends = "expires_in" in fields or "expires_at" in fields
    moment = moment_of(number_or_text(fields, "expires_in"), text(fields, "expires_at"), now())
    return Change(
        url=UNSET if url is None else canonical_url(url, own),
        expires=moment if ends else UNSET,
        max_visits=check_visits(number(fields, "max_visits")) if "max_visits" in fields else UNSET,
    )


def rfc3339(moment: datetime) -> str:
    """A moment in UTC, as `2030-01-31T12:00:00Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
