"""The HAProxy processes of one balancer: one that serves, and those before it that finish what they have begun."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import tempfile
from collections.abc import Sequence

from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError, Unavailable
from tenfold.core.lifecycle import within
from tenfold.engines.haproxy.frontends import CLOSE_PUBLIC, CLOSED, PUBLIC
from tenfold.engines.haproxy.programs import Program
from tenfold.engines.haproxy.runtime import HaproxySilentError, Runtime
from tenfold.hosts import wire
from tenfold.hosts.process import Process, Reaper, adopt
from tenfold.serve.balancer.folder import CANDIDATE, Folder
from tenfold.serve.balancer.policy import (
    ANSWERS_WITHIN_S,
    ASKED,
    HANGS_AFTER_S,
    Found,
    Leaving,
    Voice,
    take_over,
    to_kill,
)
from tenfold.serve.balancer.successor import send_to_successor

CHECK_LIMIT_S = 10.0
_LOOK_AGAIN_S = 0.005
_CLIENTS_AGAIN_S = 0.05
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "TENFOLD_NODE", "TENFOLD_MAP")
_TOLD = 2000

log = logging.getLogger("tenfold.balancer")


class ConfigRefusedError(TenfoldError):
    """HAProxy does not take the configuration that was made for it."""

    code = "TF-BALANCER-CONFIG"
    title = "HAProxy refuses its configuration"


class Life:
    """One HAProxy from its start to its end."""

    def __init__(self, generation: int, process: Process, runtime: Runtime) -> None:
        self.generation = generation
        self.process = process
        self.runtime = runtime
        self.ready_at: float | None = None
        self.ended_at: float | None = None
        self.leaving_since: float | None = None
        self.replaced = asyncio.Event()
        """Set when another one serves in its place, long before it ends."""
        self.ours = False
        """Whether this process started it, so that it knows the way to a successor."""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def runs(self) -> bool:
        return not self.process.ended.is_set()

    async def over(self) -> None:
        """Returns when it has ended, or another one has taken its place."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self.process.ended, self.replaced)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


