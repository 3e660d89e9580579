"""Reports of abuse, and quarantine by those who have the right to it."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from shortener import quotas
from shortener.abuse.reports import LONGEST, close_reports, open_reports, report
from shortener.accounts.keys import QUARANTINE
from shortener.answers import data, place_of
from shortener.api.body import read_object, text
from shortener.api.links import caller, shown
from shortener.api.orders import rfc3339
from shortener.links.changing import quarantine, release
from shortener.links.codes import looks_like_code
from shortener.links.table import Link
from shortener.refusal import Refusal


async def make_report(request: Request) -> Response:
    """`POST /api/v1/data/reports`: 202; anybody may."""
    fields = read_object(await request.body(), request.headers.get("content-type", ""), ("code", "reason", "text"))
    await quotas.for_report(request)
    code = text(fields, "code", required=True) or ""
    await report(code, text(fields, "reason", required=True) or "", text(fields, "text") or "")
    return data({"code": code}, 202)


async def list_reports(request: Request) -> Response:
    """`GET /api/v1/data/reports`: what is to be looked at, the oldest first."""
    await caller(request, QUARANTINE)
    rows: list[dict[str, Any]] = [
        {"code": each.code, "reason": each.reason, "text": each.text, "created_at": rfc3339(each.created)}
        for each in await open_reports()
    ]
    return data({"reports": rows})


async def put(request: Request) -> Response:
    """`PUT /api/v1/data/links/CODE/quarantine`: a warning stands before the link, at once everywhere."""
    await caller(request, QUARANTINE)
    reason = ""
    if body := await request.body():
        fields = read_object(body, request.headers.get("content-type", ""), ("reason",))
        reason = check_reason(text(fields, "reason") or "")
    return data(shown(await decided(request.path_params["code"], reason), place_of(request)))


async def lift(request: Request) -> Response:
    """`DELETE /api/v1/data/links/CODE/quarantine`: the link leads on again."""
    await caller(request, QUARANTINE)
    return data(shown(await decided(request.path_params["code"], None), place_of(request)))


def check_reason(reason: str) -> str:
    """Why a link is in quarantine, else `Refusal`."""
    reason = reason.strip()
    if len(reason) > LONGEST or "\x00" in reason:
        raise Refusal("reason", "report.text", most=LONGEST)
    return reason


async def decided(code: str, reason: str | None) -> Link:
    """Quarantines a link for a reason, or releases it (None), and closes its reports; HTTPException 404 without it."""
    link = None
    if looks_like_code(code):
        link = await (release(code) if reason is None else quarantine(code, reason))
    if link is None:
        raise HTTPException(404, "error.no_link")
    await close_reports(code)
    return link
