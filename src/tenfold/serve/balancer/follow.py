"""One HAProxy in step with the map: what it can be told while it runs, it is told; for the rest, another takes over.

A configuration is checked and on disk before anything of it is applied. One that HAProxy refuses changes nothing: what
served before serves on, and whoever asked hears HAProxy's own words.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError, Unavailable
from tenfold.core.secrets import DOOR, Secrets
from tenfold.engines.haproxy import outliers
from tenfold.engines.haproxy.basis import Identity
from tenfold.engines.haproxy.reconcile import Place, commands, needs_reload, settled
from tenfold.engines.haproxy.render import render
from tenfold.engines.haproxy.runtime import HaproxyRefusedError, HaproxySilentError, Info, Stats
from tenfold.engines.haproxy.servers import LAST_RESORT, WEB, Wanted, wanted_servers
from tenfold.hosts.backoff import Backoff
from tenfold.serve.balancer.encrypted import ENCRYPTED_FD, EncryptedListener
from tenfold.serve.balancer.engine import Haproxies, Life
from tenfold.serve.balancer.folder import Folder
from tenfold.serve.balancer.streams import call_back
from tenfold.serve.balancer.successor import SUCCESSOR_FD, SuccessorSocket
from tenfold.serve.environment import stamp_of
from tenfold.topology.map import Map

PUBLIC_FD = 100
"""The number under which HAProxy gets the public listener, always the same, as that of the encrypted one."""
LOOK_EVERY_S = 1.0
CLOSES_WITHIN_S = 2.0
_ROUNDS = 4

log = logging.getLogger("tenfold.balancer")


@dataclass
class Counts:
    """What happened since this process started. `restart_ms`: the last time from HAProxy's death to its next answer."""

    reloads: int = 0
    restarts: int = 0
    restart_ms: float = 0.0


@dataclass
class Seen:
    """What HAProxy said when it was last looked at."""

    stats: Stats = field(default_factory=lambda: Stats((), ()))
    info: Info | None = None
    at: float = 0.0
    """When that was, by the monotonic clock, in seconds."""


@dataclass(frozen=True)
class EncryptedDoor:
    """What of the encrypted door the configuration does not show; `certificate` changes with the file."""

    port: int
    certificate: tuple[int, int] | None


def _encrypted_door(current: Map) -> EncryptedDoor | None:
    tls = current.public.tls
    return EncryptedDoor(tls.port, stamp_of(Path(tls.certificate))) if tls else None


