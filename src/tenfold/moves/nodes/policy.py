"""The decisions of moves of web servers, workers and balancers: values in, values out."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tenfold.moves.context import NodeFacts
from tenfold.topology.map import Map, NodeMap
from tenfold.topology.working import coded

AT_ONCE = 2
"""Processes that are started at the same time: more of them would starve those that serve."""

START_LIMIT_S = 90.0
"""What starting `AT_ONCE` processes may take, in seconds; the deployment gives up on one earlier, with its reason."""

SETTLE_S = 5.5
"""How long a process with new code has to live, once it is ready, before clients come to it: faults of code show in the
first five seconds."""

DRAIN_SLACK_S = 10.0
"""Seconds between the end of a drain's limit and SIGKILL."""

RESTART_GRACE_S = 10.0
"""How long a balancer that does not answer may take to end, before it is killed and started anew."""


@dataclass(frozen=True)
class NodeChange:
    """The difference between the nodes that run the service's code (web servers, workers) and those that are wanted, by
    name, web servers first. Clients come to web servers, and jobs to workers."""

    before: Map
    wanted: Map

    @property
    def _serving(self) -> tuple[NodeMap, ...]:
        return tuple(node for node in coded(self.before) if node.traffic == "on")

    @property
    def serving(self) -> tuple[str, ...]:
        """Those that clients or jobs came to when the move began."""
        return names_of(self._serving)

    @property
    def remaining(self) -> tuple[str, ...]:
        """Those that clients or jobs come to in the end."""
        return names_of(node for node in coded(self.wanted) if node.traffic == "on")

    @property
    def joins(self) -> tuple[str, ...]:
        """Those that clients or jobs are to come to and did not."""
        return tuple(name for name in self.remaining if name not in self.serving)

    @property
    def fresh(self) -> tuple[NodeMap, ...]:
        """Those that the map did not have."""
        return tuple(node for node in coded(self.wanted) if self.before.node(node.name) is None)

    @property
    def leaves(self) -> tuple[str, ...]:
        """Those that are not wanted any more."""
        return names_of(node for node in coded(self.before) if self.wanted.node(node.name) is None)

    def of_role(self, role: str, names: Iterable[str]) -> tuple[str, ...]:
        """Those of `names` that have that role, before or in the end."""
        have = {node.name for each in (self.before, self.wanted) for node in each.of_role(role)}
        return tuple(name for name in names if name in have)

    @property
    def version(self) -> str:
        """The version of the code that is wanted."""
        wanted = self.wanted.of_role("web")
        return wanted[0].version if wanted else ""

    @property
    def renames_version(self) -> bool:
        """Whether clients or jobs meet another version of the code than before."""
        return {node.version for node in self._serving} != {node.version for node in coded(self.wanted)}


def names_of(nodes: Iterable[NodeMap]) -> tuple[str, ...]:
    """Their names."""
    return tuple(node.name for node in nodes)


def start_limit_s(count: int) -> float:
    """How long starting so many processes may take, in seconds."""
    return START_LIMIT_S * max(1, math.ceil(count / AT_ONCE))


def grace_s(current: Map) -> float:
    """How long a process may take to finish requests and jobs that it has begun, in seconds."""
    return current.web.drain_limit_s + DRAIN_SLACK_S


def unready(facts: Mapping[str, NodeFacts], names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names` that do not run or are not ready."""
    return tuple(name for name in names if name not in facts or not (facts[name].kept and facts[name].ready))


def may_turn_off(facts: Mapping[str, NodeFacts], leaving: Collection[str], remaining: Collection[str]) -> bool:
    """Whether clients are still served when those of one role that leave get no more of them.

    Where none of the leaving is ready either, nothing is lost by it.
    """
    ready_remaining = len(unready(facts, remaining)) < len(remaining)
    return ready_remaining or len(unready(facts, leaving)) == len(leaving)


@dataclass(frozen=True)
class Settling:
    """Whether new processes are trusted: `problem` says why not, `left_s` how long to wait still (0: they are)."""

    left_s: float = 0.0
    problem: str = ""


def settling(facts: Mapping[str, NodeFacts], names: Iterable[str], *, for_s: float = SETTLE_S) -> Settling:
    """Whether each of these has been ready for `for_s` seconds in one piece. One restart is one too many."""
    left = 0.0
    for name in names:
        fact = facts.get(name)
        if fact is None or not fact.kept:
            return Settling(problem=f"{name} does not run any more ({fact.state if fact else 'it is gone'})")
        if fact.restarts:
            times = "once" if fact.restarts == 1 else f"{fact.restarts} times"
            return Settling(problem=f"{name} ended and was started again {times}")
        if not fact.ready:
            return Settling(problem=f"{name} is not ready")
        left = max(left, for_s - fact.ready_s)
    return Settling(left_s=left)


def public_connections(
    facts: Mapping[str, NodeFacts], statuses: Mapping[str, Mapping[str, Any]]
) -> tuple[int, tuple[str, ...]]:
    """How many connections clients still have to web servers past the balancers, and which servers do not say.

    A server that does not run has none.
    """
    silent, count = [], 0
    for name, status in statuses.items():
        told = status.get("public_connections")
        if isinstance(told, int):
            count += told
        elif name in facts and not facts[name].ended:
            silent.append(name)
    return count, tuple(silent)


def cure_of(status: Mapping[str, Any]) -> Literal["restart", "refuse"]:
    """What becomes of a balancer that did not take a map over.

    One that does not answer is started anew and reads the map then. One that answers and does not take it over has a
    reason (a full disk, a configuration that HAProxy refuses) and serves on by the map before: ending it would help
    nobody, so the stage fails with its reason.
    """
    return "refuse" if status else "restart"


def shown(names: Collection[str]) -> str:
    """Names for a sentence: "web-1, web-2 and web-3", or "web-1 ... web-9 (9)"."""
    found = list(names)
    if len(found) > 4:
        return f"{found[0]} ... {found[-1]} ({len(found)})"
    return " and ".join([", ".join(found[:-1]), found[-1]]) if len(found) > 1 else "".join(found)
