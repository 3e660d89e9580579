"""The processes of a deployment as the controller moves them, through the keeper: migrate, start web, drain web.

Everything here observes first, so that a controller that was killed in the middle can do it again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import asdict
from typing import Any

from tenfold.control.place import Place
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError, Unavailable
from tenfold.hosts import wire
from tenfold.hosts.records import Launch
from tenfold.topology.map import Map

START_LIMIT_S = 60.0
"""How long a web process may take until it is ready, in seconds."""
MIGRATE_LIMIT_S = 3600.0
MAX_STARTS = 3
"""A web process that ends this often in a row before it was ready does not get ready."""
DRAIN_SLACK_S = 10.0
"""Seconds between the end of a drain's limit and SIGKILL: what is in flight then may still finish."""
_LOOK_S = 0.03
MIGRATE = "migrate"


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
        return next((fact for fact in await self._nodes() if fact["node"] == node), None)

    async def web_nodes(self) -> list[str]:
        """The web processes that the keeper keeps running, oldest first."""
        return [str(fact["node"]) for fact in await self._nodes() if fact["listener"] and _is_kept(fact)]

    async def _nodes(self) -> list[wire.Message]:
        return list((await self.ask("list"))["nodes"])

    async def migrate(self) -> wire.Message:
        """Runs the migrations of the map on disk in a process of its own; its report.

        Raises the error that it ended with. One that a controller before us started is waited for.
        """
        before = await self.facts(MIGRATE)
        if before is None or before["state"] in ("ended", "failed"):
            await self.ask("spawn", **asdict(self._migrate_launch()))
        ended = await self.ask("wait", timeout_s=MIGRATE_LIMIT_S + 5, node=MIGRATE, limit_s=MIGRATE_LIMIT_S)
        await self.ask("stop", node=MIGRATE, grace_s=0.0)
        if not ended["finished"]:
            raise Unavailable(f"The migration did not end within {MIGRATE_LIMIT_S:g} s.", hint=_log_hint(MIGRATE))
        if ended["exit_code"] == 0:
            return dict(ended["report"] or {})
        raise failure(MIGRATE, ended)

    def _migrate_launch(self) -> Launch:
        return Launch(
            node=MIGRATE,
            argv=(sys.executable, "-P", "-m", "tenfold.control.migrate", "--map", str(self._place.map_file), "--json"),
            cwd=str(self._place.root),
            env=self.environment(),
            restart=False,
            grace_s=30.0,
            stage=0,
        )

    async def start_web(self, current: Map, node: str) -> None:
        """Starts a web process on the public socket and waits until it is ready.

        Raises why it cannot serve (the app does not import, it crashes, it takes too long); it runs no longer then.
        """
        fact = await self.facts(node)
        if fact is None or not _is_kept(fact):
            await self.ask("spawn", **asdict(self._web_launch(current, node)))
        try:
            await self.until_ready(node)
        except TenfoldError:
            await self.ask("stop", timeout_s=30.0, node=node, grace_s=2.0)
            raise

    def _web_launch(self, current: Map, node: str) -> Launch:
        return Launch(
            node=node,
            argv=(sys.executable, "-P", "-m", "tenfold.serve.web"),
            cwd=str(self._place.root),
            env=self.environment(),
            listener=True,
            socket=True,
            map=True,
            grace_s=min(current.web.drain_limit_s + DRAIN_SLACK_S, 3600.0),
        )

    def environment(self) -> dict[str, str]:
        """The environment of processes that import the service."""
        paths = [str(self._place.root), os.environ.get("PYTHONPATH", "")]
        return {
            "TENFOLD_MAP": str(self._place.map_file),
            "PYTHONPATH": os.pathsep.join(path for path in dict.fromkeys(paths) if path),
            "PYTHONUNBUFFERED": "1",
        }

    async def until_ready(self, node: str) -> None:
        """Waits until a web process that was started is ready. Raises why it does not get there; it is left alone."""
        deadline = self._clock.monotonic() + START_LIMIT_S
        while self._clock.monotonic() < deadline:
            fact = await self.facts(node)
            if fact is None:
                raise Unavailable(f"{node} was stopped while it started.", hint="Run `tenfold up` again.")
            if fact["ready"]:
                return
            if fact["state"] in ("failed", "ended") or fact["short_lives"] >= MAX_STARTS:
                raise failure(node, fact)
            await asyncio.sleep(_LOOK_S)
        raise Unavailable(
            f"{node} did not get ready within {START_LIMIT_S:g} s{await self._why_not_ready(node)}.",
            hint=_log_hint(node),
        )

    async def _why_not_ready(self, node: str) -> str:
        try:
            reason = (await wire.ask(self._place.run / f"{node}.sock", {"op": "status"}, 2.0)).get("reason")
        except TenfoldError:
            return ""
        return f": {str(reason).rstrip('.')}" if reason else ""

    async def drain(self, node: str, limit_s: float) -> str:
        """Ends a web process after it has finished what its clients began; `drained`, `killed` or `gone`."""
        if await self.facts(node) is None:
            return "gone"
        grace_s = limit_s + DRAIN_SLACK_S
        return str((await self.ask("stop", timeout_s=grace_s + 30.0, node=node, grace_s=grace_s))["how"])

    async def publish(self, epoch: int, *, tries: int = 20) -> list[str]:
        """Makes every web process that runs take over the map of that epoch; who did.

        Raises `Unavailable` naming who did not.
        """
        for _ in range(tries):
            answer = await self.ask("publish", timeout_s=15.0, epoch=epoch)
            if not answer["missing"]:
                return [str(node) for node in answer["acked"]]
            await asyncio.sleep(0.25)
        reasons = "; ".join(f"{node}: {reason}" for node, reason in answer["missing"].items())
        raise Unavailable(f"Not every process has taken over epoch {epoch}: {reasons}.", hint="See `tenfold status`.")


def _is_kept(fact: wire.Message) -> bool:
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