class Follower:
    """Starts, reloads and tells HAProxy what the map says. `listen_fd` is the public listener; `descriptors` is how
    many files HAProxy may open."""

    def __init__(
        self,
        node: str,
        *,
        listen_fd: int,
        folder: Folder,
        haproxies: Haproxies,
        encrypted: EncryptedListener,
        identity: Identity,
        clock: Clock,
        descriptors: int,
    ) -> None:
        self.applied: Map | None = None
        self.problem: TenfoldError | None = None
        self.counts = Counts()
        self.seen = Seen()
        self.ejected: frozenset[str] = frozenset()
        self._outliers = outliers.Outliers()
        self._node = node
        self._folder = folder
        self._haproxies = haproxies
        self._encrypted = encrypted
        self._identity = identity
        self._clock = clock
        self._limit = descriptors
        self._turn = asyncio.Lock()
        self._closed = False
        self._successor = SuccessorSocket()
        self._wanted: Map | None = None
        self._door: EncryptedDoor | None = None
        os.dup2(listen_fd, PUBLIC_FD, inheritable=False)

    # The map

    async def begin(self, first: Map) -> None:
        """Takes over what runs, or starts HAProxy. Raises why nothing serves; a new map that is refused is no reason
        while an older one is accepted."""
        await self._haproxies.take_over()
        await self._encrypted_back()
        try:
            await self.follow(first)
        except TenfoldError as error:
            if self._running() is None:
                older = self._folder.accepted()
                if older is None or older.epoch >= first.epoch:
                    raise
                log.error("The map of epoch %d is not taken, the one before is: %s", first.epoch, error)
                async with self._turn:
                    await self._start(older, check=False)

    async def follow(self, new: Map) -> None:
        """Applies a map: afterwards new requests go to exactly the web servers that it says. Raises why not."""
        async with self._turn:
            if self._closed:
                raise Unavailable("The balancer is leaving.", hint="Another one takes its place, or none.")
            if self._wanted is None or new.epoch >= self._wanted.epoch:
                self._wanted = new
                await self._try(self._wanted)

    async def close(self) -> None:
        """From now on no HAProxy is started; waits shortly for one that is being started."""
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSES_WITHIN_S), self._turn:
                pass

    async def leave(self) -> None:
        """Lets every HAProxy end after its last request, all of them within the limit of a drain; after `close`."""
        limit_s, begun = self._drain_limit_s(), self._clock.monotonic()
        await self._haproxies.lead_out(limit_s)
        # Nobody accepts there from now on: what still comes is refused, and answered so, and waits for nobody.
        self._successor.close()
        await self._haproxies.drain(max(0.0, begun + limit_s - self._clock.monotonic()))

    async def _try(self, new: Map) -> None:
        try:
            await self._apply(new)
        except TenfoldError as error:
            self.problem = error
            raise
        self.problem = None

    async def _apply(self, new: Map) -> None:
        life = self._running()
        if life is None:
            await self._start(new, check=True)
            return
        text = self._text(new, life.generation)
        running = self._folder.read_config(life.generation)
        if needs_reload(running, text, self._servers(new)) or self._encrypted_otherwise(new):
            await self._reload(new)
            return
        if text != running:
            await self._haproxies.check(text, self._descriptors(new))
            self._folder.save_accepted(new)
            self._folder.save_config(life.generation, text)
        try:
            await self._tell(life, new)
        except HaproxyRefusedError as error:
            log.warning("HAProxy is started anew, because it does not take a change while it runs: %s", error)
            await self._reload(new)
        self.applied = new

    async def _reload(self, new: Map) -> None:
        await self._start(new, check=True)
        log.info("HAProxy was reloaded for the map of epoch %d.", new.epoch)

    async def _start(self, new: Map, *, check: bool) -> None:
        """Another HAProxy on the same listeners; the one before drains as soon as this one answers."""
        begun = self._clock.monotonic()
        if new.public.tls is not None:
            await asyncio.to_thread(self._encrypted.open, new.public.host, new.public.tls.port)
        descriptors, door = self._descriptors(new), _encrypted_door(new)
        generation = self._folder.next_generation()
        text = self._text(new, generation)
        if check:
            await self._haproxies.check(text, descriptors)
            self._folder.save_accepted(new)
        life = await self._haproxies.start(generation, text, descriptors)
        before, replaces = self._haproxies.serving, self._running() is not None
        await self._haproxies.replace_by(life)
        if replaces:
            self.counts.reloads += 1
            await self.call_back()
        elif before is not None:
            # Whoever saw it first: its end, a look that got no answer, or a map that came just then.
            self.counts.restarts += 1
            ended_at = begun if before.ended_at is None else before.ended_at
            self.counts.restart_ms = round((self._clock.monotonic() - ended_at) * 1000, 1)
        self._door = door
        if new.public.tls is None:
            self._encrypted.close()
        await self._tell(life, new)
        self.applied = new

    async def call_back(self) -> None:
        """Lets what lasts on a HAProxy that leaves come back to one that stays."""
        webs = self._wanted.of_role("web") if self._wanted is not None else ()
        await call_back(self._folder.path.parent, [node.name for node in webs])

    async def _tell(self, life: Life, new: Map) -> None:
        """Tells a HAProxy that runs which web servers there are. What still has work is taken out by and by."""
        wanted = self._servers(new)
        for _ in range(_ROUNDS):
            observed, stats = await life.runtime.servers(), await life.runtime.stats()
            busy = {Place(one.backend, one.name): one.current for one in stats.servers}
            todo = commands(new, wanted, observed, busy)
            for command in todo:
                if command.startswith("del server"):
                    # A request that came in between keeps it; the next look tries again.
                    with contextlib.suppress(HaproxyRefusedError):
                        await life.runtime.run(command)
                else:
                    await life.runtime.run(command)
            if settled(wanted, await life.runtime.servers()):
                self.seen = Seen(await life.runtime.stats(), self.seen.info, self._clock.monotonic())
                return
        raise Unavailable("HAProxy does not have the web servers that it was told of.", hint="See the balancer's log.")

    def _servers(self, new: Map) -> Sequence[Wanted]:
        return wanted_servers(new, self.ejected)

    def _text(self, new: Map, generation: int) -> str:
        return render(
            new,
            self._node,
            listen_fd=PUBLIC_FD,
            tls_fd=ENCRYPTED_FD if new.public.tls else None,
            admin=self._folder.admin(generation),
            secret=Secrets(Path(new.state) / "secrets").ensure(DOOR),
            identity=self._identity,
            generation=generation,
            descriptors=self._limit,
            again=self._successor.again,
        )

    def _descriptors(self, new: Map) -> tuple[int, ...]:
        encrypted = self._encrypted.descriptor
        own = (PUBLIC_FD, SUCCESSOR_FD)
        return own if new.public.tls is None or encrypted < 0 else (*own, encrypted)

    async def _encrypted_back(self) -> None:
        """What a HAProxy that was taken over listens on, from another balancer that has it too."""
        before = self._folder.accepted()
        self._door = _encrypted_door(before) if before is not None else None
        if self._door is not None:
            await asyncio.to_thread(self._encrypted.take_back, self._door.port)

    def _encrypted_otherwise(self, new: Map) -> bool:
        """Whether the encrypted door is to be at another port, or with another certificate, than HAProxy has it. A
        certificate that is away for a moment counts as the old one."""
        wanted, has = _encrypted_door(new), self._door
        if wanted is None or has is None:
            return False  # its coming and going is seen in the configuration
        return wanted.port != has.port or wanted.certificate not in (None, has.certificate)

    def _running(self) -> Life | None:
        life = self._haproxies.serving
        return life if life is not None and life.runs else None

    # HAProxy's health

    async def keep(self, leaving: Callable[[], bool]) -> None:
        """Starts HAProxy again whenever it ends, until we leave."""
        backoff = Backoff()
        while not leaving():
            life = self._haproxies.serving
            assert life is not None, "begin() starts one"
            await life.over()
            if leaving() or life is not self._haproxies.serving:
                continue
            life.ended_at = self._clock.monotonic()
            ready_s = None if life.ready_at is None else life.ended_at - life.ready_at
            life.ready_at = None  # a start that fails is a short life
            backoff, delay_s = backoff.after(ready_s, killed=life.process.exit_code in (-9, None))
            log.error("HAProxy (pid %d) ended with %s.", life.pid, life.process.exit_code)
            await asyncio.sleep(delay_s)
            with contextlib.suppress(TenfoldError):
                await self._start_again(life)

    async def _start_again(self, ended: Life) -> None:
        async with self._turn:
            if self._haproxies.serving is not ended:
                return
            try:
                if self.applied is not None:
                    await self._start(self.applied, check=False)
                else:
                    await self._start(self._wanted or self._known(), check=True)
            except TenfoldError as error:
                self.problem = error
                log.error("HAProxy cannot be started: %s", error)
                raise
            self.problem = None

    def _known(self) -> Map:
        accepted = self._folder.accepted()
        assert accepted is not None, "something was started before"
        return accepted

    async def look(self) -> None:
        """What is to be done every second: is it well, are its servers well, is there anything left to do."""
        life = self._running()
        if life is None:
            return
        try:
            self.seen = Seen(await life.runtime.stats(), await life.runtime.info(), self._clock.monotonic())
        except HaproxySilentError:
            await self._silent(life)
            return
        except TenfoldError as error:
            log.warning("HAProxy cannot be looked at: %s", error)
            return
        self._judge(self.seen.stats)
        if self._wanted is not None and not self._turn.locked():
            with contextlib.suppress(TenfoldError):
                await self.follow(self._wanted)
        self._haproxies.tidy(self._drain_limit_s())

    def _judge(self, stats: Stats) -> None:
        """Notes which web servers are much worse than the others; the next telling takes them out, or in again."""
        now = self._clock.monotonic()
        ours = [one for one in stats.servers if one.backend == WEB and one.name != LAST_RESORT]
        sample = outliers.Sample(now, {one.name: outliers.tally_of(one) for one in ours})
        well = frozenset(one.name for one in ours if one.status.startswith(("UP", "no check")))
        self._outliers = outliers.look(self._outliers, sample, well)
        before, self.ejected = self.ejected, self._outliers.ejected(now)
        for name in sorted(self.ejected - before):
            log.warning("%s fails much more often than the others: it gets nothing new for a while.", name)
        for name in sorted(before - self.ejected):
            log.info("%s gets requests again.", name)

    async def _silent(self, life: Life) -> None:
        """It does not answer any more: one that hangs is killed, one that has only lost its socket is replaced."""
        found = await self._haproxies.listen_to(life)
        if not life.runs or found.voice == "answers":
            return
        if found.voice == "silent":
            log.error("HAProxy (pid %d) hangs; killed.", life.pid)
            life.process.kill()
            return
        log.error("HAProxy (pid %d) cannot be told anything any more; another takes over.", life.pid)
        async with self._turn:
            with contextlib.suppress(TenfoldError):
                await self._reload(self.applied or self._known())

    def _drain_limit_s(self) -> float:
        current = self.applied or self._wanted
        return current.web.drain_limit_s if current else 30.0
