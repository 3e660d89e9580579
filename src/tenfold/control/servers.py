"""Whether a database server can carry a service, asked before anything is changed: a list of findings.

Each has a code (TF-PG-...), a sentence and what to do. A finding that is not `blocking` is worth knowing and stops
nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tenfold.control.engine import OWNER, secrets_of
from tenfold.control.place import Place
from tenfold.core.errors import TenfoldError
from tenfold.core.units import format_size
from tenfold.engines.postgres.address import ServerUrl
from tenfold.engines.postgres.home import free_bytes, home_of
from tenfold.engines.postgres.probe import Observation, observe, relations_in
from tenfold.engines.postgres.programs import LEAST, choose, installed, too_old
from tenfold.engines.postgres.roles import shown
from tenfold.hosts.commands import output_of
from tenfold.topology.pools import steady

DISK_TIMES, DISK_SPARE = 3, 200 << 20
"""Free disk that a supervised server needs: this many times the SQLite file (rows, indexes, log) and so many bytes."""
FOREIGN_RESERVE = 8
"""Connections beside the pools at a server of the user's: controller, mover, probes, a few snapshots."""


@dataclass(frozen=True)
class ServerFinding:
    """One thing that stands against a server. `blocking`: the move cannot begin before it is put right."""

    code: str
    sentence: str
    hint: str = ""
    blocking: bool = True

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence} {self.hint}".rstrip()


async def look_at_machine(place: Place, service: str, sqlite_bytes: int) -> list[ServerFinding]:
    """What keeps a supervised server from running here; `sqlite_bytes` is the size of what moves. Changes nothing."""
    try:
        home = home_of(place.state, service)
        choose(await asyncio.to_thread(installed, output_of), home.major)
    except TenfoldError as error:
        return [_finding(error)]
    return disk_findings(free_bytes(home), sqlite_bytes, str(home.root))


async def look_at_server(place: Place, login: ServerUrl, pool: int, ours: Collection[str] = ()) -> list[ServerFinding]:
    """What keeps a server of the user's from carrying the service. Changes nothing.

    `login` is the url's; a password that it does not hold is taken from the secrets. `pool`: connections of all web
    processes. `ours`: relations (`schema.name`) that may be there already, when a move goes on.
    """
    if not login.password:
        kept = secrets_of(place).find(OWNER) or ""
        login = ServerUrl(login.host, login.port, login.database, login.user, kept, login.tls)
    try:
        seen = await observe(login)
        relations = await relations_in(login)
    except TenfoldError as error:
        return [_finding(error)]
    return server_findings(login, seen, relations, pool, ours)


def disk_findings(free: int, sqlite_bytes: int, place: str) -> list[ServerFinding]:
    """Whether that many free bytes are enough for a copy of a file of `sqlite_bytes`."""
    needed = DISK_TIMES * sqlite_bytes + DISK_SPARE
    if free >= needed:
        return []
    return [
        ServerFinding(
            "TF-PG-DISK",
            f"The disk of {place} has {format_size(free)} free, and the copy may need {format_size(needed)}.",
            "Free some space there.",
        )
    ]


def server_findings(
    login: ServerUrl, seen: Observation, relations: Collection[str], pool: int, ours: Collection[str] = ()
) -> list[ServerFinding]:
    """What stands against a server that was looked at. Pure."""
    if seen.major < LEAST:
        return [_finding(too_old(seen.version))]
    return [
        *_state_findings(login, seen),
        *_content_findings(login, seen, [name for name in relations if name not in set(ours)]),
        *_rights_findings(login, seen),
        *_connection_findings(seen, pool),
    ]


def _state_findings(login: ServerUrl, seen: Observation) -> list[ServerFinding]:
    if not seen.in_recovery and not seen.read_only:
        return []
    why = "is a replica" if seen.in_recovery else "lets this role only read (default_transaction_read_only)"
    return [ServerFinding("TF-PG-READ-ONLY", f"{login.shown} {why}.", "Name the primary, with a role that may write.")]


def _content_findings(login: ServerUrl, seen: Observation, foreign: Sequence[str]) -> list[ServerFinding]:
    found = []
    if seen.encoding != "UTF8":
        found.append(
            ServerFinding(
                "TF-PG-ENCODING",
                f"The database {login.database} stores text as {seen.encoding}.",
                f"Make one with: CREATE DATABASE {shown(login.database)} TEMPLATE template0 ENCODING 'UTF8'.",
            )
        )
    if foreign:
        named = ", ".join(foreign[:5]) + (f" and {len(foreign) - 5} more" if len(foreign) > 5 else "")
        found.append(
            ServerFinding(
                "TF-PG-NOT-EMPTY",
                f"The database {login.database} is not empty: {named}.",
                "Name an empty database in the url; nothing that is there is touched.",
            )
        )
    return found


def _rights_findings(login: ServerUrl, seen: Observation) -> list[ServerFinding]:
    missing = []
    if not seen.may_create_schemas:
        missing.append((f"make schemas in {login.database}", f"GRANT CREATE ON DATABASE {shown(login.database)}"))
    if not seen.may_create_tables:
        missing.append(("make tables in the schema public", "GRANT CREATE ON SCHEMA public"))
    found = [
        ServerFinding(
            "TF-PG-RIGHTS", f"{login.user} may not {what}.", f"As its administrator: {grant} TO {shown(login.user)}."
        )
        for what, grant in missing
    ]
    if not seen.may_create_roles and not seen.superuser:
        found.append(
            ServerFinding(
                "TF-PG-ONE-ROLE",
                f"{login.user} may not make roles, so web processes log in as {login.user} too.",
                f"For a role that can only read and write rows: ALTER ROLE {shown(login.user)} CREATEROLE.",
                blocking=False,
            )
        )
    return found


def _connection_findings(seen: Observation, pool: int) -> list[ServerFinding]:
    needed = steady(pool) + FOREIGN_RESERVE
    if seen.usable_connections >= needed:
        return []
    return [
        ServerFinding(
            "TF-PG-CONNECTIONS",
            f"The server allows {seen.usable_connections} connections, and the service needs {needed}"
            f" (database.pool = {pool} and its reads: {steady(pool)}; {FOREIGN_RESERVE} beside them).",
            "Raise max_connections or the limit of the role or database, or lower database.pool.",
        )
    ]


def _finding(error: TenfoldError) -> ServerFinding:
    return ServerFinding(error.code, error.message, error.hint)
