"""The router: the databases that are open in this process, and the one that the map sends work to.

A map names a `backend`, where work goes, and a `standby`, which is opened so that a later map can send work there at
once. `adopt` is synchronous: when it returns, what begins goes by the new map. What began on the database before, ends
on it; it is closed later, beside the work. A database that refuses a transaction because the map is old (the fence)
makes the router look for a newer map and begin the transaction anew where that one says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from dataclasses import replace
from typing import Any

from sqlalchemy import MetaData

from tenfold.blocks.database.backend import (
    Backend,
    Call,
    Capabilities,
    Consistency,
    DatabaseConfig,
    Heard,
    ReadContext,
    deaf,
)
from tenfold.blocks.database.backends import MAKERS
from tenfold.blocks.database.gate import Gate, Holding, held_too_long
from tenfold.blocks.database.meter import DatabaseStats, Meter, PoolUse
from tenfold.blocks.database.pending import NotOpenYet
from tenfold.blocks.database.token import Token
from tenfold.core.clock import Clock
from tenfold.core.errors import StaleMap, TenfoldError, Unavailable
from tenfold.core.randomness import Randomness
from tenfold.core.retry import Backoff

HELD, FENCED, OPENING = "held by the map", "refused by the fence", "its database is being opened"
"""Why the gate is shut."""

LOOK_EVERY_S = 0.02
"""How often the map file is looked at while the fence refuses what this process sends."""

TRY_AGAIN_S = 1.0
"""After this the fence is tried again, with the old map: it may have been lifted without a new one."""

OPEN_AGAIN = Backoff(first_s=0.1, limit_s=5.0)
READY_EVERY_S = 0.05


class Router:
    """The backends of one process. `start`, `stop`, `adopt` and everything else on one loop."""

    active: Backend
    """Where new work goes."""

    def __init__(
        self,
        config: DatabaseConfig,
        metadata: MetaData,
        clock: Clock,
        randomness: Randomness,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self.gate = Gate(clock, hold_s=config.hold_s, queue=config.queue)
        self._reads = Gate(clock, hold_s=config.hold_s, queue=config.queue)
        self.look: Callable[[], object] = _nowhere
        """Looks at the map file now, and adopts it when it is newer."""
        self.on_switch: Callable[[], object] = _nowhere
        """Called when work goes to another database than before."""
        self.heard: Heard = deaf
        """Called with what other processes on one of the databases announce."""
        self.meter = Meter(clock)
        self.refused = 0
        """Attempts of transactions that a fence refused, and that were begun anew."""
        self._config = config
        self._metadata = metadata
        self._clock = clock
        self._randomness = randomness
        self._on_fatal = on_fatal
        self._open: dict[str, Backend] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._reasons: dict[str, str] = {}
        self._leaving: dict[str, tuple[Backend, asyncio.TimerHandle]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.others: tuple[Backend, ...] = ()
        """Those that are open beside the active one."""
        self._looking: asyncio.Task[None] | None = None

    def _made(self, name: str) -> Backend:
        backend = MAKERS[name](self._config, self._metadata, self._clock, self._on_fatal)
        backend.heard, backend.meter = self._heard, self.meter
        return backend

    def _heard(self, keys: list[str] | None) -> None:
        self.heard(keys)

    async def start(self) -> None:
        """Opens the database that the map sends work to; the standby is opened beside the work."""
        config = self._config
        self.active = self._made(config.backend)
        await self.active.start()
        self._open[config.backend] = self.active
        self.adopt(config)

    async def stop(self) -> None:
        """Refuses what is held, lets what began finish, closes all of them."""
        self.gate.end()
        self._reads.end()
        tasks = [*self._opening.values(), *([self._looking] if self._looking else [])]
        for task in tasks:
            task.cancel()
        for name in list(self._leaving):
            self._close_now(name)
        for name in list(self._open):
            self._close(self._open.pop(name))
        ended = await asyncio.gather(*self._closing, return_exceptions=True)
        await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException):
                raise error

    # -- the map ------------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The epoch of the map in force."""
        return self._config.epoch

    def adopt(self, config: DatabaseConfig) -> None:
        """Goes by a new map. When it returns, what begins is held, or goes to the database that the map names."""
        self._config = config
        for gate in (self.gate, self._reads):
            gate.hold_s, gate.queue = config.hold_s, config.queue
        wanted = {config.backend, config.standby} - {""}
        for name in wanted:
            self._want(name)
        for name in self._opening.keys() - wanted:
            self._opening.pop(name).cancel()
        self._route()
        for name in self._open.keys() - wanted:
            self._leave(name)
        self.others = self._all_others()
        self._stop_looking()

    def _want(self, name: str) -> None:
        if name in self._leaving:
            self._open[name], closing = self._leaving.pop(name)
            closing.cancel()
        backend = self._open.get(name)
        if backend is not None:
            backend.adopt(self._config)
        elif name not in self._opening:
            self._reasons[name] = "it is being opened"
            self._opening[name] = _spawn(self._keep_opening(name))

    def _route(self) -> None:
        """Sends new work where the map says; holds it when the map says so, or until that database is open."""
        config, before = self._config, self.active
        if config.held:
            self.gate.shut(HELD)
        wanted = self._open.get(config.backend)
        if wanted is None:
            self.gate.shut(OPENING)
            self._reads.shut(OPENING)
            self.active = before if isinstance(before, NotOpenYet) else NotOpenYet(before, self._until_open)
        else:
            self.active = wanted
        if self.active is not before:
            self.on_switch()
        if not config.held:
            self.gate.open(HELD)
        if wanted is not None:
            self.gate.open(OPENING)
            self._reads.open(OPENING)

    def _all_others(self) -> tuple[Backend, ...]:
        known = [*self._open.values(), *(backend for backend, _ in self._leaving.values())]
        return tuple(backend for backend in known if backend is not self.active)

    async def _keep_opening(self, name: str) -> None:
        """Opens a database, however often it takes; then it may be the one that work waits for."""
        failures = 0
        while True:
            backend = self._made(name)
            try:
                await backend.start()
            except Exception as error:  # noqa: BLE001 - a server has many ways to be away; `prepared` says the last one
                failures += 1
                self._reasons[name] = str(error)
                await asyncio.sleep(OPEN_AGAIN.wait_s(failures, self._randomness))
            else:
                break
        self._opening.pop(name, None)
        self._reasons.pop(name, None)
        self._open[name] = backend
        backend.adopt(self._config)
        self._route()
        self.others = self._all_others()

    async def _until_open(self) -> Backend:
        """The active database, once it is open; for reads, which the gate does not hold."""
        if self._reads.closed:
            began = self._clock.monotonic()
            try:
                await self._reads.passed()
            finally:
                self.meter.waited(began)
        return self.active

    async def prepared(self, limit_s: float) -> None:
        """Returns when the standby is open and its schema is one that this code can work with; at once while held.

        `Unavailable` with the reason after `limit_s` seconds.
        """
        began = self._clock.monotonic()
        while reason := self._unprepared():
            if self._clock.monotonic() - began >= limit_s:
                raise Unavailable(f"The standby ({self._config.standby}) is not ready: {reason}.", hint="See the log.")
            await asyncio.sleep(READY_EVERY_S)

    def _unprepared(self) -> str:
        """Why the standby cannot take over yet; empty when it can, or when there is nothing to wait for."""
        config = self._config
        if not config.standby or config.held:
            return ""
        standby = self._open.get(config.standby)
        if standby is None:
            return self._reasons.get(config.standby, "it is being opened").rstrip(".")
        ready, reason = standby.ready()
        return "" if ready else reason or "it is not ready"

    # -- closing what is no longer named ------------------------------------------------------------------------------

    def _leave(self, name: str) -> None:
        """Closes it once the reads that began on it have had `hold_s` to end; until then a map may take it back."""
        closing = asyncio.get_running_loop().call_later(self._config.hold_s, self._close_now, name)
        self._leaving[name] = self._open.pop(name), closing

    def _close_now(self, name: str) -> None:
        backend, closing = self._leaving.pop(name)
        closing.cancel()
        self.others = self._all_others()
        self._close(backend)

    def _close(self, backend: Backend) -> None:
        task = _spawn(backend.stop())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    # -- work ---------------------------------------------------------------------------------------------------------

    async def write(self, call: Call) -> Any:
        """Runs a call to its commit, exactly once, on the database that the map names; the body's result."""
        began = self._clock.monotonic()
        try:
            return await self._write(call, began)
        except TenfoldError as error:
            self.meter.judge(error)
            raise
        finally:
            self.meter.wrote(began, call.held_s)

    async def _write(self, call: Call, began: float) -> Any:
        if self.gate.closed:
            await self._pass(call, began)
        epoch = self._config.epoch
        try:
            return await self.active.write(call)
        except StaleMap:
            pass  # out of the handler, so that what comes next does not drag this error along
        return await self._again(call, epoch, began)

    async def _pass(self, call: Call, began: float) -> None:
        came = self._clock.monotonic()
        try:
            await self.gate.passed(began)
        finally:
            call.held_s += self._clock.monotonic() - came

    async def _again(self, call: Call, epoch: int, began: float) -> Any:
        while True:
            self.refused += 1
            await self._newer(call, epoch, began)
            call.context = copy_context()  # what the refused attempt set in its own is gone with it
            epoch = self._config.epoch
            try:
                return await self.active.write(call)
            except StaleMap:
                continue

    async def _newer(self, call: Call, epoch: int, began: float) -> None:
        """Returns when a map is in force that is newer than `epoch`, or when the fence is worth another try."""
        if self._config.epoch <= epoch:
            self.look()
        if self._config.epoch <= epoch:
            self.gate.shut(FENCED)
            if self._looking is None:
                self._looking = _spawn(self._look_until_newer())
        if self._clock.monotonic() - began >= self._config.hold_s:
            raise held_too_long(self._config.hold_s)
        if self.gate.closed:
            await self._pass(call, began)

    async def _look_until_newer(self) -> None:
        began = self._clock.monotonic()
        while self._clock.monotonic() - began < TRY_AGAIN_S:
            await asyncio.sleep(LOOK_EVERY_S)
            self.look()  # a newer map cancels this task
        self._looking = None
        self.gate.open(FENCED)

    def _stop_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        self.gate.open(FENCED)

    def read(self, keys: tuple[Any, ...] | None, consistency: Consistency, snapshot: bool) -> ReadContext:
        """A read scope; it ends where it began, whatever maps come meanwhile."""
        return self.active.read(keys, consistency, snapshot)

    def in_transaction(self) -> bool:
        """Whether the caller runs inside a transaction's body, on whichever database."""
        return self.active.in_transaction() or (
            bool(self.others) and any(backend.in_transaction() for backend in self.others)
        )

    def catch_up(self) -> None:
        """Gives `heard` what other processes announced up to now; adopts a newer map when the database hints at one."""
        if self.active.catch_up():
            self.look()

    def position(self) -> Token:
        """A token at or after everything this process has committed."""
        return self.active.position()

    def ready(self) -> tuple[bool, str]:
        """Whether reads and writes can succeed. Held writes are writes that will, so a shut gate is ready."""
        return self.active.ready()

    @property
    def capabilities(self) -> Capabilities:
        """Where the active backend differs from others."""
        return self.active.capabilities

    def stats(self) -> DatabaseStats:
        """What was asked of the databases, and the connections to those that are open."""
        pools = [backend.pool() for backend in (self.active, *self.others)]
        sizes = (sum(pool.size for pool in pools), sum(pool.busy for pool in pools))
        return self.meter.stats(PoolUse(*sizes, sum(pool.waiting for pool in pools)))

    @property
    def holding(self) -> Holding:
        """What the gate holds, what was begun anew, and where work goes."""
        return replace(self.gate.holding, begun_anew=self.refused, backend=self._config.backend)


def _nowhere() -> None:
    return None


def _spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Beside the loop's work, and not in the context of the request that happened to bring the map."""
    return asyncio.get_running_loop().create_task(work, context=Context())
