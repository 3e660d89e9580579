"""A PostgreSQL server: the commands that make and run it, a login, and the roles and schemas inside.

Nothing here starts a process: a `Command` says what to run, and the floor above has the keeper run it.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg

from tenfold.core.errors import TenfoldError
from tenfold.core.randomness import Randomness
from tenfold.engines.postgres import home as homes
from tenfold.engines.postgres.address import ServerUrl
from tenfold.engines.postgres.failures import connect_error
from tenfold.engines.postgres.home import Home
from tenfold.engines.postgres.programs import Programs
from tenfold.engines.postgres.render import Listen, Machine, pg_hba_conf, postgresql_conf
from tenfold.engines.postgres.roles import (
    SALT_BYTES,
    SUPERUSER,
    Names,
    Step,
    layout_steps,
    role_steps,
    scram_verifier,
    search_path_step,
    server_steps,
    shown,
)

LOGIN_LIMIT_S = 5.0
STOP_GRACE_S = 60.0
"""Seconds that a stop may take: it writes what is only in memory to its files first."""
if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection  # not generic when it runs


@dataclass(frozen=True)
class Command:
    """A process to run: as whom, where, how it is asked to end, and the folder that only it may work in."""

    argv: tuple[str, ...]
    cwd: str
    user: str
    env: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = "SIGTERM"
    grace_s: float = 10.0
    owns: str = ""


def initdb_command(programs: Programs, home: Home) -> Command:
    """Makes a data folder (as a draft): checksums, SCRAM for everybody, UTF-8, text sorted by its bytes."""
    words = [programs.initdb, "--pgdata", str(home.draft), "--username", SUPERUSER]
    words += ["--pwfile", str(home.password_file), "--auth-local", "scram-sha-256", "--auth-host", "scram-sha-256"]
    words += ["--encoding", "UTF8", "--locale", "C", "--data-checksums", "--no-instructions"]
    return Command(tuple(words), str(home.root), home.user, env={"TZ": "UTC"})


def server_command(programs: Programs, home: Home) -> Command:
    """Runs the server. SIGINT ends it at once and cleanly: open transactions are rolled back, data is written."""
    words = (programs.postgres, "-D", str(home.data))
    return Command(words, str(home.root), home.user, stop_signal="SIGINT", grace_s=STOP_GRACE_S, owns=str(home.data))


def configure(home: Home, machine: Machine, listen: Listen, pool: int, names: Names) -> None:
    """Writes the configuration that the next start reads."""
    homes.prepare(home)
    homes.write(home, home.data / "postgresql.conf", postgresql_conf(machine, listen, pool))
    homes.write(home, home.data / "pg_hba.conf", pg_hba_conf(names))


def superuser_login(home: Home, port: int, password: str) -> ServerUrl:
    """The superuser's way in: the unix socket, the only one there is."""
    return ServerUrl(str(home.socket), port, "postgres", SUPERUSER, password, "disable")


@contextlib.asynccontextmanager
async def connect(login: ServerUrl, limit_s: float = LOGIN_LIMIT_S) -> AsyncIterator[Connection]:
    """A connection, closed at the end. Raises an error with a code TF-PG-... that says why there is none."""
    connection = await _connect(login, limit_s)
    try:
        yield connection
    finally:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await connection.close(timeout=limit_s)


async def _connect(login: ServerUrl, limit_s: float) -> Connection:
    try:
        return await asyncpg.connect(
            host=login.host,
            port=login.port,
            user=login.user,
            password=login.password,
            database=login.database,
            timeout=limit_s,
            ssl=_tls(login),
            statement_cache_size=0,  # a pooler between us and the server would mix them up
            server_settings={"application_name": "tenfold"},
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, ValueError) as error:
        raise connect_error(login, error) from error


def _tls(login: ServerUrl) -> Any:
    """`verify-full` trusts the machine's certificates; the driver by itself looks for a file in the home folder."""
    if login.host.startswith("/"):
        return False
    return ssl.create_default_context() if login.tls == "verify-full" else login.tls


async def check_login(login: ServerUrl) -> None:
    """Whether work can be done with that login: it gets in and an answer. Raises why not."""
    async with connect(login) as connection:
        await connection.fetchval("SELECT 1")


async def set_up_server(
    admin: ServerUrl, names: Names, owner_password: str, web_password: str, randomness: Randomness
) -> None:
    """Roles and database on a server of ours; `admin` is the superuser. Safe to run again."""
    owner, web = (_verifier(password, randomness) for password in (owner_password, web_password))
    await run_steps(admin, server_steps(names, owner, web))


async def set_up_layout(owner: ServerUrl, names: Names) -> None:
    """Schemas and rights in the service's database; `owner` logs in there. Safe to run again."""
    await run_steps(owner, layout_steps(names))


async def make_web_role(login: ServerUrl, role: str, password: str, randomness: Randomness) -> None:
    """Makes a role that may only log in, on a server of the user's. Raises TF-PG-RIGHTS when that is not allowed."""
    steps = role_steps(role, _verifier(password, randomness))
    await run_steps(login, [*steps, search_path_step(role, login.database)])


def _verifier(password: str, randomness: Randomness) -> str:
    return scram_verifier(password, randomness.bytes(SALT_BYTES))


async def run_steps(login: ServerUrl, steps: Iterable[Step]) -> None:
    """Runs the statements one after another, each by itself. Raises TF-PG-RIGHTS when the role may not run one."""
    async with connect(login) as connection:
        for step in steps:
            if step.unless and await connection.fetchval(step.unless) is not None:
                continue
            try:
                await connection.execute(step.do)
            except (asyncpg.DuplicateObjectError, asyncpg.DuplicateDatabaseError, asyncpg.DuplicateSchemaError):
                continue  # somebody made it between our look and our step; it is what we wanted
            except asyncpg.PostgresError as error:
                raise _step_error(login, error) from error


def _step_error(login: ServerUrl, error: asyncpg.PostgresError) -> TenfoldError:
    said = str(error).rstrip(".")
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return TenfoldError(
            f"{login.user} may not set up {login.database}: {said}.",
            hint=f"Make it the owner: ALTER DATABASE {shown(login.database)} OWNER TO {shown(login.user)}.",
            code="TF-PG-RIGHTS",
        )
    return TenfoldError(
        f"{login.shown} refused to be set up: {said}.", hint="See the server's log.", code="TF-PG-START"
    )
