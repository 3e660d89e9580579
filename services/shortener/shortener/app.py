"""The ASGI application: routes, errors, and the hot routes for warm redirects and static files."""

from __future__ import annotations

from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shortener.accounts.who import AUTHENTICATE
from shortener.answers import prefers_html, problem
from shortener.api import keys, links, moderation
from shortener.links.finding import live_link
from shortener.model import tf
from shortener.pages import account, dashboard, entry, home
from shortener.pages import moderation as moderating
from shortener.pages.shell import error_page, refusal_of, see, static, with_retry, words_of
from shortener.redirects import follow_once, warm_redirect
from shortener.refusal import Refusal
from shortener.visits import counting  # noqa: F401 - its subscriber
from shortener.words import ENGLISH, Words
from tenfold import Probe, TenfoldError


async def follow(request: Request) -> Response:
    """`GET /CODE` and `GET /api/v1/CODE` when the hot route has no answer: not cached, ended, none, in quarantine."""
    link = await live_link(request.path_params["code"])
    if link.quarantined is not None:
        return await home.warning(request, link)
    headers = request.headers
    answer = follow_once(link, request.method, headers.get("referer"), headers.get("user-agent"))
    if answer is None:
        raise HTTPException(410, "error.ended")
    response = Response(status_code=answer.status)
    response.raw_headers = answer.headers
    return response


async def say_refusal(request: Request, error: Exception) -> Response:
    """A refusal as a page or as a problem document."""
    assert isinstance(error, Refusal)
    headers = AUTHENTICATE if error.status == 401 else {}
    if prefers_html(request):
        return await _failure_page(request, error.status, error.said(words_of(request)))
    return problem(error.status, error.sentence, field=error.field, headers={"vary": "accept", **headers})


async def say_http_error(request: Request, error: Exception) -> Response:
    """What the router or a page raised (404, 405, 410), as a page or as a problem document."""
    assert isinstance(error, HTTPException)
    words = words_of(request) if prefers_html(request) else ENGLISH
    sentence = _sentence_of(error, request.method, words)
    headers = dict(error.headers or {})
    if not prefers_html(request):
        return problem(error.status_code, sentence, headers={"vary": "accept", **headers})
    response = await _failure_page(request, error.status_code, sentence)
    response.headers.update(headers)
    return response


def _sentence_of(error: HTTPException, method: str, words: Words) -> str:
    if words.has(error.detail):
        return words(error.detail)
    known = {404: "error.nothing", 405: "error.method"}
    if error.status_code in known:
        return words(known[error.status_code], method=method)
    return f"{error.detail.removesuffix('.')}."


async def say_tenfold_error(request: Request, error: Exception) -> Response:
    """An error of Tenfold's for a person; for a program Tenfold itself answers, with a problem document."""
    assert isinstance(error, TenfoldError)
    if error.public and prefers_html(request):
        words = words_of(request)
        return with_retry(await _failure_page(request, error.status, refusal_of(error, words).said(words)), error)
    raise error


async def send_to_login(request: Request, error: Exception) -> Response:
    """A page for people with an account: log in first."""
    assert isinstance(error, dashboard.LoginNeeded)
    return see(f"/login?next={error.path}")


async def _failure_page(request: Request, status: int, sentence: str) -> Response:
    words = words_of(request)
    key = f"error.heading.{status}"
    title = words(key) if words.has(key) else HTTPStatus(status).phrase
    return await error_page(request, status, title, sentence)


_DATA = "/api/v1/data"
_API = [
    Route(f"{_DATA}/shorten", links.shorten, methods=["POST"]),
    Route(f"{_DATA}/links", links.list_links, methods=["GET"]),
    Route(f"{_DATA}/links/{{code}}", links.one_link, methods=["GET"]),
    Route(f"{_DATA}/links/{{code}}", links.edit, methods=["PATCH"]),
    Route(f"{_DATA}/links/{{code}}", links.delete, methods=["DELETE"]),
    Route(f"{_DATA}/links/{{code}}/stats", links.stats, methods=["GET"]),
    Route(f"{_DATA}/links/{{code}}/quarantine", moderation.put, methods=["PUT"]),
    Route(f"{_DATA}/links/{{code}}/quarantine", moderation.lift, methods=["DELETE"]),
    Route(f"{_DATA}/keys", keys.list_keys, methods=["GET"]),
    Route(f"{_DATA}/keys", keys.make, methods=["POST"]),
    Route(f"{_DATA}/keys/{{id}}", keys.revoke, methods=["DELETE"]),
    Route(f"{_DATA}/reports", moderation.list_reports, methods=["GET"]),
    Route(f"{_DATA}/reports", moderation.make_report, methods=["POST"]),
]
_PAGES = [
    Route("/", home.first_page, methods=["GET"]),
    Route("/", home.submit, methods=["POST"]),
    Route("/settings/language", home.choose_language, methods=["POST"]),
    Route("/login", entry.form, methods=["GET"]),
    Route("/login", entry.submit_login, methods=["POST"]),
    Route("/signup", entry.form, methods=["GET"]),
    Route("/signup", entry.submit_signup, methods=["POST"]),
    Route("/logout", entry.logout, methods=["POST"]),
    Route("/dashboard", dashboard.list_page, methods=["GET"]),
    Route("/dashboard/{code}", dashboard.edit_page, methods=["GET"]),
    Route("/dashboard/{code}", dashboard.submit_edit, methods=["POST"]),
    Route("/dashboard/{code}/delete", dashboard.submit_delete, methods=["POST"]),
    Route("/dashboard/{code}/stats", dashboard.stats_page, methods=["GET"]),
    Route("/account", account.account_page, methods=["GET"]),
    Route("/account/keys", account.make_api_key, methods=["POST"]),
    Route("/account/keys/{id}/revoke", account.revoke, methods=["POST"]),
    Route("/account/password", account.set_password, methods=["POST"]),
    Route("/account/delete", account.delete_account, methods=["POST"]),
    Route("/report", moderating.report_form, methods=["GET"]),
    Route("/report", moderating.submit_report, methods=["POST"]),
    Route("/admin", moderating.admin_page, methods=["GET"]),
    Route("/admin", moderating.submit_decision, methods=["POST"]),
    Route("/favicon.ico", home.icon, methods=["GET"]),
    Route("/robots.txt", home.robots, methods=["GET"]),
]
_LINKS = [
    Route("/api/v1/{code}", follow, methods=["GET"]),
    Route("/{code}+", home.preview, methods=["GET"]),
    Route("/{code}", follow, methods=["GET"]),
]

starlette = Starlette(
    routes=[*_API, *_PAGES, *_LINKS],
    exception_handlers={
        Refusal: say_refusal,
        HTTPException: say_http_error,
        TenfoldError: say_tenfold_error,
        dashboard.LoginNeeded: send_to_login,
    },
)
starlette.router.redirect_slashes = False

app = tf.asgi(Probe(tf, starlette), hot={**static.routes, "/{code}": warm_redirect, "/api/v1/{code}": warm_redirect})
