"""JSON bodies: an object with known fields of the right types, or a `Refusal` in one sentence. Pure."""

from __future__ import annotations

import difflib
from typing import Any

import msgspec

from shortener.refusal import Refusal

Fields = dict[str, Any]
_INPUTS = {"longUrl": "url", "expires_in": "expires", "expires_at": "expires"}
_KINDS = {
    bool: "true or false",
    dict: "an object",
    list: "a list",
    float: "a fraction",
    int: "a number",
    str: "a text",
}


def read_object(body: bytes, content_type: str, known: tuple[str, ...]) -> Fields:
    """The fields of a JSON object; each is one of `known`."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in ("", "application/json") and not kind.endswith("+json"):
        raise Refusal("body", "body.media", status=415)
    fields = _decode(body)
    for name in fields:
        if name not in known:
            near = difflib.get_close_matches(name[:40], known, n=1)
            key = "body.unknown_near" if near else "body.unknown"
            raise Refusal("body", key, name=ascii(name[:40]), near="".join(near), known=", ".join(known))
    return fields


def _decode(body: bytes) -> Fields:
    if not body.strip():
        raise Refusal("body", "body.empty")
    try:
        fields = msgspec.json.decode(body)
    except UnicodeDecodeError:
        raise Refusal("body", "body.utf8") from None
    except (msgspec.DecodeError, RecursionError) as error:
        reason = str(error).rstrip(".") or "it is nested too deeply"
        raise Refusal("body", "body.json", reason=reason) from None
    if not isinstance(fields, dict):
        raise Refusal("body", "body.object")
    return fields


def text(fields: Fields, name: str, *, required: bool = False) -> str | None:
    """A field that is a text, None without it."""
    value = fields.get(name)
    if isinstance(value, str) or (value is None and not required):
        return value
    if name not in fields:
        raise Refusal(_input(name), "body.field_missing", name=name)
    raise Refusal(_input(name), "body.field_text", name=name, kind=_kind(value))


def number_or_text(fields: Fields, name: str) -> int | str | None:
    """A field that is a whole number or a text, None without it."""
    value = fields.get(name)
    if value is None or (isinstance(value, int | str) and not isinstance(value, bool)):
        return value
    raise Refusal(_input(name), "body.field_duration", name=name, kind=_kind(value))


def number(fields: Fields, name: str) -> int | None:
    """A field that is a whole number, None without it."""
    value = fields.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise Refusal(_input(name), "body.field_number", name=name, kind=_kind(value))


def texts(fields: Fields, name: str) -> list[str] | None:
    """A field that is a list of texts, None without it."""
    value = fields.get(name)
    if value is None or (isinstance(value, list) and all(isinstance(each, str) for each in value)):
        return value
    raise Refusal(_input(name), "body.field_texts", name=name)


def _input(name: str) -> str:
    """The input of the form that a field belongs to."""
    return _INPUTS.get(name, name)


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "null")
