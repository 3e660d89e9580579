"""What the page asks over HTTP: one handler a path, each a few lines over what does the work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from tenfold.control.figures.store import MOST_HOURS, FigureStore
from tenfold.core.errors import UsageError
from tenfold.dashboard.actions import Actions, Change, Fault, decoded
from tenfold.dashboard.feed import Feed
from tenfold.dashboard.gathering import Gathering
from tenfold.dashboard.ladder import Ladder
from tenfold.dashboard.loading import Loading
from tenfold.dashboard.policy import REPORT_CSP
from tenfold.dashboard.reading import Logs, Proofs, requests_of

PICTURE_LIMIT_S = 5.0
LINES = 200
_TIER_MAX = 40


class Load(msgspec.Struct, forbid_unknown_fields=True):
    """Requests a second, and for how many seconds; a rate of 0 stops them."""

    rate: float
    seconds: float = 60.0


class Api:
    """The handlers of one dashboard."""

    def __init__(
        self,
        *,
        feed: Feed,
        ladder: Ladder,
        actions: Actions,
        loading: Loading,
        gathering: Gathering,
        logs: Logs,
        proofs: Proofs,
        store: FigureStore,
    ) -> None:
        self._feed = feed
        self._ladder = ladder
        self._actions = actions
        self._loading = loading
        self._gathering = gathering
        self._logs = logs
        self._proofs = proofs
        self._store = store

    def routes(self) -> list[Route]:
        """Where each of them is."""
        looking = {
            "/api/picture": self.picture,
            "/api/feed": self.stream,
            "/api/ladder": self.ladder,
            "/api/log": self.log,
            "/api/figures": self.figures,
            "/api/requests": self.requests,
            "/api/proofs": self.proofs,
            "/proofs/{name}/report.html": self.report,
        }
        doing = {
            "/api/plan": self.plan,
            "/api/do": self.do,
            "/api/break": self.break_,
            "/api/heal": self.heal,
            "/api/load": self.load,
        }
        return [
            *(Route(path, handler, methods=["GET"]) for path, handler in looking.items()),
            *(Route(path, handler, methods=["POST"]) for path, handler in doing.items()),
        ]

    # Looking

    async def picture(self, _request: Request) -> Response:
        """The picture as it is now."""
        return Response(await self._feed.next(PICTURE_LIMIT_S), media_type="application/json")

    async def stream(self, _request: Request) -> Response:
        """Pictures as they are made, and moves as they begin and end (server-sent events)."""
        events: AsyncIterator[bytes] = self._feed.enter()
        return StreamingResponse(events, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    async def ladder(self, _request: Request) -> Response:
        """The steps, the advice, the moves that there were, the versions."""
        if not self._feed.picture:  # nothing was looked at yet: an empty ladder would be wrong
            await self._feed.next(PICTURE_LIMIT_S)
        return _json(await self._ladder.facts())

    async def log(self, request: Request) -> Response:
        """The last lines of one process."""
        lines = _number(request, "lines", LINES)
        return _json({"lines": await self._logs.last(request.query_params.get("node", ""), int(lines))})

    async def figures(self, request: Request) -> Response:
        """The plots of one tier over the last hours."""
        tier, hours = request.query_params.get("tier", "web")[:_TIER_MAX], _number(request, "hours", 1.0)
        series = await asyncio.to_thread(self._store.series, tier, min(hours, MOST_HOURS))
        return _json({**series, "problem": self._store.problem})

    async def requests(self, _request: Request) -> Response:
        """Slow and failed requests of all web servers, with where their time went."""
        return _json(await requests_of(self._gathering, self._ladder.nodes_of("web")))

    async def proofs(self, _request: Request) -> Response:
        """The proofs that there were, with their verdicts."""
        return _json(await self._proofs.all())

    async def report(self, request: Request) -> Response:
        """The report of one proof: a file of its own that may load nothing and ask nobody."""
        path = self._proofs.report(request.path_params["name"])
        return FileResponse(
            path, media_type="text/html; charset=utf-8", headers={"content-security-policy": REPORT_CSP}
        )

    # Doing

    async def plan(self, request: Request) -> Response:
        """What a change would do."""
        return _json(await self._actions.plan(decoded(await request.body(), Change)))

    async def do(self, request: Request) -> Response:
        """Begins a change."""
        answer = await self._actions.do(decoded(await request.body(), Change))
        self._feed.look()
        return _json(answer)

    async def break_(self, request: Request) -> Response:
        """Makes a fault, and answers when the deployment is whole again."""
        return _json(await self._actions.break_(decoded(await request.body(), Fault)))

    async def heal(self, _request: Request) -> Response:
        """Undoes all faults."""
        return _json(await self._actions.heal())

    async def load(self, request: Request) -> Response:
        """Sends load from the page, or stops it."""
        wanted: Load = decoded(await request.body(), Load)
        load = await self._loading.change(wanted.rate, wanted.seconds)
        self._feed.look()
        return _json({"load": load})


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _number(request: Request, name: str, default: float) -> float:
    try:
        value = float(request.query_params.get(name, default))
    except ValueError:
        value = -1.0
    if not 0 < value < 1e6:
        raise UsageError(f"{name} must be a number above 0.")
    return value
