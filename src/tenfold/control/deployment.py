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
from tenfold.control.standing import CONTROLLER, address_of, dialable, facts_of
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

UP_LIMIT_S = 300.0
"""How long `up` waits by default, in seconds; migrations of large databases may need more."""
PAGE_LIMIT_S = 10.0
"""How long `up` waits for the dashboard, in seconds; the service answers by then, and does not depend on it."""
_LOOK_S = 0.03
_STOP_GRACE_S = 120.0

Say = Callable[[str], None]

__all__ = ["CONTROLLER", "Deployment", "Running", "address_of", "answers", "controller_launch", "foreground_command"]


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
            return _STOP_GRACE_S + 2 * self._map().web.drain_limit_s  # balancers first, then those behind them
        return _STOP_GRACE_S

    # Look

    def facts(self, *, jobs: bool = False) -> dict[str, Any]:
        """How the deployment stands; see `standing.facts_of`."""
        return facts_of(self.place, self.keeper, jobs=jobs)

    def facts_with_page(self) -> dict[str, Any]:
        """The facts once the dashboard answers; without its address when it takes longer than `PAGE_LIMIT_S`."""
        deadline = self._clock.monotonic() + PAGE_LIMIT_S
        while _is_starting(facts := self.facts()) and self._clock.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return facts


def _is_starting(facts: dict[str, Any]) -> bool:
    """Whether its dashboard is on its way, and has neither an address nor a failure yet."""
    page = facts["dashboard"]
    return page is not None and page["state"] == "starting" and not page["restarts"]


def controller_launch(place: Place, *, foreground: bool = False) -> Launch:
    """How the keeper starts the controller of this place."""
    words = [sys.executable, "-P", "-m", "tenfold.control.controller", "--root", str(place.root)]
    words += ["--host", place.host] if place.host is not None else []
    words += ["--port", str(place.port)] if place.port is not None else []
    words += ["--foreground"] if foreground else []
    return Launch(node=CONTROLLER, argv=tuple(words), cwd=str(place.root), socket=True, grace_s=10.0, stage=0)


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
