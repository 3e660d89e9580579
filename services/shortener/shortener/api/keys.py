"""API keys for programs. The first one is made on the account's page."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from shortener.accounts.keys import LINKS, RIGHTS, ApiKey, check_label, keys_of, make_key, revoke_key
from shortener.accounts.who import Who
from shortener.answers import data
from shortener.api.body import read_object, text, texts
from shortener.api.links import caller
from shortener.api.orders import rfc3339
from shortener.refusal import Refusal


async def list_keys(request: Request) -> Response:
    """`GET /api/v1/data/keys`: the owner's keys without their secrets."""
    who = await caller(request)
    return data({"keys": [shown(key) for key in await keys_of(who.owner)]})


async def make(request: Request) -> Response:
    """`POST /api/v1/data/keys`: 201 with the key, this once."""
    who = await caller(request)
    fields = read_object(await request.body(), request.headers.get("content-type", ""), ("label", "rights"))
    label = check_label(text(fields, "label", required=True) or "")
    rights = check_rights(texts(fields, "rights") or [LINKS], who)
    made, secret = await make_key(who.owner, who.name, label, rights)
    return data(shown(made) | {"key": secret}, 201)


async def revoke(request: Request) -> Response:
    """`DELETE /api/v1/data/keys/ID`: 204; nobody gets in with it from now on."""
    who = await caller(request)
    if not await revoke_key(who.owner, request.path_params["id"]):
        raise HTTPException(404, "error.no_key")
    return Response(status_code=204, headers={"cache-control": "no-store"})


def check_rights(rights: list[str], who: Who) -> tuple[str, ...]:
    """The rights that a key of theirs may have, else `Refusal`: nobody gives what they do not have."""
    for right in rights:
        if right not in RIGHTS or not who.may(right):
            raise Refusal("rights", "key.rights", status=403 if right in RIGHTS else 400, right=ascii(right[:20]))
    return tuple(right for right in RIGHTS if right in rights)


def shown(key: ApiKey) -> dict[str, Any]:
    """A key as its owner sees it."""
    return {
        "id": key.id,
        "label": key.label,
        "rights": key.rights,
        "created_at": rfc3339(key.created),
        "last_used_at": None if key.used is None else rfc3339(key.used),
    }
