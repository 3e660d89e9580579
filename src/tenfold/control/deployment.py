"""A deployment from outside: brought up, taken down, looked at. What the command line does, without its words.

Everything is safe to repeat. Two callers at once take turns (`run/up.lock`); the second finds the work done.
"""

from __future__ import annotations

import contextlib
import http.client
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tenfold.control.place import Place
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.errors import TenfoldError, Unavailable, UsageError
from tenfold.core.files import FileLock
from tenfold.hosts import wire
from tenfold.hosts.client import (
    KeeperClient,
    KeeperStart,
    forget,
    left_running,
    start_keeper,
    stop_left,
    wait_until_gone,
)
from tenfold.hosts.logs import Rotation
from tenfold.hosts.records import Launch
from tenfold.topology.map import Map
from tenfold.topology.spec import Spec

CONTROLLER = "controller"
UP_LIMIT_S = 300.0
"""How long `up` waits by default, in seconds; migrations of large databases may need more."""
_LOOK_S = 0.03
_STOP_GRACE_S = 120.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Running:
    """What `bring_up` leaves behind. `changed`: what differed from before; `fresh`: whether it was started now."""

    current: Map
    keeper_pid: int
    fresh: bool
    changed: tuple[str, ...] = ()


class Deployment:
    """One deployment, seen through its state directory, its keeper and its controller."""

    def __init__(self, place: Place, say: Say = lambda _text: None, clock: Clock = SYSTEM_CLOCK) -> None:
        self.place = place
        self.keeper = KeeperClient(place.state)
        self._say = say
        self._clock = clock

    # Up

    def bring_up(self, limit_s: float = UP_LIMIT_S) -> Running:
        """Starts what is missing, waits until the service answers, and brings a changed tenfold.toml to what runs.

        Raises whatever kept it from running; what this call had started is stopped again then.
        """
        deadline = self._clock.monotonic() + limit_s
        spec = self.place.read_spec()
        self.place.prepare()
        with self._turn(deadline):
            self._let_it_stop()
            if self.keeper.runs():
                return self._change_running(deadline)
            if left_running(self.place.state):
                self._say("the keeper is gone; a new one takes over what still runs")
                start_keeper(self._start(spec))
                return self._change_running(deadline)
            return self._start_fresh(spec, deadline)

    @contextlib.contextmanager
    def _turn(self, deadline: float) -> Iterator[None]:
        lock = FileLock(self.place.run / "up.lock")
        told = False
        while not lock.try_acquire():
            if not told:
                self._say(f"another `tenfold up` (pid {lock.holder()}) is at work here; waiting for it")
                told = True
            self._pause(deadline, f"another `tenfold up` (pid {lock.holder()}) to finish")
        try:
            yield
        finally:
            lock.release()

    def _let_it_stop(self) -> None:
        with contextlib.suppress(wire.NotRunning):
            hello = self.keeper.ask("hello")
            if hello["stopping"]:
                self._say("waiting for the deployment to finish stopping")
                wait_until_gone(int(hello["pid"]), _STOP_GRACE_S)

    def _start(self, spec: Spec) -> KeeperStart:
        rotation = Rotation(spec.log.rotate_size, spec.log.keep)
        first = (controller_launch(self.place),)
        return KeeperStart(self.place.state, spec.public.host, spec.public.port, rotation, first)

    def _start_fresh(self, spec: Spec, deadline: float) -> Running:
        self._say(f"starting {spec.service.name}")
        try:
            start_keeper(self._start(spec))
            current = self._await_controller(deadline)
            self._await_answer(current, deadline)
            return Running(current, int(self.keeper.ask("hello")["pid"]), fresh=True)
        except BaseException:  # Ctrl-C too: nothing half-started stays behind
            with contextlib.suppress(wire.NotRunning):
                self.keeper.shutdown(_STOP_GRACE_S)
            raise

    def _change_running(self, deadline: float) -> Running:
        status = self._controller_status()
        if status is not None and status["state"] == "failed":
            self._ask_controller("retry", 5.0)
        current = self._await_controller(deadline)
        self._refuse_other_address(current)
        answer = self._ask_controller("apply", max(1.0, deadline - self._clock.monotonic()))
        current = self._map()
        self._await_answer(current, deadline)
        pid = int(self.keeper.ask("hello")["pid"])
        return Running(current, pid, fresh=False, changed=tuple(answer["changed"]))

    def _refuse_other_address(self, current: Map) -> None:
        public, host, port = current.public, self.place.host, self.place.port
        if (host not in (None, public.host)) or (port not in (None, 0, public.port)):
            raise UsageError(
                f"{current.service} runs already, on {public.host} port {public.port}.",
                hint="Run `tenfold down` first, then `tenfold up` with the new address.",
                code="TF-NEW-START",
            )

    def _await_controller(self, deadline: float) -> Map:
        """The map that runs, once the controller says that it does."""
        said = ""
        while True:
            status = self._controller_status()
            if status is not None and status["state"] == "running":
                return self._map()
            if status is not None and status["state"] == "failed":
                raise wire.error_of(status["error"])
            doing = str(status["doing"]) if status else said
            if doing != said:
                self._say(doing)
                said = doing
            self._pause(deadline, said or "the controller to start")

    def _controller_status(self) -> wire.Message | None:
        with contextlib.suppress(wire.NotRunning, wire.NoAnswer):
            return self._ask_controller("status", 5.0)
        fact = self.keeper.node(CONTROLLER)
        if fact is None or fact["state"] == "failed" or fact["crash_loop"]:
            error = ((fact or {}).get("report") or {}).get("error")
            if error:
                raise wire.error_of(error)
            said = "\n".join(f"  {line}" for line in (fact or {}).get("tail", []))
            raise TenfoldError(f"The controller does not start. Its last lines:\n{said}", hint="See `tenfold logs`.")
        return None

    def _ask_controller(self, op: str, timeout_s: float) -> wire.Message:
        return wire.call(self.place.run / f"{CONTROLLER}.sock", {"op": op}, timeout_s)

    def _await_answer(self, current: Map, deadline: float) -> None:
        """Waits until the public address answers HTTP, with whatever status."""
        while not answers(current):
            self._pause(deadline, f"{address_of(current)} to answer")

    def _pause(self, deadline: float, waiting_for: str) -> None:
        if self._clock.monotonic() >= deadline:
            raise Unavailable(
                f"Gave up waiting for {waiting_for}.", hint="See `tenfold logs`; --timeout gives it more time."
            )
        time.sleep(_LOOK_S)

    def _map(self) -> Map:
        current = self.place.read_map()
        if current is None:
            raise wire.NotRunning(f"There is no map in {self.place.state}.", hint="Start it with `tenfold up`.")
        return current

    # Down

    def take_down(self) -> dict[str, str]:
        """Stops everything, the controller first, web processes after they have answered what they had begun.

        How each process ended (`drained`, `killed`, `gone`); empty when nothing ran.
        """
        if not self.place.state.is_dir():
            return {}
        try:
            stopped = self.keeper.shutdown(self._longest_grace_s())
        except wire.NotRunning:
            left = left_running(self.place.state)
            stopped = stop_left(left)
            forget(self.place.state, left)
        still = [record.launch.node for record in left_running(self.place.state)]
        if still:
            raise Unavailable(f"{', '.join(still)} still runs.", hint="Run `tenfold down` again.")
        return stopped

    def _longest_grace_s(self) -> float:
        with contextlib.suppress(TenfoldError):
            return _STOP_GRACE_S + self._map().web.drain_limit_s
        return _STOP_GRACE_S

    # Look

    def facts(self) -> dict[str, Any]:
        """How the deployment stands, as `tenfold status --json` prints it; `state` is `running`, `starting`, `failed`,
        `degraded` (something does not run that should) or `stopped`."""
        current = self.place.read_map()
        keeper = self._keeper_facts()
        nodes = [self._node_facts(fact) for fact in self._node_list(keeper)]
        controller = self._try_controller()
        return {
            "service": current.service if current else None,
            "state": _state(keeper, controller, nodes),
            "address": address_of(current) if current and nodes else None,
            "step": current.step if current else None,
            "epoch": current.epoch if current else None,
            "root": str(self.place.root),
            "keeper": keeper,
            "controller": controller,
            "nodes": nodes,
            "engines": self._engine_list(keeper),
            "database": self._database_facts(current),
            "move": self._open_move(controller),
        }

    def _open_move(self, controller: dict[str, Any] | None) -> dict[str, Any] | None:
        """The move that is open, with its progress."""
        if controller is None or controller["move"] is None:
            return None
        with contextlib.suppress(TenfoldError):
            return dict(self._ask_controller("move", 5.0)["move"])
        return None

    def _database_facts(self, current: Map | None) -> dict[str, Any] | None:
        """Where the data is; `way_back` says whether it can still go back where it came from."""
        if current is None:
            return None
        database, server = current.database, current.database.server
        on_server = database.backend == "postgres" and server is not None
        where = f"{server.host}:{server.port}/{server.database}" if on_server and server else database.path
        return {"backend": database.backend, "where": where, "gate": database.gate, "way_back": database.way_back}

    def _engine_list(self, keeper: dict[str, Any] | None) -> list[dict[str, Any]]:
        """The servers of programs that are not ours, such as the database's."""
        if keeper is None:
            return []
        names = ("node", "pid", "state", "restarts", "crash_loop", "exit_code")
        ours = (CONTROLLER, "mover", "planner", "migrate")
        found = [fact for fact in self.keeper.nodes() if not fact["listener"] and fact["node"] not in ours]
        return [{name: fact[name] for name in names} for fact in found if not fact["node"].endswith("-init")]

    def _keeper_facts(self) -> dict[str, Any] | None:
        with contextlib.suppress(wire.NotRunning):
            hello = self.keeper.ask("hello")
            return {name: hello[name] for name in ("pid", "host", "port", "stopping")}
        return None

    def _try_controller(self) -> dict[str, Any] | None:
        with contextlib.suppress(wire.NotRunning, wire.NoAnswer):
            status = self._ask_controller("status", 5.0)
            return {name: status[name] for name in ("pid", "state", "doing", "error", "move")}
        return None

    def _node_list(self, keeper: dict[str, Any] | None) -> list[dict[str, Any]]:
        """The web nodes by the keeper, or by their records when it is gone."""
        if keeper is not None:
            names = ("node", "pid", "state", "restarts", "crash_loop", "exit_code", "report")
            return [{name: fact[name] for name in names} for fact in self.keeper.nodes() if fact["listener"]]
        return [
            {"node": record.launch.node, "pid": record.process.pid, "state": "orphaned"}
            for record in left_running(self.place.state)
            if record.process and record.launch.listener
        ]

    def _node_facts(self, fact: dict[str, Any]) -> dict[str, Any]:
        own: dict[str, Any] = {}
        with contextlib.suppress(TenfoldError):
            own = wire.call(self.place.run / f"{fact['node']}.sock", {"op": "status"}, 2.0)
        names = ("epoch", "ready", "reason", "draining", "requests", "in_flight", "connections")
        return {**fact, "ready": False, **{name: own[name] for name in names if name in own}}


