"""What the rules look at: the map, and the levels of everything that was measured under it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec

from tenfold.control.advice.levels import LOOK_BACK_S, TOLERANCE, Sample, level, mean, now, quantile, usual
from tenfold.control.figures.model import Figures, NodeFigures, Traffic
from tenfold.topology.map import Map

ERRORS_S = 60.0
"""Failed requests count for so long."""
KEPT_EVERY_S = 6.0
"""A window of a second stands for so many at most: the history keeps one of five seconds."""
LOAD = "load"
"""The role of a load that was asked for: it works on the machine, and not for the service."""


@dataclass(frozen=True)
class Use:
    """How much one node uses of what it can: in cores, at its level."""

    node: str
    used: float
    most: float
    share: float
    now: float
    """The share just now."""


@dataclass(frozen=True)
class Scene:
    """A deployment over some minutes. Rates are per second, times in milliseconds, processors in cores."""

    current: Map
    windows: tuple[Figures, ...]

    @cached_property
    def seconds(self) -> float:
        """How long was looked."""
        return sum(window.window_s for window in self.windows)

    @property
    def moving(self) -> bool:
        """Whether a move is under way: what it does is not what the load does."""
        database = self.current.database
        parting = any(node.traffic == "off" for node in self.current.nodes)
        return parting or bool(database.standby) or database.gate == "held"

    # The load

    @cached_property
    def rate(self) -> float:
        """Requests of users."""
        return level(self._samples(lambda window: window.public.rate))

    @cached_property
    def errors(self) -> float:
        """The share of the requests of the last minute that failed."""
        recent = _last(self.windows, ERRORS_S)
        asked = sum(window.public.rate * window.window_s for window in recent)
        failed = sum(window.public.errors * window.window_s for window in recent)
        return min(1.0, failed / asked) if asked else 0.0

    def took_ms(self, which: Callable[[Figures], Traffic], percentile: str = "p50_ms") -> float:
        """How long something usually takes; 0 where nobody measured it."""
        told = [(getattr(which(window), percentile), window.window_s) for window in self.windows]
        return usual([(took, seconds) for took, seconds in told if took is not None])

    @cached_property
    def reads(self) -> float:
        """Reads outside of transactions, of all processes."""
        return level(self._samples(lambda window: window.reads.rate))

    @cached_property
    def writes(self) -> float:
        """Transactions, of all processes."""
        return level(self._samples(lambda window: window.writes.rate))

    @cached_property
    def jobs(self) -> float:
        """Jobs that were done, of all processes."""
        return level(self._samples(lambda window: _sum(window, lambda node: node.jobs.rate if node.jobs else 0.0)))

    @cached_property
    def waiting(self) -> float:
        """Jobs that are due and wait."""
        return usual(
            self._samples(lambda window: _sum(window, lambda node: node.queue * (node.role in ("web", "worker"))))
        )

    @cached_property
    def waiting_falls(self) -> bool:
        """Whether they get fewer by themselves."""
        told = self._samples(lambda window: _sum(window, lambda node: node.queue * (node.role in ("web", "worker"))))
        return now(told) < (1 - TOLERANCE) * quantile(told, 0.5)

    @cached_property
    def cache_hits(self) -> float | None:
        """The share of look-ups that the caches answered; None where nobody asked them."""
        told = [(node.cache_hits, node.cache_lookups * w.window_s) for w in self.windows for node in w.nodes]
        asked = [(hits, lookups) for hits, lookups in told if hits is not None and lookups]
        return mean(asked) if asked else None

    # Processors

    @property
    def machine(self) -> Figures:
        """The last window: for what is as it is."""
        return self.windows[-1]

    @property
    def cores(self) -> int:
        """Of the machine."""
        return self.machine.machine.cores

    @cached_property
    def busy(self) -> float:
        """Cores in use by everybody."""
        return level(self._samples(lambda window: window.machine.cpu))

    @cached_property
    def ours(self) -> float:
        """Cores in use by this deployment."""
        return level(self._samples(lambda window: _sum(window, lambda node: (node.cpu or 0.0) * (node.role != LOAD))))

    @property
    def idle(self) -> float:
        """Cores that nobody uses."""
        return max(0.0, self.cores - self.busy)

    @property
    def others(self) -> float:
        """Cores in use by programs that are not of this deployment."""
        return max(0.0, self.busy - self.ours)

    def fits(self, cap: float) -> bool:
        """Whether another process that can use `cap` cores would find half of that idle.

        One that has a cap below a core and fills it was given all of it, however busy the machine is, and so would
        another be; as long as there are so many cores at all.
        """
        return self.idle >= cap / 2 or (cap < 1 and self.ours + cap <= self.cores)

    def uses(self, role: str) -> list[Use]:
        """The nodes of a tier, the fullest first; those whose processor time nobody knows are missing."""
        return self._uses.get(role, [])

    def of_node(self, name: str, value: Callable[[NodeFigures], float | None]) -> list[Sample]:
        """One value of a node in every window that has it."""
        told = self._seen.get(name, [])
        return [(found, seconds) for node, seconds in told if (found := value(node)) is not None]

    @cached_property
    def _seen(self) -> dict[str, list[tuple[NodeFigures, float]]]:
        """Each node in all windows that have it, and for how long."""
        found: dict[str, list[tuple[NodeFigures, float]]] = {}
        for window in self.windows:
            for node in window.nodes:
                found.setdefault(node.node, []).append((node, window.window_s))
        return found

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        """The names of the nodes of each tier."""
        found: dict[str, list[str]] = {}
        for name in sorted(self._seen):
            found.setdefault(self._seen[name][-1][0].role, []).append(name)
        return found

    @cached_property
    def _uses(self) -> dict[str, list[Use]]:
        """How much each node of each tier uses; worked out once, because many rules ask."""
        told = {role: [use for use in map(self._use, names) if use is not None] for role, names in self._names.items()}
        return {role: sorted(uses, key=lambda use: -use.share) for role, uses in told.items()}

    def _use(self, name: str) -> Use | None:
        used = self.of_node(name, lambda node: node.cpu)
        shares = self.of_node(name, lambda node: None if node.cpu is None else node.cpu / node.cpu_max)
        most = self.of_node(name, lambda node: node.cpu_max)
        return Use(name, level(used), most[-1][0], level(shares), now(shares)) if used else None

    # Gauges

    def usual_of(self, role: str, value: Callable[[NodeFigures], float]) -> float:
        """What is usual at the node of a tier where it is most."""
        return max((usual(self.of_node(name, value)) for name in self._names.get(role, [])), default=0.0)

    @cached_property
    def disk_busy(self) -> float:
        """The share of the time in which the disk worked; 0 where nobody can tell."""
        told = [(window.machine.disk_busy, window.window_s) for window in self.windows]
        return level([(busy, seconds) for busy, seconds in told if busy is not None])

    def _samples(self, value: Callable[[Figures], float]) -> list[Sample]:
        return [(value(window), window.window_s) for window in self.windows]


def scene_of(current: Map, history: Sequence[Figures]) -> Scene:
    """The scene of a map: windows of the last ten minutes in which just its nodes ran.

    What was measured before the last move, or while a node was gone, says nothing about the topology of now.
    """
    measured = sorted((window for window in history if window.window_s > 0), key=lambda window: window.at_us)
    since = measured[-1].at_us - LOOK_BACK_S * 1e6 if measured else 0.0
    stood = [window for window in _standing(measured) if window.at_us >= since]
    return Scene(current, tuple(window for window in stood if _ran(current, window)))


def _standing(windows: Sequence[Figures]) -> Iterable[Figures]:
    """Each window with the seconds that it stands for: since the one before it, so that none counts twice where they
    overlap, and all of the time where only now and then one was kept."""
    before: Figures | None = None
    for window in windows:
        most = max(window.window_s, KEPT_EVERY_S)
        seconds = window.window_s if before is None else min((window.at_us - before.at_us) / 1e6, most)
        before = window
        yield msgspec.structs.replace(window, window_s=seconds)


def missing_in(current: Map, history: Sequence[Figures]) -> tuple[str, ...]:
    """Nodes of the map that did not run at the last look."""
    if not history:
        return ()
    last = max(history, key=lambda window: window.at_us)
    return tuple(sorted(_wanted(current) - {node.node for node in last.nodes}))


def _ran(current: Map, window: Figures) -> bool:
    roles = {node.role for node in current.nodes}
    seen = {node.node for node in window.nodes if node.role in roles}
    server = current.database.server
    supervised = current.database.backend == "postgres" and server is not None and server.supervised
    return seen == _wanted(current) and (not supervised or bool(window.of_role("database")))


def _wanted(current: Map) -> set[str]:
    return {node.name for node in current.nodes}


def _last(windows: Sequence[Figures], seconds: float) -> Iterable[Figures]:
    since = windows[-1].at_us - seconds * 1e6 if windows else 0.0
    return [window for window in windows if window.at_us > since]


def _sum(window: Figures, value: Callable[[NodeFigures], float]) -> float:
    return sum(value(node) for node in window.nodes)
