"""The page itself and its files, and how a browser comes in: with a cookie of its own, and the token where one is asked
for."""

from __future__ import annotations

import logging
import math

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tenfold.core.clock import Clock
from tenfold.core.randomness import Randomness
from tenfold.dashboard.guard import COOKIE, PASS
from tenfold.dashboard.pages import Pages, language_of
from tenfold.dashboard.policy import Asked, Rules, Tries, csrf_of, pass_of, refusal, token_fits

COOKIE_BYTES = 24
PASS_S = 30 * 86_400
"""How long a browser that has shown the token is known."""

log = logging.getLogger("tenfold.dashboard")

ASK = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Tenfold</title></head>
<body><main><h1>Tenfold</h1>
<p>{says}</p>
<form method="get" action="/"><label>Token <input type="password" name="token" autocomplete="off" required></label>
<button>Open</button></form>
<p>It is in the file <code>.tenfold/secrets/dashboard-token</code> beside tenfold.toml.</p></main></body>
</html>
"""


class Entrance:
    """The addresses that a person opens. `suffix` makes the cookies of several dashboards different."""

    def __init__(self, rules: Rules, pages: Pages, clock: Clock, randomness: Randomness, suffix: str) -> None:
        self._rules = rules
        self._pages = pages
        self._clock = clock
        self._randomness = randomness
        self._tries = Tries()
        self._cookie, self._pass = f"{COOKIE}_{suffix}", f"{PASS}_{suffix}"

    def routes(self) -> list[Route]:
        """Where each of them is."""
        return [
            Route("/", self.index, methods=["GET"]),
            Route("/static/{stamp}/{path:path}", self.static, methods=["GET"]),
            Route("/words/{language}.json", self.words, methods=["GET"]),
            Route("/favicon.ico", self.icon, methods=["GET"]),
        ]

    async def index(self, request: Request) -> Response:
        """The page, with the token that goes with this browser's cookie."""
        asked: Asked = request.scope["asked"]
        if self._rules.token and "token" in request.query_params:
            return self._with_token(request)
        if refusal(self._rules, asked) is not None:
            return self._asks("This dashboard can be reached over the network, so it asks for its token.")
        cookie = asked.cookie or self._randomness.bytes(COOKIE_BYTES).hex()
        language = language_of(request.headers.get("accept-language", ""))
        page = self._pages.index(csrf=csrf_of(self._rules, cookie), mode=self._rules.mode, lang=language)
        if not asked.cookie:
            page.set_cookie(self._cookie, cookie, httponly=True, samesite="strict", path="/")
        return page

    def _with_token(self, request: Request) -> Response:
        """Looks at a token; the right one becomes a cookie, and leaves the address."""
        client, now_s = request.client.host if request.client else "", self._clock.monotonic()
        wait_s = self._tries.wait_s(client, now_s)
        if wait_s > 0:
            asks = self._asks(f"Too many wrong tokens. Try again in {math.ceil(wait_s)} s.", status=429)
            asks.headers["retry-after"] = str(math.ceil(wait_s))
            return asks
        if not token_fits(self._rules, request.query_params["token"]):
            self._tries.wrong(client, now_s)
            log.warning("A wrong token came from %s.", client)
            return self._asks("That is not the token.")
        self._tries.right(client)
        page = RedirectResponse("/", status_code=303)
        page.set_cookie(self._pass, pass_of(self._rules), max_age=PASS_S, httponly=True, samesite="lax", path="/")
        return page

    @staticmethod
    def _asks(says: str, *, status: int = 401) -> Response:
        return Response(ASK.format(says=says), status, media_type="text/html; charset=utf-8")

    async def static(self, request: Request) -> Response:
        """A file of the page."""
        return self._pages.static(request.path_params["stamp"], request.path_params["path"])

    async def words(self, request: Request) -> Response:
        """The texts of the page in one language."""
        return self._pages.words(request.path_params["language"])

    async def icon(self, _request: Request) -> Response:
        """Browsers ask for it whatever the page says."""
        return Response(status_code=204)
