"""What commands want of the topology beyond tenfold.toml; targets.py has the moves that lead there.

`climb`, `descend`, `scale`, `deploy` and `rollback` change these wants; a map meets them or a move makes it. They are
written beside the map (`.tenfold/wants.json`), so that a map that was lost is not taken for a deployment on its first
step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec

from tenfold.core.errors import SpecError, UsageError
from tenfold.topology.map import DatabaseBackend, Map, NodeMap
from tenfold.topology.pools import LEAST, carries
from tenfold.topology.steps import STEPS, Step, highest_existing, step_of

BALANCERS: Final = 2
"""How many stand before the web servers, when any do: one may die, or be started anew, while the other accepts."""

WEB_MAX = 64
"""Web servers of one service at most."""

WORKERS_MAX = 64
"""Workers of one service at most."""


class Wants(msgspec.Struct, frozen=True, omit_defaults=True):
    """`database`: where the data is to be. `balancers`: how many stand before the web servers.

    `web`: how many web servers there are to be (`scale web=N`); 0 for what tenfold.toml says. It holds for as long as
    tenfold.toml says `web_instead_of`: whoever edits the number there afterwards means it. `workers`: how many workers
    (`scale worker=N`), in the same way; none can be wanted, so None is for what tenfold.toml says. `version`: the
    version of the service's code (`deploy`, `rollback`); empty for the folder itself.
    """

    database: DatabaseBackend = "sqlite"
    balancers: Literal[0, 2] = 0
    web: Annotated[int, msgspec.Meta(ge=0, le=WEB_MAX)] = 0
    web_instead_of: int = 0
    version: str = ""
    workers: Annotated[int, msgspec.Meta(ge=0, le=WORKERS_MAX)] | None = None
    workers_instead_of: int = 0


def web_count(content: Map, wants: Wants) -> int:
    """How many web servers are to run: 1 without balancers, with them as many as wanted, or as tenfold.toml says.

    tenfold.toml (`content`) may ask for one; behind balancers it is two, so that one may die or be replaced.
    """
    if not wants.balancers:
        return 1
    if wants.web and wants.web_instead_of == content.web.processes:
        return wants.web
    return max(2, content.web.processes)


def worker_count(content: Map, wants: Wants) -> int:
    """How many workers are to run, on every step: as many as wanted, or as tenfold.toml (`content`) says."""
    if wants.workers is not None and wants.workers_instead_of == content.workers.processes:
        return wants.workers
    return content.workers.processes


def wants_of(current: Map) -> Wants:
    """What a running map meets: wants from which no move leads anywhere."""
    door = current.public.door == "balancer" and bool(current.of_role("balancer"))
    serving = _serving(current, "web")
    found = Wants(
        database=current.database.backend,
        balancers=BALANCERS if door else 0,
        version=serving[0].version if serving else "",
    )
    found = _with_workers(current, found, len(_serving(current, "worker")))
    return _with_web(current, found, len(serving)) if door else found


def _serving(current: Map, role: str) -> Sequence[NodeMap]:
    """The nodes of a tier that have work; all of them when none has."""
    nodes = current.of_role(role)
    return [node for node in nodes if node.traffic == "on"] or nodes


def _with_web(current: Map, wants: Wants, web: int) -> Wants:
    """The wants with that many web servers; what tenfold.toml says anyhow is not said twice."""
    plain = msgspec.structs.replace(wants, web=0, web_instead_of=0)
    if web in (0, web_count(current, plain)):
        return plain
    return msgspec.structs.replace(plain, web=web, web_instead_of=current.web.processes)


def _with_workers(current: Map, wants: Wants, workers: int) -> Wants:
    """The wants with that many workers; what tenfold.toml says anyhow is not said twice."""
    plain = msgspec.structs.replace(wants, workers=None, workers_instead_of=0)
    if workers == current.workers.processes:
        return plain
    return msgspec.structs.replace(plain, workers=workers, workers_instead_of=current.workers.processes)


def scale_wants(current: Map, wants: Wants, *, web: int | None = None, worker: int | None = None) -> Wants:
    """The wants of `scale web=N worker=N`; None leaves a tier as it is.

    Raises `UsageError` (TF-SCALE) for a number that cannot be, for web servers before step 3, and for more processes
    than `database.pool` carries.
    """
    found = wants
    if worker is not None:
        sentence = f"{current.service} cannot run {worker} workers"
        _refuse_number(worker, (0, WORKERS_MAX), sentence, "worker=2` makes it two")
        found = _with_workers(current, found, worker)
    if web is not None:
        sentence = f"{current.service} cannot run {web} web servers"
        _refuse_number(web, (1, WEB_MAX), sentence, "web=4` makes it four")
        if not wants.balancers or not current.of_role("balancer"):
            raise UsageError(
                f"{current.service} has no load balancer yet, so one web server answers alone.",
                hint="`tenfold climb 3` puts balancers before it; then `tenfold scale` adds web servers.",
                code="TF-SCALE",
            )
        found = _with_web(current, found, web)
    server = current.database.server
    if server is not None:
        refuse_small_pool(web_count(current, found), worker_count(current, found), server.pool)
    return found


def _refuse_number(number: int, bounds: tuple[int, int], sentence: str, example: str) -> None:
    least, most = bounds
    if not least <= number <= most:
        raise UsageError(
            f"{sentence}: it runs {least} to {most}.",
            hint=f"`tenfold scale {example}.",
            code="TF-SCALE",
        )


def refuse_small_pool(web: int, workers: int, pool: int) -> None:
    """Raises `UsageError` (TF-SCALE) when so many processes cannot share `database.pool`."""
    needed = (web + workers) * LEAST
    if web + workers > carries(pool):
        raise UsageError(
            f"{processes_shown(web, workers)} need {needed} connections for transactions, and database.pool is {pool}.",
            hint=f"Set pool = {needed} under [database], then `tenfold up`, then run the command again.",
            code="TF-SCALE",
        )


def processes_shown(web: int, workers: int) -> str:
    """So many web servers and workers, in words: "4 web servers and 1 worker"."""
    found = f"{web} web server{'' if web == 1 else 's'}"
    return found + (f" and {workers} worker{'' if workers == 1 else 's'}" if workers else "")


@dataclass(frozen=True)
class _Delta:
    """What a step adds to the wants when it is climbed, and what they are without it."""

    up: Mapping[str, Any]
    down: Mapping[str, Any]


_DELTAS: dict[str, _Delta] = {
    "one-server": _Delta(up={}, down={}),
    "separate-database": _Delta(up={"database": "postgres"}, down={"database": "sqlite"}),
    "load-balancer": _Delta(up={"balancers": BALANCERS}, down={"balancers": 0, "web": 0, "web_instead_of": 0}),
}


def climb_wants(current: Map, wanted: Step | None, *, only: bool = False) -> Wants:
    """The wants of `climb STEP` (None: the next step that exists), or of `climb --only STEP`.

    Raises `UsageError` for a step that does not exist yet, and where `database.pool` is too small for its processes.
    """
    number = wanted.number if wanted else min(step_of(current) + 1, highest_existing())
    found = wants_of(current)
    for step in STEPS[number - 1 : number] if only else STEPS[:number]:
        if not step.exists:
            raise step.missing()
        if not step.holds(current):
            found = msgspec.structs.replace(found, **_DELTAS[step.slug].up)
    if current.database.server is not None:
        refuse_small_pool(web_count(current, found), worker_count(current, found), current.database.server.pool)
    return found


def descend_wants(current: Map, wanted: Step | None) -> Wants:
    """The wants of `descend STEP` (None: without the highest step that holds).

    A step that was taken alone, above a gap, goes too. Raises `UsageError` for a step above all that hold.
    """
    top = max((step.number for step in STEPS if step.holds(current)), default=1)
    number = wanted.number if wanted else max(top - 1, 1)
    if number > top:
        raise UsageError(
            f"{current.service} is on step {step_of(current)}, which is below step {number}.",
            hint=f"`tenfold climb {number}` goes up.",
        )
    found = wants_of(current)
    for step in reversed(STEPS[number:top]):
        if step.holds(current):
            found = msgspec.structs.replace(found, **_DELTAS[step.slug].down)
    return found


def encode_wants(wants: Wants) -> bytes:
    """JSON that a person can read."""
    return msgspec.json.format(msgspec.json.encode(wants), indent=2) + b"\n"


def decode_wants(data: bytes, source: str) -> Wants:
    """The wants in `data`; `source` names the file in the error. Raises `SpecError` when they are none."""
    try:
        return msgspec.json.decode(data, type=Wants)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SpecError(
            f"{source} does not say what is wanted: {str(error).rstrip('.')}.",
            hint="Remove it; `tenfold up` writes it anew from the map.",
        ) from None
