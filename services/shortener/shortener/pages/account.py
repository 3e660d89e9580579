"""A person's account: API keys, password, the end of it."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from shortener import quotas
from shortener.accounts.keys import LINKS, QUARANTINE, check_label, keys_of, make_key, revoke_key
from shortener.accounts.signing import change_password, leave
from shortener.accounts.who import Who
from shortener.pages.dashboard import member
from shortener.pages.shell import page, read_form, refusal_of, see, with_retry, words_of
from shortener.refusal import Refusal
from tenfold import TenfoldError

DONE = ("password_changed", "key_revoked")


async def account_page(request: Request) -> Response:
    """`GET /account`."""
    who = await member(request)
    done = request.query_params.get("done", "")
    return await _page(request, who, done=done if done in DONE else "")


async def make_api_key(request: Request) -> Response:
    """`POST /account/keys`: the page with the new key, this once; it is nowhere else, so nothing leads back to it."""
    who = await member(request)
    label = ""
    try:
        values = await read_form(request, ("label", "quarantine"))
        label = values["label"]
        rights = (LINKS, QUARANTINE) if values["quarantine"] and who.may(QUARANTINE) else (LINKS,)
        _, secret = await make_key(who.owner, who.name, check_label(label), rights)
    except Refusal as refusal:
        return await _page(request, who, refusal, label=label)
    except TenfoldError as error:
        return with_retry(await _page(request, who, refusal_of(error, words_of(request)), label=label), error)
    return await _page(request, who, secret=secret)


async def revoke(request: Request) -> Response:
    """`POST /account/keys/ID/revoke`."""
    who = await member(request)
    await read_form(request, ())
    if not await revoke_key(who.owner, request.path_params["id"]):
        raise HTTPException(404, "error.no_key")
    return see("/account?done=key_revoked")


async def set_password(request: Request) -> Response:
    """`POST /account/password`: all other sessions end."""
    who = await member(request)
    try:
        values = await read_form(request, ("old", "password"))
        await quotas.for_login(request, who.name)
        await change_password(who.name, values["old"], values["password"])
    except Refusal as refusal:
        return await _page(request, who, refusal)
    except TenfoldError as error:
        return with_retry(await _page(request, who, refusal_of(error, words_of(request))), error)
    return see("/account?done=password_changed")


async def delete_account(request: Request) -> Response:
    """`POST /account/delete`: the account, its links and keys."""
    who = await member(request)
    try:
        values = await read_form(request, ("leave",))
        await quotas.for_login(request, who.name)
        await leave(who.name, values["leave"])
    except Refusal as refusal:
        at_field = Refusal("leave", "password.wrong", status=403) if refusal.field == "old" else refusal
        return await _page(request, who, at_field)
    except TenfoldError as error:
        return with_retry(await _page(request, who, refusal_of(error, words_of(request))), error)
    return see("/")


async def _page(
    request: Request, who: Who, refusal: Refusal | None = None, *, label: str = "", secret: str | None = None,
    done: str = "",
) -> Response:  # fmt: skip
    words = words_of(request)
    keys: list[dict[str, Any]] = [
        {
            "id": key.id,
            "label": key.label,
            "rights": key.rights,
            "created": words.day(key.created),
            "used": words.moment(key.used) if key.used else "",
        }
        for key in await keys_of(who.owner)
    ]
    return await page(
        request, "account.html", refusal.status if refusal else 200, refusal=refusal, keys=keys, secret=secret,
        done=done, values={"label": label},
    )  # fmt: skip
