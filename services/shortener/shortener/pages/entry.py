"""Signing up, logging in and out."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from shortener import quotas
from shortener.accounts.signing import log_in, sign_up
from shortener.accounts.who import person
from shortener.model import tf
from shortener.pages.shell import Values, local_path, page, read_form, refusal_of, see, with_retry, words_of
from shortener.refusal import Refusal
from tenfold import TenfoldError

FIELDS = ("name", "password", "next")
AFTERWARDS = "/dashboard"


async def form(request: Request) -> Response:
    """`GET /login` and `GET /signup`; who is logged in already goes on."""
    next_path = local_path(request.query_params.get("next", ""), AFTERWARDS)
    if await person() is not None:
        return see(next_path)
    return await _page(request, {"name": "", "next": next_path})


async def submit_login(request: Request) -> Response:
    """`POST /login`: a new session, or the form with one sentence for whatever was wrong."""
    values: Values = {}
    try:
        values = await read_form(request, FIELDS)
        await quotas.for_login(request, values["name"])
        await log_in(values["name"], values["password"])
    except Refusal as refusal:
        return await _page(request, values, refusal)
    except TenfoldError as error:
        return with_retry(await _page(request, values, refusal_of(error, words_of(request))), error)
    return see(local_path(values["next"], AFTERWARDS))


async def submit_signup(request: Request) -> Response:
    """`POST /signup`: an account, logged in."""
    values: Values = {}
    try:
        values = await read_form(request, FIELDS)
        await quotas.for_sign_up(request)
        await sign_up(values["name"], values["password"])
    except Refusal as refusal:
        return await _page(request, values, refusal)
    except TenfoldError as error:
        return with_retry(await _page(request, values, refusal_of(error, words_of(request))), error)
    return see(local_path(values["next"], AFTERWARDS))


async def logout(request: Request) -> Response:
    """`POST /logout`: ends the session."""
    await read_form(request, ())
    await tf.sessions.logout()
    return see("/")


async def _page(request: Request, values: Values, refusal: Refusal | None = None) -> Response:
    kind = "signup" if request.url.path == "/signup" else "login"
    return await page(
        request, "entry.html", refusal.status if refusal else 200, refusal=refusal, kind=kind,
        next=values.get("next", AFTERWARDS), values={"name": values.get("name", "")},
    )  # fmt: skip
