"""A Starlette route that gives a constant redirect, without and with Tenfold around it."""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

HEADERS = {"location": "https://example.com/some/page?with=query", "cache-control": "private, max-age=0"}


async def redirect(request: Request) -> Response:
    """Answers 302 from a path parameter's route."""
    assert request.path_params["code"]
    return Response(status_code=302, headers=HEADERS)


bare = Starlette(routes=[Route("/{code}", redirect)])

if os.environ.get("BENCH_WRAPPED"):
    from tenfold import Tenfold

    app = Tenfold("plain").asgi(bare)
