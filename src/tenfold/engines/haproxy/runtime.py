"""HAProxy's runtime API: one question over its admin socket, one answer, everything checked.

HAProxy answers mistakes as plain text among the rest, so each answer is read before it is believed.
"""

from __future__ import annotations

import asyncio
import csv
import re
from dataclasses import dataclass
from typing import Literal

from tenfold.core.errors import TenfoldError, Unavailable

TIMEOUT_S = 2.0
ANSWER_LIMIT = 8 << 20
"""Bytes of an answer: a line of `show stat` is below 1 kB, so this is thousands of servers."""
_CONTROL = re.compile(r"[^\x20-\x7e]")
_DONE = ("new server registered.", "server deleted.")
_FORCED_MAINT, _CONFIG_MAINT, _INHERITED_MAINT = 0x01, 0x04, 0x02
_ANY_DRAIN = 0x08 | 0x10
_STATE_FORMAT = "1"

Standing = Literal["ready", "drain", "maint"]
"""What we told a server to do: take requests, take no new ones, or nothing at all."""


class HaproxySilentError(Unavailable):
    """HAProxy does not answer on its admin socket: it is not there, it hangs, or it is just starting."""

    code = "TF-HAPROXY-SILENT"
    title = "HAProxy does not answer"


class HaproxyRefusedError(TenfoldError):
    """HAProxy answered that it will not do what it was told."""

    code = "TF-HAPROXY-REFUSED"
    title = "HAProxy refused a command"


@dataclass(frozen=True, slots=True)
class ServerState:
    """A server as `show servers state` tells it. `running`: its health check (if it has one) finds it well."""

    backend: str
    name: str
    address: str
    standing: Standing
    running: bool
    weight: int


@dataclass(frozen=True, slots=True)
class ServerStat:
    """A server's numbers from `show stat`; counts since HAProxy's start, `*_ms` averages of its last 1024 requests.

    `status` is HAProxy's own word (UP, DOWN, DRAIN, MAINT, "no check", "UP 1/3"). `limit`: requests at once, 0 for any.
    """

    backend: str
    name: str
    status: str
    weight: int
    current: int
    queue: int
    limit: int
    requests: int
    answers_5xx: int
    connect_errors: int
    response_errors: int
    retries: int
    redispatches: int
    queue_ms: int
    response_ms: int
    check: str


@dataclass(frozen=True, slots=True)
class ProxyStat:
    """A frontend's or a backend's own numbers from `show stat`; `kind` says which."""

    name: str
    kind: Literal["frontend", "backend"]
    status: str
    current: int
    queue: int
    requests: int
    answers_5xx: int
    denied: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, slots=True)
class Stats:
    """All of `show stat`."""

    servers: tuple[ServerStat, ...]
    proxies: tuple[ProxyStat, ...]

    def frontend(self, name: str) -> ProxyStat | None:
        """The frontend of that name."""
        return next((one for one in self.proxies if one.kind == "frontend" and one.name == name), None)

    def backend(self, name: str) -> ProxyStat | None:
        """The backend of that name."""
        return next((one for one in self.proxies if one.kind == "backend" and one.name == name), None)

    @property
    def waiting(self) -> int:
        """Requests that wait: for a certain server, or for any one of a backend."""
        backends = sum(one.queue for one in self.proxies if one.kind == "backend")
        return backends + sum(one.queue for one in self.servers)


@dataclass(frozen=True, slots=True)
class Info:
    """HAProxy as a whole, from `show info`."""

    version: str
    pid: int
    uptime_s: int
    connections: int
    connection_limit: int
    requests: int
    stopping: bool
    tasks: int
    idle_percent: int


class Runtime:
    """Asks one HAProxy. `path` is its admin socket; a relative one is seen from the working directory."""

    def __init__(self, path: str, timeout_s: float = TIMEOUT_S) -> None:
        self.path = path
        self._timeout_s = timeout_s

    async def ask(self, command: str) -> str:
        """The answer to one command, without the empty line at its end.

        Raises `HaproxySilentError` when nobody answers in time.
        """
        assert not _CONTROL.search(command), "a command is one line"
        assert ";" not in command, "a command is one command"
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._exchange(command)
        except (OSError, TimeoutError) as error:
            why = "it said nothing in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
            raise HaproxySilentError(
                f"HAProxy does not answer on {self.path}: {why}.", hint="The balancer's log says what happened to it."
            ) from None

    async def _exchange(self, command: str) -> str:
        reader, writer = await asyncio.open_unix_connection(self.path)
        try:
            writer.write(command.encode("ascii") + b"\n")
            await writer.drain()
            answer = bytearray()
            while piece := await reader.read(1 << 16):
                answer += piece
                if len(answer) > ANSWER_LIMIT:
                    raise HaproxyRefusedError(f"The answer of HAProxy to {command!r} has no end.")
            return answer.decode("utf-8", "replace").strip("\n")
        finally:
            writer.transport.abort()

    async def run(self, command: str) -> None:
        """Carries out one of the commands of `reconcile`. Raises `HaproxyRefusedError` with HAProxy's own words."""
        answer = await self.ask(command)
        if refused(command, answer):
            raise HaproxyRefusedError(f"HAProxy refused {shown(command)!r}: {answer or 'without a word'}.")

    async def servers(self) -> tuple[ServerState, ...]:
        """All servers of all backends, as they stand."""
        return parse_servers(await self.ask("show servers state"))

    async def stats(self) -> Stats:
        """The numbers of everything."""
        return parse_stats(await self.ask("show stat"))

    async def info(self) -> Info:
        """HAProxy itself."""
        return parse_info(await self.ask("show info"))


