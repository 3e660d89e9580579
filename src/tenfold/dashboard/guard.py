"""What stands before every request to the dashboard: the policy applied, the headers of every answer, and errors as
problem documents."""

from __future__ import annotations

import logging
import math

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenfold.core.errors import TenfoldError, Unavailable
from tenfold.dashboard.policy import HEADERS, Asked, Rules, refusal, too_long
from tenfold.dashboard.redacting import Redactor
from tenfold.serve.problem import Problem

COOKIE, PASS = "tenfold_dashboard", "tenfold_dashboard_pass"
CSRF_HEADER = "x-tenfold-csrf"
TOLD = 409
"""The status for what a process of the deployment refused: over its socket an error has its code, and no class."""

log = logging.getLogger("tenfold.dashboard")


class Guard:
    """Around the application. `suffix` makes the cookies of several dashboards on one machine different."""

    def __init__(self, app: ASGIApp, rules: Rules, redactor: Redactor, suffix: str) -> None:
        self._app = app
        self._rules = rules
        self._redactor = redactor
        self.cookie, self.pass_ = f"{COOKIE}_{suffix}", f"{PASS}_{suffix}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            asked = self._asked(scope)
            scope["asked"] = asked
            refused = refusal(self._rules, asked)
            if refused is not None and not self._brings_token(refused.status, asked):
                raise refused
            await self._app(scope, _bounded(receive), with_headers)
        except Exception as error:
            if not isinstance(error, TenfoldError):
                log.exception("The dashboard could not answer %s.", scope["path"])
            if begun:
                raise
            await problem(error, self._redactor)(scope, receive, with_headers)

    def _brings_token(self, status: int, asked: Asked) -> bool:
        """The page itself is where a token is shown, or asked for."""
        return status == 401 and asked.path == "/" and asked.method == "GET"

    def _asked(self, scope: Scope) -> Asked:
        headers = Headers(scope=scope)
        cookies = cookie_parser(headers.get("cookie", ""))  # as lenient as browsers: others of this host set some, too
        length = headers.get("content-length", "0")
        return Asked(
            method=scope["method"],
            path=scope["path"],
            host=headers.get("host", ""),
            origin=headers.get("origin", ""),
            fetch_site=headers.get("sec-fetch-site", ""),
            content_type=headers.get("content-type", ""),
            length=int(length) if length.isdecimal() else 0,
            csrf=headers.get(CSRF_HEADER, ""),
            cookie=cookies.get(self.cookie, ""),
            pass_=cookies.get(self.pass_, ""),
        )


def _bounded(receive: Receive) -> Receive:
    """A body that says no length is counted while it comes."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if (refused := too_long(seen)) is not None:
            raise refused
        return message

    return counted


def problem(error: Exception, redactor: Redactor) -> Response:
    """An error as a problem document (RFC 9457). Who may see the page is told what the command line would print."""
    if isinstance(error, TenfoldError):
        body = Problem(
            f"urn:tenfold:{error.code}",
            error.title,
            TOLD if type(error) is TenfoldError else error.status,
            error.code,
            redactor.text(error.message),
            redactor.text(error.hint),
        )
    else:
        body = Problem("about:blank", "Internal Server Error", 500, "TF-INTERNAL", "See `tenfold logs dashboard`.")
    headers = {"content-type": "application/problem+json"}
    if isinstance(error, Unavailable):
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    return Response(msgspec.json.encode(body), body.status, headers)
