"""How an edited tenfold.toml reaches a deployment that runs, where no process has to be replaced for it.

Values that running processes take over are published with the next map. What needs other processes is the move
`change_nodes`, and what needs another socket or another file is refused until a new start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from tenfold.control.crew import Crew
from tenfold.control.door import prepare_door
from tenfold.control.place import Place, next_map
from tenfold.core.errors import UsageError
from tenfold.engines.postgres import parse_url
from tenfold.topology.diff import Change, Effect, Plan, diff
from tenfold.topology.map import Map
from tenfold.topology.spec import Spec

Note = Callable[..., None]


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
        wanted = _keep_chosen_port(current, self._place.wanted(spec, current))
        return wanted, diff(current, wanted)

    async def take_over(self, before: Map, current: Map, plan: Plan) -> None:
        """Brings live values to the keeper and to every node that runs. Raises `Unavailable` naming who did not."""
        if current.of_role("balancer"):
            await prepare_door(self._place, current)
        self._note("apply", epoch=current.epoch, changes=[str(change) for change in plan.changes])
        self._place.write_map(current)
        if before.log != current.log:
            await self._crew.ask("rotation", size=current.log.rotate_size, keep=current.log.keep)
        await self._crew.publish(current.epoch)
        self._note("applied", epoch=current.epoch)


def _keep_chosen_port(current: Map, wanted: Map) -> Map:
    """Port 0 means any, and it was answered when the socket was opened."""
    if wanted.public.port != 0:
        return wanted
    public = msgspec.structs.replace(wanted.public, port=current.public.port)
    return next_map(current, msgspec.structs.replace(wanted, public=public))


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
