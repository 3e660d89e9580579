"""The ASGI application: routes, errors, and the hot route for warm redirects."""

from __future__ import annotations

from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shortener import api, pages
from shortener.answers import prefers_html, problem
from shortener.links import now
from shortener.model import tf
from shortener.redirects import redirect, warm_redirect
from shortener.refusal import Refusal
from tenfold import Probe, TenfoldError

_TITLES = {404: "Nothing here", 410: "This link has ended"}


async def follow(request: Request) -> Response:
    """`GET /CODE` and `GET /api/v1/CODE` when the link is not in the cache yet, or there is none."""
    link = await pages.live_link(request.path_params["code"])
    answer = redirect(link, now())
    return _copy(answer.status, answer.headers)


def _copy(status: int, headers: list[tuple[bytes, bytes]]) -> Response:
    response = Response(status_code=status)
    response.raw_headers = headers
    return response


async def say_refusal(request: Request, error: Exception) -> Response:
    """A refusal as a page or as a problem document."""
    assert isinstance(error, Refusal)
    return _failure(request, error.status, error.sentence, field=error.field)


async def say_http_error(request: Request, error: Exception) -> Response:
    """What the router or a page raised (404, 405, 410), as a page or as a problem document."""
    assert isinstance(error, HTTPException)
    sentences = {404: "There is nothing at this address.", 405: f"{request.method} is not possible at this address."}
    said = error.detail if error.detail != HTTPStatus(error.status_code).phrase else ""
    sentence = said or sentences.get(error.status_code, f"{error.detail}.")
    return _failure(request, error.status_code, sentence, headers=dict(error.headers or {}))


async def say_tenfold_error(request: Request, error: Exception) -> Response:
    """An error of Tenfold's for a person; for a program Tenfold itself answers, with a problem document."""
    assert isinstance(error, TenfoldError)
    if error.public and prefers_html(request):
        return pages.error_page(error.status, error.title, error.message)
    raise error


def _failure(
    request: Request, status: int, sentence: str, *, field: str = "", headers: dict[str, str] | None = None
) -> Response:
    if not prefers_html(request):
        return problem(status, sentence, field=field, headers={"vary": "accept", **(headers or {})})
    response = pages.error_page(status, _TITLES.get(status, HTTPStatus(status).phrase), sentence)
    response.headers.update(headers or {})
    return response


starlette = Starlette(
    routes=[
        Route("/api/v1/data/shorten", api.shorten, methods=["POST"]),
        Route("/", pages.first_page, methods=["GET"]),
        Route("/", pages.submit, methods=["POST"]),
        Route("/api/v1/{code}", follow, methods=["GET"]),
        Route("/static/{name}", pages.static, methods=["GET"]),
        Route("/favicon.ico", pages.icon, methods=["GET"]),
        Route("/robots.txt", pages.robots, methods=["GET"]),
        Route("/{code}+", pages.preview, methods=["GET"]),
        Route("/{code}", follow, methods=["GET"]),
    ],
    exception_handlers={Refusal: say_refusal, HTTPException: say_http_error, TenfoldError: say_tenfold_error},
)
starlette.router.redirect_slashes = False

app = tf.asgi(Probe(tf, starlette), hot={"/{code}": warm_redirect, "/api/v1/{code}": warm_redirect})
