"""Reports of abuse, and the page of those who decide about them."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from shortener import quotas
from shortener.abuse.reports import REASONS, open_reports, report
from shortener.accounts.keys import QUARANTINE
from shortener.accounts.who import Who
from shortener.api.moderation import check_reason, decided
from shortener.api.orders import rfc3339
from shortener.links.codes import looks_like_code
from shortener.links.finding import find_link
from shortener.pages.dashboard import member
from shortener.pages.shell import Values, page, read_form, refusal_of, see, with_retry, words_of
from shortener.refusal import Refusal
from tenfold import TenfoldError

FIELDS = ("code", "reason", "text")


async def report_form(request: Request) -> Response:
    """`GET /report`: the form, or thanks."""
    values = {"code": request.query_params.get("code", "")[:100], "reason": REASONS[0], "text": ""}
    return await _report(request, values, thanks=request.query_params.get("thanks") == "1")


async def submit_report(request: Request) -> Response:
    """`POST /report`: anybody may; nothing about them is stored."""
    values: Values = dict.fromkeys(FIELDS, "")
    try:
        values = await read_form(request, FIELDS, guarded=False)
        await quotas.for_report(request)
        await report(await _known(values["code"]), values["reason"], values["text"])
    except Refusal as refusal:
        return await _report(request, values, refusal)
    except TenfoldError as error:
        return with_retry(await _report(request, values, refusal_of(error, words_of(request))), error)
    return see("/report?thanks=1")


async def admin_page(request: Request) -> Response:
    """`GET /admin`: what is to be decided."""
    await _admin(request)
    done = request.query_params.get("done", "")
    return await _decide(request, done=done if done in ("quarantined", "released") else "")


async def submit_decision(request: Request) -> Response:
    """`POST /admin`: a link goes into quarantine, or out of it."""
    await _admin(request)
    values: Values = dict.fromkeys(("code", "reason", "action"), "")
    try:
        values = await read_form(request, ("code", "reason", "action"))
        code = await _known(values["code"])
        into = values["action"] == "quarantine"
        await decided(code, check_reason(values["reason"]) if into else None)
    except Refusal as refusal:
        return await _decide(request, refusal, values)
    except TenfoldError as error:
        return with_retry(await _decide(request, refusal_of(error, words_of(request)), values), error)
    return see(f"/admin?done={'quarantined' if into else 'released'}&code={code}")


async def _admin(request: Request) -> Who:
    """The administrator who is logged in; for everybody else there is no such page."""
    who = await member(request)
    if not who.may(QUARANTINE):
        raise HTTPException(404, "error.nothing")
    return who


async def _known(text: str) -> str:
    """The code in what a person typed or pasted, a whole short link perhaps; `Refusal` when there is no such link."""
    code = text.partition("?")[0].rstrip("/+").rsplit("/", 1)[-1]
    link = await find_link(code) if looks_like_code(code) else None
    if link is None or link.deleted is not None:
        raise Refusal("code", "report.unknown")
    return code


async def _report(
    request: Request, values: Values, refusal: Refusal | None = None, *, thanks: bool = False
) -> Response:
    status = refusal.status if refusal else 200
    return await page(request, "report.html", status, refusal=refusal, values=values, reasons=REASONS, thanks=thanks)


async def _decide(
    request: Request, refusal: Refusal | None = None, values: Values | None = None, *, done: str = ""
) -> Response:
    words = words_of(request)
    rows: list[dict[str, Any]] = []
    for each in await open_reports():
        link = await find_link(each.code)
        rows.append(
            {
                "code": each.code, "reason": each.reason, "text": each.text, "url": link.url if link else "",
                "shown": words.moment(each.created), "machine": rfc3339(each.created),
            }
        )  # fmt: skip
    code = request.query_params.get("code", "")
    return await page(
        request, "admin.html", refusal.status if refusal else 200, refusal=refusal, reports=rows, done=done,
        code=code if looks_like_code(code) else "", values=values or {"code": "", "reason": ""},
    )  # fmt: skip
