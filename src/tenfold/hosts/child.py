"""One child of the keeper: kept running until it is no longer wanted, then stopped.

States: `starting` (runs, has not said that it is ready), `running`, `waiting` (ended, starts again soon), `stopping`,
`ended` (not to be restarted) and `failed` (it said that trying again will not help, or it cannot be started at all).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.core.files import storage_error
from tenfold.core.lifecycle import within
from tenfold.hosts import wire
from tenfold.hosts.accounts import account_of, inherited
from tenfold.hosts.backoff import Backoff
from tenfold.hosts.identity import Identity
from tenfold.hosts.leftovers import end_left_programs, end_leftovers
from tenfold.hosts.logs import last_report, open_for_child, tail
from tenfold.hosts.process import EXEC_FAILED, Process, Reaper, adopt
from tenfold.hosts.records import Launch, Record, Records

EXIT_HOPELESS = 3
"""Exit code of a child that cannot start and says that trying again will not help."""
_READY_POLL_S = 0.05
_KILL_WAIT_S = 10.0


@dataclass(frozen=True)
class Surroundings:
    """What all children share. `listener()` is the public socket's descriptor in this process, or -1."""

    state: Path
    records: Records
    reaper: Reaper
    clock: Clock
    listener: Callable[[], int]
    say: Callable[[str], None]

    def socket_of(self, node: str) -> Path:
        return self.state / "run" / f"{node}.sock"

    def log_of(self, node: str) -> Path:
        return self.state / "logs" / f"{node}.log"