def _state(keeper: dict[str, Any] | None, controller: dict[str, Any] | None, nodes: list[dict[str, Any]]) -> str:
    serves = any(node["ready"] for node in nodes)
    if keeper is None:
        return "degraded" if nodes else "stopped"
    if controller is not None and controller["state"] in ("starting", "failed"):
        return str(controller["state"])
    return "running" if serves and controller is not None else "degraded"


def controller_launch(place: Place, *, foreground: bool = False) -> Launch:
    """How the keeper starts the controller of this place."""
    words = [sys.executable, "-P", "-m", "tenfold.control.controller", "--root", str(place.root)]
    words += ["--host", place.host] if place.host is not None else []
    words += ["--port", str(place.port)] if place.port is not None else []
    words += ["--foreground"] if foreground else []
    return Launch(node=CONTROLLER, argv=tuple(words), cwd=str(place.root), socket=True, grace_s=10.0, stage=0)


def dialable(host: str) -> str:
    """Where a client on this machine reaches a listening address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - recognised, not bound


def address_of(current: Map) -> str:
    """The public address as a browser takes it."""
    host = dialable(current.public.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{current.public.port}"


def answers(current: Map, timeout_s: float = 5.0) -> bool:
    """Whether the public address answers HTTP."""
    conn = http.client.HTTPConnection(dialable(current.public.host), current.public.port, timeout=timeout_s)
    try:
        conn.request("GET", "/healthz", headers={"Connection": "close"})
        conn.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        conn.close()
    return True


def foreground_command(place: Place) -> list[str]:
    """What `tenfold run` becomes: a keeper that stays with the terminal, for containers and systemd."""
    spec = place.read_spec()
    place.prepare()
    if KeeperClient(place.state).runs():
        raise UsageError(f"{spec.service.name} runs already.", hint="Stop it with `tenfold down` first.")
    rotation = Rotation(spec.log.rotate_size, spec.log.keep)
    first = (controller_launch(place, foreground=True),)
    return KeeperStart(place.state, spec.public.host, spec.public.port, rotation, first).argv(foreground=True)
