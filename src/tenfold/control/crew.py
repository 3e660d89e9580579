"""The processes of a deployment as the controller and its mover handle them, through the keeper: migrations run to
their end, web servers, workers and balancers started, watched, drained.

Everything here observes first, so that whoever was killed in the middle can do it again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import asdict
from typing import Any

from tenfold.control.door import find_haproxy
from tenfold.control.place import Place
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError, Unavailable, UsageError
from tenfold.hosts import wire
from tenfold.hosts.records import Launch
from tenfold.serve.balancer.launch import balancer_launch
from tenfold.topology.map import Map, NodeMap

START_LIMIT_S = 60.0
"""How long a node may take until it is ready, in seconds."""
MIGRATE_LIMIT_S = 3600.0
MAX_STARTS = 3
"""A node that ends this often in a row before it was ready does not get ready."""
DRAIN_SLACK_S = 10.0
"""Seconds between the end of a drain's limit and SIGKILL: what is in flight then may still finish."""
CHANGES_STAGE, CODE_STAGE = 0, 2
"""When children are stopped, among all that stop (Launch.stage): balancers between these two, databases after them."""
ROLES = {"web": "web", "worker": "worker", "balancer": "balancer", "db": "database"}
"""The role of a node by the name that it has before its number."""
HAPROXY = "haproxy"
SERVING = ("web", "worker", "balancer")
"""The roles whose nodes are in the map, and run as it says."""
PASSED_ON = ("TENFOLD_LIMITS",)
"""Variables in the environment of `tenfold up` that are for the service, whoever it runs as."""
_LOOK_S = 0.03
MIGRATE, PENDING = "migrate", "migrate-look"


def role_of(node: str) -> str:
    """The role of a node by its name ("web-2": web); empty for one that serves nobody."""
    name, _, number = node.rpartition("-")
    return ROLES.get(name, "") if number.isdigit() else ""


def haproxy_of(balancer: str) -> str:
    """What the HAProxy of a balancer is called: `haproxy-1` of `balancer-1`. It is no child of the keeper's."""
    return balancer.replace("balancer", HAPROXY, 1)


