"""How a new tenfold.toml reaches a deployment that runs: values that are live, and new processes beside the old ones.

A change that needs new web processes is a straight line with one point of no return, the moment the new process is
ready: before it everything is undone (the old process never stopped serving), after it only forward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tenfold.control.crew import Crew
from tenfold.control.place import Place, next_map
from tenfold.core.errors import TenfoldError, UsageError
from tenfold.core.journal import Record
from tenfold.engines.postgres import parse_url
from tenfold.topology.diff import Change, Effect, Plan, diff
from tenfold.topology.map import Map, NodeMap
from tenfold.topology.spec import Spec

Note = Callable[..., None]
MAX_WEB = 100


class Changes:
    """The changes of one deployment; `note` writes a line of the journal before the next thing happens."""

    def __init__(self, place: Place, crew: Crew, note: Note) -> None:
        self._place = place
        self._crew = crew
        self._note = note

    def planned(self, current: Map) -> tuple[Map, Plan]:
        """The map that tenfold.toml wants of the running deployment, and what leads there. Raises `SpecError`."""
        spec = self._place.read_spec()
        refuse_other_server(spec, current)
        wanted = self._keep_chosen_port(current, self._place.wanted(spec, current))
        return wanted, diff(current, wanted)

    async def apply(self, current: Map, may_change: Callable[[], None]) -> tuple[Map, tuple[Change, ...]]:
        """Makes the running deployment what tenfold.toml says; the map that runs then and what changed.

        `may_change` is asked first when something differs; what it raises is passed on, and nothing has changed then.
        Raises `SpecError` for a spec that is not valid, `UsageError` for a change that needs a new start, and whatever
        kept a new process from getting ready; the deployment is then as it was.
        """
        wanted, plan = self.planned(current)
        if plan.empty:
            return current, ()
        may_change()
        refuse_new_start(plan.changes)
        if plan.effect is Effect.NEW_PROCESSES:
            return await self.replace_web(current, wanted), plan.changes
        self._note("apply", epoch=wanted.epoch, changes=[str(change) for change in plan.changes])
        self._place.write_map(wanted)
        await self.take_over(current, wanted)
        self._note("applied", epoch=wanted.epoch)
        return wanted, plan.changes

    def _keep_chosen_port(self, current: Map, wanted: Map) -> Map:
        """Port 0 means any, and it was answered when the socket was opened."""
        if wanted.public.port != 0:
            return wanted
        public = msgspec.structs.replace(wanted.public, port=current.public.port)
        return next_map(current, msgspec.structs.replace(wanted, public=public))

    async def revive(self, current: Map, *, migrate: bool) -> None:
        """Starts the web process again that the keeper had given up (its app did not import any more, say)."""
        self._note("revive", epoch=current.epoch)
        if migrate:
            await self._crew.migrate()
        await self._crew.start_web(current, current.nodes[0].name)

    async def take_over(self, before: Map | None, current: Map) -> list[str]:
        """Brings live values to the keeper and to every node that runs; who has acknowledged."""
        if before is None or before.log != current.log:
            await self._crew.ask("rotation", size=current.log.rotate_size, keep=current.log.keep)
        return await self._crew.publish(current.epoch)

    async def replace_web(self, current: Map, wanted: Map) -> Map:
        """Starts a web process with the new map beside the old ones, on the same public socket, then drains those."""
        old = [node.name for node in current.nodes if node.role == "web"]
        new = free_name(old)
        wanted = msgspec.structs.replace(wanted, nodes=(NodeMap(new, "web"),))
        self._note("replace", epoch=wanted.epoch, old=old, new=new, before=msgspec.to_builtins(current))
        self._place.write_map(wanted)
        try:
            await self._crew.migrate()
            await self._crew.start_web(wanted, new)
        except TenfoldError:
            await self.undo_replace(current, wanted, new)
            raise
        await self.finish_replace(current, wanted, old)
        return wanted

    async def finish_replace(self, before: Map | None, current: Map, old: Sequence[str]) -> None:
        """Past the point of no return: the new process serves, the old ones finish what they have begun and leave."""
        self._note("replace-forward", epoch=current.epoch)
        for node in old:
            how = await self._crew.drain(node, current.web.drain_limit_s)
            self._note("drained", node=node, how=how)
        await self.take_over(before, current)
        self._note("replaced", epoch=current.epoch)

    async def undo_replace(self, before: Map, tried: Map, new: str) -> Map:
        """Puts the old map back under a newer epoch and stops the process that did not get ready."""
        restored = next_map(tried, before)
        self._place.write_map(restored)
        await self._crew.drain(new, 0.0)
        await self.take_over(tried, restored)
        self._note("replace-undone", epoch=restored.epoch)
        return restored


def refuse_new_start(changes: Sequence[Change]) -> None:
    """Raises `UsageError` naming the changes that a running deployment cannot take."""
    hard = [change.path for change in changes if change.effect is Effect.NEW_START]
    if hard:
        raise UsageError(
            f"{', '.join(hard)} cannot change while the deployment runs; nothing was changed.",
            hint="Run `tenfold down` and then `tenfold up`, or put the old value back.",
            code="TF-NEW-START",
        )


def refuse_other_server(spec: Spec, current: Map) -> None:
    """Raises `UsageError` when `database.url` names another server than the one that the data is on."""
    server = current.database.server
    if spec.database.url is None or server is None or current.database.backend == "sqlite":
        return
    login = parse_url(spec.database.url.reveal())
    if server.supervised or (login.host, login.port, login.database) != (server.host, server.port, server.database):
        raise UsageError(
            f"database.url names another server than {server.host}:{server.port}/{server.database}, where the data is.",
            hint="Put the old value back. To go there, `tenfold descend 1` first, then `tenfold climb 2`.",
            code="TF-NEW-START",
        )


def free_name(taken: Sequence[str]) -> str:
    """The web node name of the lowest number that is not taken."""
    return next(name for name in (f"web-{number}" for number in range(1, MAX_WEB)) if name not in taken)


def open_replace(records: Sequence[Record]) -> dict[str, Any] | None:
    """The replacement in the journal that was neither finished nor undone, with `forward` once it was past its point of
    no return; None when there is none."""
    found: dict[str, Any] | None = None
    for record in records:
        if record.kind == "replace":
            found = {**record.data, "forward": False}
        elif record.kind == "replace-forward" and found:
            found["forward"] = True
        elif record.kind in ("replaced", "replace-undone", "start"):
            found = None
    return found
