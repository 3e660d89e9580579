"""The dashboard's application: what is behind which address, who looks after it, and what stands before it."""

from __future__ import annotations

from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from tenfold.control.crew import Crew
from tenfold.control.figures.store import FigureStore
from tenfold.control.place import Place
from tenfold.core.clock import Clock
from tenfold.core.errors import NotFound
from tenfold.core.randomness import SYSTEM_RANDOMNESS, Randomness
from tenfold.dashboard.actions import Actions
from tenfold.dashboard.api import Api
from tenfold.dashboard.collector import Collector
from tenfold.dashboard.entrance import Entrance
from tenfold.dashboard.feed import Feed
from tenfold.dashboard.gathering import Gathering
from tenfold.dashboard.guard import Guard
from tenfold.dashboard.ladder import Ladder
from tenfold.dashboard.loading import Loading
from tenfold.dashboard.pages import Pages
from tenfold.dashboard.policy import Rules
from tenfold.dashboard.reading import Logs, Proofs
from tenfold.dashboard.redacting import Redactor

FIGURES_FILE = "figures.db"


class Dashboard:
    """One dashboard: `start`, serve `app`, `stop`."""

    def __init__(
        self, place: Place, clock: Clock, rules: Rules, port: int, randomness: Randomness = SYSTEM_RANDOMNESS
    ) -> None:
        redactor, pages, crew = Redactor(place.state / "secrets"), Pages(), Crew(place, clock)
        self._feed, self._store = Feed(), FigureStore(place.state / FIGURES_FILE, clock=clock)
        self._gathering, actions = Gathering(place), Actions(place, crew, clock)
        self._collector = Collector(place, clock, self._feed, self._gathering, self._store, redactor=redactor)
        api = Api(
            feed=self._feed,
            ladder=Ladder(self._collector, self._gathering, self._store, rules.mode, clock=clock, redactor=redactor),
            actions=actions,
            loading=Loading(place, crew, clock),
            gathering=self._gathering,
            logs=Logs(place, redactor),
            proofs=Proofs(place),
            store=self._store,
        )
        entrance = Entrance(rules, pages, clock, randomness, str(port))
        self.needs_token = bool(rules.token)
        router = Router([*entrance.routes(), *api.routes()], default=_nothing)
        self.app: ASGIApp = Guard(router, rules, redactor, str(port))

    @property
    def viewers(self) -> int:
        """How many pages look now."""
        return self._feed.viewers

    async def start(self) -> None:
        """Begins to look at the deployment."""
        await self._collector.start()

    async def stop(self) -> None:
        """Ends all streams, and looks no more."""
        self._feed.close()
        await self._collector.stop()
        self._gathering.close()
        self._store.close()


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotFound("The dashboard has nothing at this address.", hint="The page is at /.")