class Haproxies:
    """Starts, takes over and ends them. `output` is where they write; `serving` the one that accepts, once there is."""

    def __init__(self, folder: Folder, program: Program, reaper: Reaper, clock: Clock, output: int) -> None:
        self.serving: Life | None = None
        self._folder = folder
        self._program = program
        self._reaper = reaper
        self._clock = clock
        self._output = output
        self._leaving: list[Life] = []
        self._starting = 0

    # What runs already

    async def take_over(self) -> None:
        """Takes what a process before us left running: the youngest serves on, others drain, what hangs is killed."""
        lives = {}
        for generation, identity in self._folder.running(str(self._program.path)).items():
            process = adopt(identity)
            if process is not None:
                lives[generation] = self._life(generation, process)
        found = await asyncio.gather(*(self.listen_to(life, ASKED) for life in lives.values()))
        decided = take_over(found)
        for generation in decided.kill:
            lives[generation].process.kill()
        for generation in decided.drain:
            self.retire(lives[generation])
        if decided.serves is not None:
            self.serving = lives[decided.serves]
            self.serving.ready_at = self._clock.monotonic()
            log.info("Took over the HAProxy that runs (pid %d).", self.serving.pid)

    async def listen_to(self, life: Life, times: int = 1) -> Found:
        """What it says when it is asked, so many times as long as it says nothing."""
        voice: Voice = "answers"
        stopping = False
        try:
            wire.connect_unix(self._folder.path / self._folder.admin(life.generation), 1.0).close()
            stopping = (await life.runtime.info()).stopping or await _is_led_out(life)
        except wire.NotRunning:
            voice = "closed"
        except TenfoldError:
            if times > 1:
                return await self.listen_to(life, times - 1)
            voice = "silent"
        return Found(life.generation, voice, stopping)

    def _life(self, generation: int, process: Process) -> Life:
        return Life(generation, process, Runtime(self._folder.admin_path(generation), HANGS_AFTER_S / ASKED))

    # Starting

    async def check(self, text: str, descriptors: Sequence[int]) -> None:
        """Lets HAProxy read a configuration. Raises `ConfigRefusedError` with its words when it does not take it."""
        self._folder.save_candidate(text)
        with tempfile.TemporaryFile() as output:
            process = self._spawn(self._program.check_argv(CANDIDATE), output.fileno(), descriptors)
            if not await within(process.ended, CHECK_LIMIT_S):
                process.kill()
                raise Unavailable(f"HAProxy did not read its configuration within {CHECK_LIMIT_S:g} s.")
            output.seek(0)
            said = output.read(_TOLD).decode(errors="replace")
        if process.exit_code != 0:
            raise ConfigRefusedError(
                f"HAProxy refuses its new configuration; the one before stays in force. It said: {_words(said)}",
                hint=f"The configuration is {self._folder.path / CANDIDATE}.",
            )

    async def start(self, generation: int, text: str, descriptors: Sequence[int]) -> Life:
        """Starts one with a configuration that HAProxy accepts, and waits until it answers; it is on disk before.

        Raises `Unavailable` when it ends instead, or does not answer in time; it runs no longer then.
        """
        self._starting = generation  # its files must not be taken for those of one that is gone
        self._folder.save_config(generation, text)
        argv = self._program.run_argv(self._folder.config(generation).name)
        life = self._life(generation, self._spawn(argv, self._output, descriptors))
        try:
            await self._until_it_answers(life)
        except BaseException:
            life.process.kill()
            raise
        life.ready_at = self._clock.monotonic()
        life.ours = True
        return life

    def _spawn(self, argv: Sequence[str], output: int, descriptors: Sequence[int]) -> Process:
        try:
            return self._reaper.start(
                argv,
                cwd=str(self._folder.path),
                env={name: os.environ[name] for name in _KEPT if name in os.environ},
                output=output,
                descriptors=descriptors,
            )
        except OSError as error:
            raise TenfoldError(f"{argv[0]} cannot be started: {error.strerror}.", code="TF-SPAWN") from error

    async def _until_it_answers(self, life: Life) -> None:
        deadline = self._clock.monotonic() + ANSWERS_WITHIN_S
        while life.runs and self._clock.monotonic() < deadline:
            with contextlib.suppress(HaproxySilentError):
                await life.runtime.info()
                return
            await asyncio.sleep(_LOOK_AGAIN_S)
        how = "did not answer in time" if life.runs else f"ended with exit code {life.process.exit_code}"
        raise Unavailable(f"HAProxy (pid {life.pid}) was started and {how}.", hint="See the log of this node.")

    async def replace_by(self, fresh: Life) -> None:
        """From now on `fresh` serves; the one before accepts nothing more and ends after its last request."""
        old, self.serving = self.serving, fresh
        if old is not None:
            old.replaced.set()
        if old is not None and old.runs:
            if old.ours:
                await send_to_successor(old.runtime)
            self.retire(old)

    # Ending

    def retire(self, life: Life) -> None:
        """Lets one drain; it bounds that itself."""
        life.leaving_since = self._clock.monotonic()
        life.process.send(signal.SIGUSR1)
        self._leaving.append(life)

    def tidy(self, drain_limit_s: float) -> None:
        """Kills old ones that do not end, or that are too many, and forgets what ended, with its files."""
        now = self._clock.monotonic()
        self._leaving = [life for life in self._leaving if life.runs]
        ages = [Leaving(life.generation, now - (life.leaving_since or now)) for life in self._leaving]
        late = to_kill(ages, drain_limit_s)
        for life in self._leaving:
            if life.generation in late:
                log.warning("HAProxy (pid %d) did not end its drain in time; killed.", life.pid)
                life.process.kill()
        serving = [self.serving.generation] if self.serving else []
        self._folder.forget_all_but([self._starting, *serving, *(life.generation for life in self._leaving)])

    @property
    def leaving(self) -> int:
        """How many old ones still drain."""
        return sum(life.runs for life in self._leaving)

    async def lead_out(self, limit_s: float) -> None:
        """Closes the public door of the one that serves, and returns when neither it nor one before it has clients, or
        after the limit.

        Until then it does all the rest: those before it pass on to it what still comes to them, and it waits for web
        servers. One that is told to stop (SIGUSR1) does neither.
        """
        serving = self.serving
        if serving is not None and serving.runs:
            with contextlib.suppress(TenfoldError, TimeoutError):
                async with asyncio.timeout(limit_s):
                    await serving.runtime.run(CLOSE_PUBLIC)
                    while serving.runs and (self.leaving or await _clients(serving)):  # noqa: ASYNC110
                        await asyncio.sleep(_CLIENTS_AGAIN_S)

    async def drain(self, limit_s: float) -> None:
        """Lets all of them end after their last request, and kills what is left after the limit."""
        if self.serving is not None and self.serving.runs:
            self.retire(self.serving)
        waits = [asyncio.ensure_future(life.process.ended.wait()) for life in self._leaving]
        if waits:
            _done, late = await asyncio.wait(waits, timeout=limit_s)
            for wait in late:
                wait.cancel()
        for life in self._leaving:
            life.process.kill()


async def _clients(life: Life) -> int:
    """How many are connected to its public door."""
    public = (await life.runtime.stats()).frontend(PUBLIC)
    return public.current if public is not None else 0


async def _is_led_out(life: Life) -> bool:
    """Whether its public door was closed: its balancer died while it was leaving."""
    public = (await life.runtime.stats()).frontend(PUBLIC)
    return public is not None and public.status == CLOSED


def _words(said: str) -> str:
    """HAProxy's complaints in one line."""
    lines = [line.strip() for line in said.splitlines() if "[ALERT]" in line] or said.splitlines()
    return " ".join(line.split(" : ", 1)[-1] for line in lines)[:600] or "nothing"
