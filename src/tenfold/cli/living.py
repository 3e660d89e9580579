"""The running deployment as the prover sees it: its processes, and how it is moved."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tenfold.control.crew import HAPROXY, haproxy_of
from tenfold.control.deployment import Deployment
from tenfold.control.door import find_haproxy
from tenfold.control.engine import web_login
from tenfold.control.place import Place
from tenfold.control.sources import LEFT_OUT
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.errors import TenfoldError
from tenfold.engines.postgres.probe import observe
from tenfold.hosts import wire
from tenfold.prove.faults import DATABASE, KEEPER, NodeFacts
from tenfold.prove.moves import FINISHED, SCALE, MoveFacts

BEGIN_LIMIT_S = 180.0
MARK = "tenfold-proof.txt"
"""The file that makes a copy of the service's code another version; nothing reads it."""


class LiveDeployment:
    """The deployment of one folder, for faults and moves."""

    def __init__(self, place: Place) -> None:
        self._deployment = Deployment(place)
        self._place = place
        self.state = place.state
        self._web = 0
        self._version = ""
        """What was scaled and deployed from, to come back to."""
        self._highest = 0

    # Its processes

    def nodes(self) -> list[NodeFacts]:
        """Keeper, controller, web servers, workers, balancers with their HAProxy, the database server, as far as they
        run."""
        facts = self._deployment.facts()
        found = [_node(node, str(node["node"]).split("-")[0]) for node in _of_the_map(facts)]
        found += [_haproxy(node) for node in facts["balancers"] if node.get("haproxy_pid")]
        for engine in facts["engines"]:
            up = engine["state"] == "running" and self._lets_in()
            found.append(NodeFacts(str(engine["node"]), DATABASE, int(engine["pid"] or 0), up))
        others = [name for name in (KEEPER, "controller") if facts[name] is not None]
        return found + [NodeFacts(name, name, int(facts[name]["pid"]), True) for name in others]

    def _lets_in(self) -> bool:
        """Whether the service could log in to its database server: one that runs may still be repairing itself."""
        current = self._place.read_map()
        if current is None or current.database.server is None:
            return False
        try:
            asyncio.run(observe(web_login(self._place, current.database.server)))
        except TenfoldError:
            return False
        return True

    def bring_up(self) -> None:
        """As `tenfold up`."""
        self._deployment.bring_up()

    # Moving it

    def step(self) -> int:
        """The step that the map is on."""
        current = self._place.read_map()
        return 0 if current is None else current.step

    def highest(self) -> int:
        """The highest step that this machine has the programs for: 3 with HAProxy, else 2 (the move itself says what it
        lacks)."""
        if not self._highest:
            try:
                asyncio.run(find_haproxy())
                self._highest = 3
            except TenfoldError:
                self._highest = 2
        return self._highest

    def begin_move(self, step: int) -> None:
        """As `tenfold climb` or `descend`, without waiting."""
        if step > self.step():
            self._ask("climb", BEGIN_LIMIT_S, step=str(step), only=False)
        else:
            self._ask("descend", BEGIN_LIMIT_S, step=str(step))

    def begin_change(self, kind: str, *, back: bool) -> None:
        """One web server more, or a copy of the code as a new version; or back to what it was before."""
        if kind == SCALE:
            self._scale(back=back)
        elif back:
            self._ask("rollback", BEGIN_LIMIT_S, version=self._version)
        else:
            self._version = str(self._deployment.facts()["version"] or "")
            self._deploy_a_copy()

    def _scale(self, *, back: bool) -> None:
        if not back:
            self._web = len(self._deployment.facts()["nodes"])
        self._ask("scale", BEGIN_LIMIT_S, web=self._web if back else self._web + 1)

    def _deploy_a_copy(self) -> None:
        with tempfile.TemporaryDirectory() as made:
            copy = Path(made) / "code"
            shutil.copytree(self._place.root, copy, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
            (copy / MARK).write_text(f"{SYSTEM_CLOCK.wall_us()}\n")
            self._ask("deploy", BEGIN_LIMIT_S, source=str(copy))

    def move_facts(self) -> MoveFacts:
        """How the newest move stands; it counts as open while nobody can be asked, and while another is to follow."""
        try:
            answer = self._ask("move", 5.0)
        except (wire.NotRunning, wire.NoAnswer):
            return MoveFacts(True, "", 0, "")
        return facts_of(answer)

    def _ask(self, op: str, limit_s: float, **fields: object) -> wire.Message:
        return wire.call(self._place.run / "controller.sock", {"op": op, **fields}, limit_s)


def facts_of(answer: wire.Message) -> MoveFacts:
    """What the controller's answer about the newest move means."""
    move, error = answer["move"], answer.get("error")
    if move is None:
        return MoveFacts(False, "", 0, "there was none")
    pid = int((move["progress"] or {}).get("pid", 0)) if move["open"] else 0
    outcome = f"{move['result']} {move['reason']}".strip()
    if error and not move["open"]:
        return MoveFacts(False, move["stage"], 0, f"{error.get('message', 'an error')}")
    to_come = move["result"] == FINISHED and bool(answer.get("then"))
    return MoveFacts(move["open"] or to_come, move["stage"], pid, outcome)


def _of_the_map(facts: dict[str, Any]) -> list[dict[str, Any]]:
    return [*facts["nodes"], *facts["workers"], *facts["balancers"]]


def _node(node: dict[str, Any], role: str) -> NodeFacts:
    return NodeFacts(str(node["node"]), role, int(node["pid"] or 0), bool(node.get("ready")))


def _haproxy(balancer: dict[str, Any]) -> NodeFacts:
    return NodeFacts(
        haproxy_of(str(balancer["node"])), HAPROXY, int(balancer["haproxy_pid"]), bool(balancer.get("ready"))
    )