def refused(command: str, answer: str) -> bool:
    """Whether `answer` is a refusal: commands that change something say nothing, or a known word of success."""
    text = answer.strip().lower()
    if command.startswith("set server") and " addr " in command:
        return "changed" not in text and "no need to change" not in text
    return bool(text) and text not in _DONE


def shown(command: str) -> str:
    """A command for logs and messages: what follows the address of a new server is left out."""
    return " ".join(command.split(" ")[:5])


def parse_servers(text: str) -> tuple[ServerState, ...]:
    """What `show servers state` says. Raises `HaproxyRefusedError` when it is not that."""
    lines = text.splitlines()
    if len(lines) < 2 or lines[0].strip() != _STATE_FORMAT or not lines[1].startswith("# "):
        raise _unread("show servers state", text)
    names = lines[1][2:].split()
    rows = (dict(zip(names, line.split(" "), strict=False)) for line in lines[2:] if line.strip())
    try:
        return tuple(_server_state(row) for row in rows)
    except (KeyError, ValueError):
        raise _unread("show servers state", text) from None


def _server_state(row: dict[str, str]) -> ServerState:
    host = row["srv_fqdn"] if row["srv_fqdn"] != "-" else row["srv_addr"]
    return ServerState(
        backend=row["be_name"],
        name=row["srv_name"],
        address=f"{_bracketed(host)}:{row['srv_port']}",
        standing=_standing(int(row["srv_admin_state"])),
        running=int(row["srv_op_state"]) in (1, 2),
        weight=int(row["srv_uweight"]),
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _standing(admin: int) -> Standing:
    if admin & (_FORCED_MAINT | _CONFIG_MAINT | _INHERITED_MAINT):
        return "maint"
    return "drain" if admin & _ANY_DRAIN else "ready"


def parse_stats(text: str) -> Stats:
    """What `show stat` says. Raises `HaproxyRefusedError` when it is not that."""
    if not text.startswith("# pxname,"):
        raise _unread("show stat", text)
    rows = [row for row in csv.DictReader(text[2:].splitlines()) if row.get("svname")]
    try:
        proxies = tuple(_proxy_stat(row) for row in rows if row["svname"] in ("FRONTEND", "BACKEND"))
        servers = tuple(_server_stat(row) for row in rows if row["type"] == "2")
    except (KeyError, ValueError, TypeError):
        raise _unread("show stat", text) from None
    return Stats(servers, proxies)


def _server_stat(row: dict[str, str]) -> ServerStat:
    return ServerStat(
        backend=row["pxname"],
        name=row["svname"],
        status=row["status"],
        weight=_number(row["weight"]),
        current=_number(row["scur"]),
        queue=_number(row["qcur"]),
        limit=_number(row["slim"]),
        requests=_number(row["stot"]),
        answers_5xx=_number(row["hrsp_5xx"]),
        connect_errors=_number(row["econ"]),
        response_errors=_number(row["eresp"]),
        retries=_number(row["wretr"]),
        redispatches=_number(row["wredis"]),
        queue_ms=_number(row["qtime"]),
        response_ms=_number(row["rtime"]),
        check=row["check_status"],
    )


def _proxy_stat(row: dict[str, str]) -> ProxyStat:
    front = row["svname"] == "FRONTEND"
    return ProxyStat(
        name=row["pxname"],
        kind="frontend" if front else "backend",
        status=row["status"],
        current=_number(row["scur"]),
        queue=_number(row["qcur"]),
        requests=_number(row["req_tot"] if front else row["stot"]),
        answers_5xx=_number(row["hrsp_5xx"]),
        denied=_number(row["dreq"]),
        bytes_in=_number(row["bin"]),
        bytes_out=_number(row["bout"]),
    )


def _number(text: str) -> int:
    return int(text) if text else 0


def parse_info(text: str) -> Info:
    """What `show info` says. Raises `HaproxyRefusedError` when it is not that."""
    facts = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    try:
        return Info(
            version=facts["Version"].split("-")[0],
            pid=int(facts["Pid"]),
            uptime_s=int(facts["Uptime_sec"]),
            connections=int(facts["CurrConns"]),
            connection_limit=int(facts["Maxconn"]),
            requests=int(facts["CumReq"]),
            stopping=facts["Stopping"] != "0",
            tasks=int(facts["Tasks"]),
            idle_percent=int(facts["Idle_pct"]),
        )
    except (KeyError, ValueError):
        raise _unread("show info", text) from None


def _unread(command: str, text: str) -> HaproxyRefusedError:
    return HaproxyRefusedError(f"HAProxy answered {command!r} with something else: {text[:200]!r}.")