class Child:
    """A node as the keeper looks after it. `start` (or `adopt`) once, `stop` as often as one likes."""

    def __init__(self, launch: Launch, around: Surroundings) -> None:
        self.launch = launch
        self.state = "starting"
        self.restarts = 0
        self.exit_code: int | None = None
        self.report: dict[str, Any] | None = None
        self.tail: list[str] = []
        self.finished = asyncio.Event()
        self._around = around
        self._process: Process | None = None
        self._backoff = Backoff()
        self._ready_at: float | None = None
        self._log_offset = 0
        self._life: asyncio.Task[None] | None = None
        self._unwanted = asyncio.Event()

    def adopt(self, record: Record) -> bool:
        """Takes over the process of a record if exactly that one still runs; says whether it did."""
        self._process = adopt(record.process)
        return self._process is not None

    def start(self) -> None:
        """Begins to look after it: starts the process unless one was adopted, and starts it again when it ends."""
        assert self._life is None, f"{self.launch.node} is looked after already"
        self._life = asyncio.create_task(self._live(), name=self.launch.node)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def active(self) -> bool:
        return not self.finished.is_set()

    def facts(self) -> dict[str, Any]:
        """What `list` answers about it."""
        return {
            "node": self.launch.node,
            "state": self.state,
            "pid": self.pid,
            "ready": self.state == "running",
            "ready_s": self._ready_s() if self.state == "running" else 0.0,
            "adopted": bool(self._process and self._process.adopted),
            "restarts": self.restarts,
            "short_lives": self._backoff.short_lives,
            "crash_loop": self._backoff.loops,
            "exit_code": self.exit_code,
            "report": self.report,
            "tail": self.tail,
            "listener": self.launch.listener,
        }

    async def stop(self, grace_s: float | None = None) -> str:
        """Asks it to end, and kills it after the grace. Answers `drained`, `killed`, or `gone` if it did not run."""
        if self._life is None or self.finished.is_set():
            return "gone"
        self._unwanted.set()
        process = self._process
        if process is None:
            await self._life
            return "gone"
        self.state = "stopping"
        process.send(self.launch.stop_number)
        how = "drained"
        if not await within(process.ended, self.launch.grace_s if grace_s is None else grace_s):
            how = "killed"
            self._around.say(f"{self.launch.node} did not end within its grace; killed")
            process.kill()
            await within(process.ended, _KILL_WAIT_S)
        await within(self.finished, _KILL_WAIT_S)
        return how

    async def _live(self) -> None:
        try:
            while await self._one_life():
                pass
        except TenfoldError as error:
            self._fail(wire.error_body(error))
        finally:
            if self.launch.leaves:
                self._say_killed(await asyncio.to_thread(end_left_programs, self.launch))
            if self.state != "failed":
                self.state = "ended"
            self._around.records.remove(self.launch.node)
            if self.launch.socket:
                self._around.socket_of(self.launch.node).unlink(missing_ok=True)
            self.finished.set()

    async def _one_life(self) -> bool:
        """One process from its start to its end. Says whether there should be another."""
        if self._process is None:
            if self._unwanted.is_set():
                return False
            self._process = self._spawn()
        process = self._process
        watch = asyncio.create_task(self._watch_readiness())
        await process.ended.wait()
        watch.cancel()
        await self._end_leftovers(process.identity)
        self._process = None
        self._note_end(process)
        if process.exit_code in EXEC_FAILED and self.tail and self.tail[-1].startswith("sh: "):
            raise TenfoldError(f"{self.launch.argv[0]} cannot be started: {self.tail[-1]}.", code="TF-SPAWN")
        if self._unwanted.is_set() or not self.launch.restart:
            return False
        if process.exit_code == EXIT_HOPELESS:
            self._fail((self.report or {}).get("error"))
            return False
        return await self._wait_for_next_life(process)

    async def _end_leftovers(self, ended: Identity) -> None:
        if self.launch.owns:
            self._say_killed(await asyncio.to_thread(end_leftovers, self.launch.argv[0], self.launch.owns, ended))

    def _say_killed(self, count: int) -> None:
        if count:
            self._around.say(f"killed {count} that {self.launch.node} left running")

    def _note_end(self, process: Process) -> None:
        log = self._around.log_of(self.launch.node)
        self.exit_code = process.exit_code
        said = last_report(log, self._log_offset) or {}
        # A child that works for ever reports only errors; its other lines of JSON are its access log.
        self.report = said if said and ("error" in said or not self.launch.restart) else None
        self.tail = [line.decode(errors="replace")[:300] for line in tail(log, 12)] if process.exit_code else []

    async def _wait_for_next_life(self, process: Process) -> bool:
        ready_s = self._ready_s()
        killed = process.exit_code == -signal.SIGKILL
        self._backoff, delay_s = self._backoff.after(ready_s, killed=killed)
        self.restarts += 1
        self.state = "waiting"
        how = "ended" if process.exit_code is None else f"ended with exit code {process.exit_code}"
        again = "is being started again" if delay_s == 0 else f"will be started again in {delay_s:g} s"
        loop = f" ({self._backoff.short_lives} times in a row)" if self._backoff.loops else ""
        self._around.say(f"{self.launch.node} (pid {process.pid}) {how}{loop} and {again}")
        return not (delay_s and await within(self._unwanted, delay_s))

    def _ready_s(self) -> float | None:
        """For how long it has been ready in this life; None when it never was."""
        return None if self._ready_at is None else self._around.clock.monotonic() - self._ready_at

    def _fail(self, error: object) -> None:
        """It is not tried again; what it said about the reason is kept for who asks."""
        self.state = "failed"
        self.report = {"error": error} if error else None
        reason = wire.error_of(error).message if error else "it said that trying again will not help"
        self._around.say(f"{self.launch.node} cannot run: {reason}")

    def _spawn(self) -> Process:
        around, launch = self._around, self.launch
        log = around.log_of(launch.node)
        self.state, self._ready_at = "starting", None
        try:
            output = open_for_child(log)
        except OSError as error:
            raise storage_error(error, "write", log) from error
        try:
            self._log_offset = os.fstat(output).st_size
            process = around.reaper.start(
                launch.argv,
                cwd=launch.cwd,
                env=self._environment(),
                output=output,
                descriptors=self._descriptors(),
                account=account_of(launch.user),
                gated=True,
            )
        except OSError as error:
            raise TenfoldError(f"{launch.argv[0]} cannot be started: {error.strerror}.", code="TF-SPAWN") from error
        finally:
            os.close(output)
        around.say(f"{launch.node} started (pid {process.pid})")
        self._record(process)
        process.let_go()
        return process

    def _record(self, process: Process) -> None:
        """Without its record the next keeper would not know it; a disk that is full is no reason to stop serving."""
        try:
            self._around.records.write(Record(self.launch, process.identity))
        except TenfoldError as error:
            self._around.say(f"{self.launch.node} runs without a record: {error.message}")

    def _descriptors(self) -> tuple[int, ...]:
        return (self._around.listener(),) if self.launch.listener else ()

    def _environment(self) -> dict[str, str]:
        extra = {"TENFOLD_NODE": self.launch.node}
        if self.launch.socket:
            extra["TENFOLD_NODE_SOCKET"] = str(self._around.socket_of(self.launch.node))
        if self.launch.listener:
            extra["TENFOLD_LISTEN_FD"] = str(self._around.listener())
        return {**inherited(self.launch.user), **self.launch.env, **extra}

    async def _watch_readiness(self) -> None:
        """Asks until it says that it is ready once in this life."""
        path = self._around.socket_of(self.launch.node)
        while self.launch.socket:
            with contextlib.suppress(TenfoldError):
                answer = await wire.ask(path, {"op": "status"}, 2.0)
                if answer.get("ready") and answer.get("pid", self.pid) == self.pid:
                    break
            await asyncio.sleep(_READY_POLL_S)
        self._ready_at = self._around.clock.monotonic()
        if self.state == "starting":
            self.state = "running"
