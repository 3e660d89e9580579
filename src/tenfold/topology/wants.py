"""What commands want of the topology beyond tenfold.toml, and the moves that lead there from a running map.

`climb` and `descend` change these wants; a map meets them or a move makes it. They are written beside the map
(`.tenfold/wants.json`), so that a map that was lost is not taken for a deployment on its first step.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tenfold.core.errors import SpecError, UsageError
from tenfold.topology.map import DatabaseBackend, Map
from tenfold.topology.steps import STEPS, Step, highest_existing, step_of


class Wants(msgspec.Struct, frozen=True, omit_defaults=True):
    """`database`: where the data is to be. `balancers`: how many stand before the web servers.

    `web`: how many web servers there are to be (`scale web=N`); 0 for what tenfold.toml says. It holds for as long as
    tenfold.toml says `web_instead_of`: whoever edits the number there afterwards means it. `version`: the version of
    the service's code (`deploy`, `rollback`); empty for the folder itself.
    """

    database: DatabaseBackend = "sqlite"
    balancers: int = 0
    web: int = 0
    web_instead_of: int = 0
    version: str = ""


MoveName = Literal["copy_to_postgres", "return_to_sqlite", "drop_way_back"]

_MOVES: dict[tuple[DatabaseBackend, DatabaseBackend], MoveName] = {
    ("sqlite", "postgres"): "copy_to_postgres",
    ("postgres", "sqlite"): "return_to_sqlite",
}


def wants_of(current: Map) -> Wants:
    """What a running map meets."""
    return Wants(current.database.backend)


def wanted_map(current: Map, wants: Wants) -> Map:
    """`current` as it is once the wants are met; the moves fill in what only they can know (the server's address)."""
    if wants_of(current) == wants:
        return current
    database = msgspec.structs.replace(current.database, backend=wants.database, standby="", gate="open")
    moved = msgspec.structs.replace(current, database=database)
    return msgspec.structs.replace(moved, step=step_of(moved))


def moves_between(current: Map, wants: Wants) -> tuple[MoveName, ...]:
    """The moves that lead from a running map to the wants, in order; empty when it meets them.

    Raises `UsageError` for a way that is no longer open.
    """
    was, becomes = current.database.backend, wants.database
    if was == becomes:
        return ()
    if (was, becomes) == ("postgres", "sqlite") and not current.database.way_back:
        raise _no_way_back(current)
    return (_MOVES[was, becomes],)


def _no_way_back(current: Map) -> UsageError:
    server = current.database.server
    dump = "pg_dump --data-only --column-inserts --schema=public"
    where = f"-h {server.host} -p {server.port} -U {server.user} {server.database}" if server else current.service
    secret = f'PGPASSWORD="$(cat .tenfold/{server.secret})" ' if server else ""
    return UsageError(
        "The way back to SQLite was closed by `tenfold finalize`: the SQLite file has not followed the writes since.",
        hint=f"The data can be taken out as a dump: {secret}{dump} {where}",
        code="TF-NO-WAY-BACK",
    )


_DATABASE_OF: dict[str, DatabaseBackend] = {"one-server": "sqlite", "separate-database": "postgres"}
"""Where the data is when a step has just been taken."""


def climb_wants(current: Map, wanted: Step | None, *, only: bool = False) -> Wants:
    """The wants of `climb STEP` (None: the next step that exists), or of `climb --only STEP`.

    Raises `UsageError` for a step that does not exist yet.
    """
    number = wanted.number if wanted else min(step_of(current) + 1, highest_existing())
    found = wants_of(current)
    for step in STEPS[number - 1 : number] if only else STEPS[:number]:
        if not step.exists:
            raise step.missing()
        if not step.holds(current):
            found = msgspec.structs.replace(found, database=_DATABASE_OF[step.slug])
    return found


def descend_wants(current: Map, wanted: Step | None) -> Wants:
    """The wants of `descend STEP` (None: one step down). Raises `UsageError` for a step above the present one."""
    here = step_of(current)
    number = wanted.number if wanted else max(here - 1, 1)
    if number > here:
        raise UsageError(
            f"{current.service} is on step {here}, which is below step {number}.",
            hint=f"`tenfold climb {number}` goes up.",
        )
    found = wants_of(current)
    for step in reversed(STEPS[number:here]):
        below = STEPS[step.number - 2]
        found = msgspec.structs.replace(found, database=_DATABASE_OF.get(below.slug, found.database))
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