class Crew:
    """The children of one keeper, by what they do."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self._place = place
        self._clock = clock
        self._keeper = place.run / "keeper.sock"

    async def ask(self, op: str, timeout_s: float = 10.0, **fields: Any) -> wire.Message:
        """One operation of the keeper."""
        return await wire.ask(self._keeper, {"op": op, **fields}, timeout_s)

    async def facts(self, node: str) -> wire.Message | None:
        """What the keeper knows of one node, or None."""
        return next((fact for fact in await self.nodes() if fact["node"] == node), None)

    async def nodes(self) -> list[wire.Message]:
        """What the keeper knows of all its children, oldest first."""
        return list((await self.ask("list"))["nodes"])

    async def kept(self, *roles: str) -> list[str]:
        """The nodes of these roles that the keeper keeps running, oldest first."""
        return [str(fact["node"]) for fact in await self.nodes() if role_of(fact["node"]) in roles and is_kept(fact)]

    async def status(self, node: str, limit_s: float = 2.0) -> wire.Message:
        """What a node says of itself; empty when it does not answer."""
        try:
            return await wire.ask(self._place.run / f"{node}.sock", {"op": "status"}, limit_s)
        except TenfoldError:
            return {}

    # Work that ends

    async def run_to_its_end(self, launch: Launch, limit_s: float) -> wire.Message:
        """Runs a child that ends by itself; its facts then. One of its name that still runs is waited for first.

        Raises the error that it ended with, and `Unavailable` when it takes longer than `limit_s` seconds.
        """
        node = launch.node
        if await self.facts(node) is not None:
            await self._awaited(node, limit_s)
        await self.ask("spawn", **asdict(launch))
        ended = await self._awaited(node, limit_s)
        if not ended["finished"]:
            raise Unavailable(f"{node} did not end within {limit_s:g} s.", hint=_log_hint(node))
        if ended["exit_code"] != 0:
            raise self.failure(node, ended)
        return ended

    async def _awaited(self, node: str, limit_s: float) -> wire.Message:
        ended = await self.ask("wait", timeout_s=limit_s + 5, node=node, limit_s=limit_s)
        await self.ask("stop", timeout_s=60.0, node=node, grace_s=0.0)
        return ended

    async def migrate(self, version: str = "", phase: str = "") -> wire.Message:
        """Runs the migrations of a version's code on the database of the map; the report.

        `version`: empty for the folder itself. `phase`: `expand`, `contract`, or both one after the other.
        """
        ended = await self.run_to_its_end(self._migrate_launch(MIGRATE, version, phase), MIGRATE_LIMIT_S)
        return dict(ended["report"] or {})

    async def migration_pending(self, version: str, phase: str) -> bool:
        """Whether `migrate` would change anything now."""
        launch = self._migrate_launch(PENDING, version, phase, "--pending")
        return bool((await self.run_to_its_end(launch, MIGRATE_LIMIT_S))["report"]["pending"])

    def _migrate_launch(self, node: str, version: str, phase: str, *words: str) -> Launch:
        more = (("--version", version) if version else ()) + (("--phase", phase) if phase else ()) + words
        module = ("-m", "tenfold.control.migrate", "--map", str(self._place.map_file), "--json")
        return Launch(
            node=node,
            argv=(sys.executable, "-P", *module, *more),
            cwd=str(self._place.root),
            env=self.environment(version),
            restart=False,
            grace_s=30.0,
            stage=CHANGES_STAGE,
        )

    # Nodes

    async def start(self, current: Map, node: NodeMap) -> None:
        """Starts a node of a map and waits until it is ready; one that runs is only waited for.

        Raises why it cannot serve (the app does not import, it crashes, it takes too long); it runs no longer then.
        """
        fact = await self.facts(node.name)
        if fact is None or not is_kept(fact):
            await self.ask("spawn", **asdict(await self._launch(current, node)))
        try:
            await self.until_ready(node.name)
        except TenfoldError:
            await self.stop(node.name, 2.0)
            raise

    async def _launch(self, current: Map, node: NodeMap) -> Launch:
        match node.role:
            case "web":
                return self._code_launch(current, node, "tenfold.serve.web", listener=True)
            case "worker":
                return self._code_launch(current, node, "tenfold.serve.worker")
            case "balancer":
                program = await find_haproxy()
                return balancer_launch(current, node.name, map_file=self._place.map_file, haproxy=str(program.path))
        raise UsageError(f"{node.name} is no web server, worker or balancer; a move does not start it.", code="TF-MOVE")

    def _code_launch(self, current: Map, node: NodeMap, module: str, *, listener: bool = False) -> Launch:
        return Launch(
            node=node.name,
            argv=(sys.executable, "-P", "-m", module),
            cwd=str(self._place.root),
            env=self.environment(node.version),
            listener=listener,
            socket=True,
            map=True,
            grace_s=grace_of(current),
            stage=CODE_STAGE,
        )

    def environment(self, version: str = "") -> dict[str, str]:
        """The environment of processes that import the service; the code of a version comes before everything else."""
        code = self._place.state / "versions" / version if version else self._place.root
        paths = [str(code), os.environ.get("PYTHONPATH", "")]
        return {
            "TENFOLD_MAP": str(self._place.map_file),
            "PYTHONPATH": os.pathsep.join(path for path in dict.fromkeys(paths) if path),
            "PYTHONUNBUFFERED": "1",
            **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        }

    async def until_ready(self, node: str) -> None:
        """Waits until a node that was started is ready. Raises why it does not get there; it is left alone."""
        deadline = self._clock.monotonic() + START_LIMIT_S
        while self._clock.monotonic() < deadline:
            fact = await self.facts(node)
            if fact is None:
                raise Unavailable(f"{node} was stopped while it started.", hint="Run `tenfold up` again.")
            if fact["ready"]:
                return
            if fact["state"] in ("failed", "ended") or fact["short_lives"] >= MAX_STARTS:
                raise self.failure(node, fact)
            await asyncio.sleep(_LOOK_S)
        reason = str((await self.status(node)).get("reason") or "").rstrip(".")
        raise Unavailable(
            f"{node} did not get ready within {START_LIMIT_S:g} s{': ' if reason else ''}{reason}.",
            hint=_log_hint(node),
        )

    async def address_of(self, node: str) -> str:
        """Where balancers reach a web node: "127.0.0.1:PORT", the same for the same name, unless another program has
        taken it while the node did not listen there."""
        current = self._place.read_map()
        found = current.node(node) if current is not None else None
        listens = found is not None and found.address != "" and node in await self.kept("web")
        return f"127.0.0.1:{(await self.ask('port', name=node, free=not listens))['port']}"

    def failure(self, node: str, fact: wire.Message) -> TenfoldError:
        """Why a child could not do its work; on a full disk it may have had no place to say so."""
        if not (fact.get("report") or {}).get("error"):
            try:
                self._place.try_to_write()
            except TenfoldError as error:
                return error
        return failure(node, fact)

    async def stop(self, node: str, grace_s: float) -> str:
        """Ends a node after it has finished what it had begun, and has it forgotten.

        `drained`, `killed` (after `grace_s` seconds), or `gone` when there was none.
        """
        try:
            return str((await self.ask("stop", timeout_s=grace_s + 30.0, node=node, grace_s=grace_s))["how"])
        except TenfoldError as error:  # what comes over a socket has its code, and no class of its own
            if error.code != "TF-NO-NODE":
                raise
            return "gone"

    async def publish(self, epoch: int, *, tries: int = 20) -> list[str]:
        """Makes every node that runs take over the map of that epoch; who did.

        Raises `Unavailable` naming who did not.
        """
        for _ in range(tries):
            answer = await self.ask("publish", timeout_s=15.0, epoch=epoch)
            if not answer["missing"]:
                return [str(node) for node in answer["acked"]]
            await asyncio.sleep(0.25)
        reasons = "; ".join(f"{node}: {reason}" for node, reason in answer["missing"].items())
        raise Unavailable(f"Not every process has taken over epoch {epoch}: {reasons}.", hint="See `tenfold status`.")


def grace_of(current: Map) -> float:
    """How long a node has from the moment at which it is asked to leave until it is killed, in seconds."""
    return min(current.web.drain_limit_s + DRAIN_SLACK_S, 3600.0)


def is_kept(fact: wire.Message) -> bool:
    """Whether the keeper keeps a node running: not one that ended, was given up, or is being stopped."""
    return fact["state"] not in ("failed", "ended", "stopping")


def _log_hint(node: str) -> str:
    return f"See `tenfold logs {node}`."


def failure(node: str, fact: wire.Message) -> TenfoldError:
    """Why a child could not do its work: what it said itself, else how it ended and its last words."""
    error = (fact.get("report") or {}).get("error")
    if error:
        return wire.error_of(error)
    said = "\n".join(f"  {line}" for line in fact.get("tail") or ["(nothing)"])
    return TenfoldError(
        f"{node} ended with exit code {fact.get('exit_code')}. Its last lines:\n{said}",
        hint=_log_hint(node),
        code="TF-NODE-FAILED",
    )
