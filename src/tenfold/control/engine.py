"""The database server of a deployment: made, started, adopted, stopped and removed, through the keeper.

A supervised server is node `db-1`, a child of the keeper like any other: restarted when it crashes, adopted when keeper
or controller die, stopped last (stage 3). Everything here observes first, so that whoever was killed in the middle can
do it again; two at once take turns (`run/db-1.lock`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict

from tenfold.control.crew import Crew
from tenfold.control.place import Place
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.errors import TenfoldError, Unavailable, UsageError
from tenfold.core.files import FileLock
from tenfold.core.randomness import SYSTEM_RANDOMNESS, Randomness
from tenfold.core.secrets import Secrets
from tenfold.engines.postgres import home as homes
from tenfold.engines.postgres import server as servers
from tenfold.engines.postgres.address import ServerUrl, parse_url
from tenfold.engines.postgres.failures import CannotConnect, Starting, start_error
from tenfold.engines.postgres.home import Home, home_of
from tenfold.engines.postgres.machine import machine_of
from tenfold.engines.postgres.probe import observe
from tenfold.engines.postgres.programs import choose, installed
from tenfold.engines.postgres.render import Listen
from tenfold.engines.postgres.roles import Names, names_at, names_of
from tenfold.engines.postgres.server import Command
from tenfold.hosts.commands import output_of
from tenfold.hosts.records import Launch
from tenfold.topology.map import Map, ServerMap

NODE, INIT = "db-1", "db-1-init"
ROLE = "database"
STAGE = 3
"""After everything that works with it (Launch.stage)."""
SUPERUSER, OWNER, WEB = "postgres-superuser", "database-owner", "database-web"
"""The names of the secrets, in `.tenfold/secrets`."""
START_LIMIT_S, REPAIR_LIMIT_S, INIT_LIMIT_S = 60.0, 900.0, 300.0
"""How long a server may take until it answers; while it repairs itself after a crash; and until it is made."""
MAX_STARTS = 6
"""A server that ends this often in a row as soon as it is started does not start; the first few may only be early."""
_HOST = "127.0.0.1"
_LOOK_S = 0.05


def secrets_of(place: Place, randomness: Randomness = SYSTEM_RANDOMNESS) -> Secrets:
    """The passwords of a deployment."""
    return Secrets(place.state / "secrets", randomness)


async def ensure_server(place: Place, crew: Crew, current: Map) -> None:
    """Makes the supervised server of that map run and answer. Of a server that the user runs, it only takes over a
    password that was changed in the url; without a server it does nothing.

    For the controller: in `_begin` before the migrations and the first web process, in `_resume` before it waits for
    web processes. It never makes a server: data that a map names and that is not there is TF-PG-LOST. A server that
    does not start is left to the keeper, which tries again; the error says why (TF-PG-START, TF-DISK-FULL).
    """
    server = current.database.server
    if server is not None and server.supervised:
        await Engine(place, crew, current.service).ensure(server)
    elif server is not None:
        _take_password(place, server)


def _take_password(place: Place, server: ServerMap) -> None:
    """Keeps a password that the user has changed in the url of his own server."""
    url = place.read_spec().database.url
    login = parse_url(url.reveal()) if url is not None else None
    vault = secrets_of(place)
    if login is not None and login.user == server.owner and login.password not in ("", vault.find(OWNER)):
        vault.save(OWNER, login.password)


def owner_login(place: Place, server: ServerMap) -> ServerUrl:
    """How the owner of the data logs in: DDL, migrations, moves. Raises TF-PG-PASSWORD when its secret is missing."""
    return _login(place, server, server.owner or server.user, OWNER)


def web_login(place: Place, server: ServerMap) -> ServerUrl:
    """How a web process logs in."""
    return _login(place, server, server.user, server.secret.rpartition("/")[2])


def _login(place: Place, server: ServerMap, user: str, name: str) -> ServerUrl:
    password = secrets_of(place).find(name)
    if password is None and server.supervised:
        raise TenfoldError(
            f"The password of {user} is gone: {place.state / 'secrets' / name}.",
            hint="Put the file back from a backup; without it nobody gets in.",
            code="TF-PG-PASSWORD",
        )
    return ServerUrl(server.host, server.port, server.database, user, password or "", server.tls)


class Engine:
    """The supervised server of one deployment."""

    def __init__(
        self,
        place: Place,
        crew: Crew,
        service: str,
        clock: Clock = SYSTEM_CLOCK,
        randomness: Randomness = SYSTEM_RANDOMNESS,
    ) -> None:
        self._place = place
        self._crew = crew
        self._clock = clock
        self._randomness = randomness
        self._secrets = secrets_of(place, randomness)
        self._names = names_of(service)
        self._home = home_of(place.state, service)

    @property
    def home(self) -> Home:
        """Where its files are."""
        return self._home

    async def make(self, pool: int) -> ServerMap:
        """Makes the server if there is none, starts it, sets up roles, database and schemas; where it is.

        Safe to run again at any point. What it started is stopped again when it fails; data is never made twice.
        """
        async with self._turn():
            self._refuse_leftover()
            passwords = {name: self._secrets.ensure(name) for name in (SUPERUSER, OWNER, WEB)}
            await asyncio.to_thread(homes.prepare, self._home)
            if not self._home.exists:
                await self._initdb(passwords[SUPERUSER])
            port = int((await self._crew.ask("port", name=NODE))["port"])
            server = self._map(port, pool)
            try:
                await self._start(port, pool)
                await self._set_up(server, passwords)
            except TenfoldError:
                await self._stop()
                raise
            return server

    async def ensure(self, server: ServerMap) -> None:
        """Starts the server of a map if it does not run, and waits until its owner gets in. Raises why it does not."""
        async with self._turn():
            if not self._home.exists:
                raise TenfoldError(
                    f"The data of {NODE} is not where it was: {self._home.data}.",
                    hint="Put the folder back, or restore it from a backup, and run the command again.",
                    code="TF-PG-LOST",
                )
            await self._start(server.port, server.pool)
            await self._until_in(owner_login(self._place, server))

    async def stop(self) -> str:
        """Ends it cleanly; `drained`, `killed`, or `gone` when it did not run."""
        async with self._turn():
            return await self._stop()

    async def remove(self) -> None:
        """Stops it and removes its data and its passwords for good. Safe to run again."""
        async with self._turn():
            await self._stop()
            await asyncio.to_thread(homes.remove, self._home)
            self._secrets.forget(SUPERUSER, OWNER, WEB)

    def _map(self, port: int, pool: int) -> ServerMap:
        names = self._names
        return ServerMap(_HOST, port, names.database, names.web, f"secrets/{WEB}", pool, owner=names.owner)

    def _refuse_leftover(self) -> None:
        if self._home.exists and self._secrets.find(SUPERUSER) is None:
            raise UsageError(
                f"{self._home.data} holds the data of an earlier deployment, whose passwords are gone.",
                hint=f"Move {self._home.root} away, or remove it if nothing in it is needed.",
                code="TF-PG-LEFTOVER",
            )

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        lock = FileLock(self._place.run / f"{NODE}.lock")
        while not lock.try_acquire():  # noqa: ASYNC110 - the holder is another process
            await asyncio.sleep(_LOOK_S)
        try:
            yield
        finally:
            lock.release()

    async def _initdb(self, password: str) -> None:
        """Makes the data in a process of its own; nothing of it counts before all of it is there."""
        programs = choose(await asyncio.to_thread(installed, output_of))
        await self._end_child(INIT)  # one that somebody before us started, whose password file we replace
        await asyncio.to_thread(homes.begin, self._home, password)
        try:
            command = servers.initdb_command(programs, self._home)
            await self._crew.ask("spawn", **asdict(_launch(INIT, command, restart=False, stage=0)))
            ended = await self._crew.ask("wait", timeout_s=INIT_LIMIT_S + 5, node=INIT, limit_s=INIT_LIMIT_S)
            await self._end_child(INIT)
            if not ended["finished"] or ended["exit_code"] != 0:
                raise start_error(INIT, _words(ended), str(self._home.root), code="TF-PG-INIT")
            await asyncio.to_thread(homes.finish, self._home)
        finally:
            homes.forget_password(self._home)

    async def _start(self, port: int, pool: int) -> None:
        """Has the keeper run it, unless it does."""
        fact = await self._crew.facts(NODE)
        if fact is None or fact["state"] in ("failed", "ended", "stopping"):
            programs = choose(await asyncio.to_thread(installed, output_of), self._home.major)
            listen = Listen(port, str(self._home.socket))
            machine = machine_of(self._home)
            await asyncio.to_thread(servers.configure, self._home, machine, listen, pool, self._names)
            await self._end_child(NODE)
            command = servers.server_command(programs, self._home)
            await self._crew.ask("spawn", **asdict(_launch(NODE, command, restart=True, stage=STAGE)))

    async def _set_up(self, server: ServerMap, passwords: dict[str, str]) -> None:
        admin = servers.superuser_login(self._home, server.port, passwords[SUPERUSER])
        await self._until_in(admin)
        await servers.set_up_server(admin, self._names, passwords[OWNER], passwords[WEB], self._randomness)
        await servers.set_up_layout(owner_login(self._place, server), self._names)
        await servers.check_login(web_login(self._place, server))

    async def _until_in(self, login: ServerUrl) -> None:
        """Waits until that login works; it takes as long as a repair takes, and ends early when it crashes."""
        began = self._clock.monotonic()
        while True:
            try:
                return await servers.check_login(login)
            except Starting:
                limit_s, why = REPAIR_LIMIT_S, "it still repairs itself after a crash"
            except CannotConnect as error:
                limit_s, why = START_LIMIT_S, error.message
            await self._look_for_its_end()
            if self._clock.monotonic() - began > limit_s:
                raise Unavailable(
                    f"{NODE} did not answer within {limit_s:g} s: {why.rstrip('.')}.",
                    hint=f"See `tenfold logs {NODE}`.",
                    code="TF-PG-START",
                )
            await asyncio.sleep(_LOOK_S)

    async def _look_for_its_end(self) -> None:
        fact = await self._crew.facts(NODE)
        if fact is None or fact["state"] == "stopping":
            raise Unavailable(f"{NODE} was stopped while it started.", hint="Run the command again.")
        if fact["state"] in ("failed", "ended") or fact["short_lives"] >= MAX_STARTS:
            raise start_error(NODE, _words(fact), str(self._home.root))

    async def _stop(self) -> str:
        fact = await self._crew.facts(NODE)
        if fact is None:
            return "gone"
        return await self._end_child(NODE)

    async def _end_child(self, node: str) -> str:
        """Ends a child of the keeper and has it forgotten, if there is one."""
        if await self._crew.facts(node) is None:
            return "gone"
        return str((await self._crew.ask("stop", timeout_s=servers.STOP_GRACE_S + 30.0, node=node))["how"])


async def adopt_server(
    place: Place, login: ServerUrl, pool: int, randomness: Randomness = SYSTEM_RANDOMNESS
) -> ServerMap:
    """Sets up the database at a server of the user's; where it is, for the map. Safe to run again.

    The login becomes the owner. A web role with fewer rights is made where the owner may make roles and that role gets
    in; else the owner is used for both (`user` and `owner` of the map are the same then).
    """
    vault = secrets_of(place, randomness)
    if login.password:
        vault.save(OWNER, login.password)
    else:
        login = ServerUrl(login.host, login.port, login.database, login.user, vault.find(OWNER) or "", login.tls)
    names = await _names_there(vault, login, randomness)
    await servers.set_up_layout(login, names)
    server = _foreign(login, names, pool)
    if names.web != names.owner:
        try:
            await servers.check_login(web_login(place, server))
        except TenfoldError:  # a pooler or pg_hba.conf that knows only the owner
            vault.forget(WEB)
            return _foreign(login, names_at(login.database, login.user, two_roles=False), pool)
    return server


async def _names_there(vault: Secrets, login: ServerUrl, randomness: Randomness) -> Names:
    seen = await observe(login)
    two = names_at(login.database, login.user, two_roles=True)
    if seen.superuser or seen.may_create_roles:
        with contextlib.suppress(TenfoldError):  # some providers let nobody set a password by its verifier
            await servers.make_web_role(login, two.web, vault.ensure(WEB), randomness)
            return two
    return names_at(login.database, login.user, two_roles=False)


def _foreign(login: ServerUrl, names: Names, pool: int) -> ServerMap:
    secret = OWNER if names.web == names.owner else WEB
    return ServerMap(
        login.host, login.port, names.database, names.web, f"secrets/{secret}", pool,
        tls=login.tls, supervised=False, owner=names.owner,
    )  # fmt: skip


def _launch(node: str, command: Command, *, restart: bool, stage: int) -> Launch:
    return Launch(
        node=node,
        argv=command.argv,
        cwd=command.cwd,
        env=command.env,
        restart=restart,
        grace_s=command.grace_s,
        stage=stage,
        user=command.user,
        stop_signal=command.stop_signal,
        owns=command.owns,
    )


def _words(fact: dict[str, object]) -> list[str]:
    """The last lines of a node, or what the keeper says about it when it could not even be started."""
    report = fact.get("report")
    said = report.get("error") if isinstance(report, dict) else None
    if isinstance(said, dict):
        return [str(said.get("message", ""))]
    tail = fact.get("tail")
    return [str(line) for line in tail] if isinstance(tail, list) else []
