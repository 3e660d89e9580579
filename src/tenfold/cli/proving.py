"""What `prove`, `load`, `break` and `heal` share: the running deployment as the prover sees it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from tenfold.control.deployment import Deployment, address_of
from tenfold.control.engine import web_login
from tenfold.control.place import Place
from tenfold.core.errors import NotFound, TenfoldError, Unavailable, UsageError
from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.engines.postgres.probe import observe
from tenfold.hosts import wire
from tenfold.prove.client import Connection, Target
from tenfold.prove.faults import DATABASE, KEEPER, NodeFacts
from tenfold.prove.moves import MoveFacts
from tenfold.prove.probe.secret import probe_secret, secret_path
from tenfold.prove.workloads import KNOWN, PROBE, Request
from tenfold.topology.map import Map

R = TypeVar("R")

SERVICE_WORKLOADS = {"shortener": ("shortener",)}
"""Workloads that speak a service's own API, by the service's name."""

BEGIN_LIMIT_S = 180.0

_OWN = {name for names in SERVICE_WORKLOADS.values() for name in names}
PROBE_WORKLOADS = tuple(name for name in KNOWN if name not in _OWN)
ADD_PROBE = "Wrap its app with one line: `app = tf.asgi(Probe(tf, app), ...)` (`from tenfold import Probe`)."


async def cancelled_by_signals(work: Coroutine[None, None, R]) -> R:
    """Runs `work`; Ctrl-C and SIGTERM cancel it, so that it undoes what it made. Also where a shell without job control
    started this process in the background, which means with SIGINT ignored."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


class LiveDeployment:
    """The deployment of one folder, for faults."""

    def __init__(self, place: Place) -> None:
        self._deployment = Deployment(place)
        self.state = place.state

    def nodes(self) -> list[NodeFacts]:
        """Keeper, controller and web nodes that run."""
        facts = self._deployment.facts()
        found = [
            NodeFacts(str(node["node"]), str(node["node"]).split("-")[0], int(node["pid"] or 0), bool(node["ready"]))
            for node in facts["nodes"]
        ]
        for engine in facts["engines"]:
            up = engine["state"] == "running" and self._lets_in()
            found.append(NodeFacts(str(engine["node"]), DATABASE, int(engine["pid"] or 0), up))
        others = [name for name in (KEEPER, "controller") if facts[name] is not None]
        return found + [NodeFacts(name, name, int(facts[name]["pid"]), True) for name in others]

    def _lets_in(self) -> bool:
        """Whether the service could log in to its database server: one that runs may still be repairing itself."""
        current = self._deployment.place.read_map()
        if current is None or current.database.server is None:
            return False
        try:
            asyncio.run(observe(web_login(self._deployment.place, current.database.server)))
        except TenfoldError:
            return False
        return True

    def bring_up(self) -> None:
        """As `tenfold up`."""
        self._deployment.bring_up()

    def step(self) -> int:
        """The step that the map is on."""
        current = self._deployment.place.read_map()
        return 0 if current is None else current.step

    def begin_move(self, step: int) -> None:
        """As `tenfold climb` or `descend`, without waiting."""
        op = "climb" if step > self.step() else "descend"
        self._ask(op, BEGIN_LIMIT_S, step=str(step), only=False)

    def move_facts(self) -> MoveFacts:
        """How the newest move stands; one that nobody can ask about just now counts as open."""
        try:
            move = self._ask("move", 5.0)["move"]
        except (wire.NotRunning, wire.NoAnswer):
            return MoveFacts(True, "", 0, "")
        if move is None:
            return MoveFacts(False, "", 0, "there was none")
        pid = int((move["progress"] or {}).get("pid", 0)) if move["open"] else 0
        return MoveFacts(move["open"], move["stage"], pid, f"{move['result']} {move['reason']}".strip())

    def _ask(self, op: str, limit_s: float, **fields: object) -> wire.Message:
        return wire.call(self._deployment.place.run / "controller.sock", {"op": op, **fields}, limit_s)


def running_map(place: Place) -> Map:
    """The map of a deployment that runs; `Unavailable` when it does not."""
    current = place.read_map()
    if current is None or Deployment(place).facts()["state"] == "stopped":
        raise Unavailable("Nothing runs here.", hint="`tenfold up` starts it.", code="TF-NOT-RUNNING")
    return current


def target_of(place: Place, current: Map) -> Target:
    """Where the load goes, with the probe's secret when the service has made one."""
    address = urlsplit(address_of(current))
    secret = ""
    if secret_path(place.state).exists():
        secret = probe_secret(place.state, SYSTEM_RANDOMNESS)
    return Target(address.hostname or "127.0.0.1", address.port or 80, secret)


async def check_target(target: Target) -> None:
    """`Unavailable` when nothing answers there."""
    connection = Connection(target.host, target.port)
    heard = await connection.exchange(Request("GET", "/healthz", "up", ""), {})
    await connection.aclose()
    if heard.answer is None or heard.answer.status != 200:
        raise Unavailable(
            f"http://{target.host}:{target.port} does not answer.",
            hint="Look with `tenfold status`; `tenfold up` helps.",
        )


async def has_probe(target: Target) -> bool:
    """Whether the service answers below the probe's path."""
    connection = Connection(target.host, target.port)
    request = Request("GET", f"{PROBE}set/is-there-a-probe", "read_all", "")
    heard = await connection.exchange(request, {"tf-probe": target.secret} if target.secret else {})
    await connection.aclose()
    answer = heard.answer
    found = answer.json() if answer is not None and answer.status == 200 else None
    return isinstance(found, dict) and "values" in found


async def choose_workloads(target: Target, service: str, wanted: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The workloads that can run, and a sentence about what cannot be proven ("" when all can)."""
    unknown = [name for name in wanted if name not in KNOWN]
    if unknown:
        raise UsageError(f"There is no workload {unknown[0]!r}.", hint=f"There are: {', '.join(KNOWN)}.")
    probe = await has_probe(target)
    possible = (*(PROBE_WORKLOADS if probe else ()), *SERVICE_WORKLOADS.get(service, ()))
    chosen = tuple(name for name in possible if not wanted or name in wanted)
    if not chosen:
        raise NotFound(
            f"{service} has no probe, and no workload of ours speaks its API, so nothing can be proven.", hint=ADD_PROBE
        )
    return chosen, "" if probe else f"{service} has no probe: P8 and P9 cannot be proven. {ADD_PROBE}"


def database_of(current: Map) -> Path | None:
    """The SQLite file of the deployment; None when the data is not in it."""
    return Path(current.database.path) if current.database.backend == "sqlite" else None
