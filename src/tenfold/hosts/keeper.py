"""The keeper: one small process per host that owns the public socket and the processes behind it.

It opens the public socket once and keeps it for ever, so that connections wait in it while a web process is restarted.
It starts, watches, restarts and stops children, hands out loopback ports, tells nodes of a new map and rotates their
logs. It knows no moves and no services: what to run is told to it over `run/keeper.sock` (one JSON object a line,
wire.py), most of it by the controller, which is its first child.

When it is killed, its children go on. The next keeper takes the public socket back from one of them, adopts those that
still run (records.py) and starts those that do not. Standard library only, so that it comes up when nothing else does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.errors import TenfoldError, Unavailable, UsageError
from tenfold.core.files import FileLock, private_dir, storage_errors
from tenfold.hosts import wire
from tenfold.hosts.child import EXIT_HOPELESS, Child, Surroundings
from tenfold.hosts.identity import is_alive
from tenfold.hosts.leftovers import end_left_programs
from tenfold.hosts.listener import open_listener, recover_listener
from tenfold.hosts.logs import Mirror, Rotation, rotate
from tenfold.hosts.ports import Ports
from tenfold.hosts.process import Reaper
from tenfold.hosts.records import Launch, Record, Records, launch_of

MAX_CHILDREN = 200
MAX_CONVERSATIONS = 64
IDLE_S, REFUSED_S = 120.0, 2.0
"""A conversation in which nothing is asked for this many seconds is closed; sooner when it is to be refused."""
LOG_CHECK_S = 1.0
_MAX_WAIT_S = 3600.0

Operation = Callable[[wire.Message], Awaitable[wire.Message]]


@dataclass(frozen=True)
class Settings:
    """What a keeper is started with. `first`: the children to start when they do not run already."""

    state: Path
    host: str = "127.0.0.1"
    port: int = 8000
    rotation: Rotation = field(default_factory=Rotation)
    first: tuple[Launch, ...] = ()
    foreground: bool = False


class Keeper:
    """The process. `open()` takes the lock, the sockets and what still runs; `run()` serves until all is stopped."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rotation = settings.rotation
        self._run = private_dir(settings.state / "run")
        self._logs = private_dir(settings.state / "logs")
        self._lock = FileLock(self._run / "keeper.lock")
        self._records = Records(self._run)
        self._ports = Ports(self._run / "ports.json")
        self._children: dict[str, Child] = {}
        self._conversations = 0
        self._stopping: asyncio.Task[dict[str, str]] | None = None
        self._exit_code = 0
        self._done = asyncio.Event()
        self._operations: dict[str, Operation] = {
            "hello": self._hello,
            "list": self._list,
            "spawn": self._spawn,
            "stop": self._stop,
            "wait": self._wait,
            "port": self._port,
            "publish": self._publish,
            "listen": self._listen,
            "rotation": self._set_rotation,
            "shutdown": self._shutdown,
        }

    async def open(self) -> None:
        """Becomes the keeper of this state directory. Raises a `TenfoldError` when it cannot."""
        if not self._lock.try_acquire():
            raise Unavailable(
                f"A keeper (pid {self._lock.holder()}) already looks after {self._settings.state}.",
                hint="Ask it with `tenfold status`.",
                code="TF-KEEPER-RUNS",
            )
        known = self._records.read_all()
        alive = [record for record in known if record.process and is_alive(record.process)]
        if not alive:  # a balancer's HAProxy alone is no deployment, and it holds the public socket
            sum(end_left_programs(record.launch) for record in known)
        self._public = self._take_listener(alive)
        with storage_errors("listen on", self._run / "keeper.sock"):
            self._control = wire.listen_unix(self._run / "keeper.sock")
        self._mirror = Mirror(self._logs) if self._settings.foreground else None
        self._around = Surroundings(
            self._settings.state, self._records, Reaper(), SYSTEM_CLOCK, self._public_fd, self.say
        )
        self._take_children(bool(alive))

    def _take_listener(self, alive: Iterable[Record]) -> socket.socket:
        holders = [self._run / f"{record.launch.node}.sock" for record in alive if record.launch.listener]
        recovered = recover_listener(holders)
        if recovered is not None:
            self.say("took the public socket back from a process that still runs")
            return recovered
        return open_listener(self._settings.host, self._settings.port)

    def _take_children(self, continues: bool) -> None:
        """Adopts what a keeper before us left running and starts what is missing; a fresh start forgets old records."""
        records = self._records.read_all()
        for record in records:
            if continues:
                self._begin(record.launch, record)
            else:
                self._records.remove(record.launch.node)
        for launch in self._settings.first:
            if launch.node not in self._children:
                self._begin(launch)

    def _begin(self, launch: Launch, record: Record | None = None) -> Child:
        child = Child(launch, self._around)
        if record is not None and child.adopt(record):
            self.say(f"adopted {launch.node} (pid {child.pid})")
        self._children[launch.node] = child
        child.start()
        return child

    def _public_fd(self) -> int:
        return self._public.fileno()

    async def run(self) -> int:
        """Serves until it is told to stop. Returns the exit code."""
        self._handle_signals()
        server = await asyncio.start_unix_server(self._converse, sock=self._control, limit=wire.MAX_LINE)
        logs = asyncio.create_task(self._look_after_logs())
        host, port = self.address()
        self.say(f"listens on {host} port {port}, pid {os.getpid()}")
        await self._done.wait()
        logs.cancel()
        if self._mirror is not None:
            self._mirror.close()
        server.close()
        self._public.close()
        (self._run / "keeper.sock").unlink(missing_ok=True)
        self.say("everything is stopped")
        self._lock.release()
        return self._exit_code

    def address(self) -> tuple[str, int]:
        """Where the public socket listens."""
        name = self._public.getsockname()
        return str(name[0]), int(name[1])

    def say(self, text: str) -> None:
        """One line into the keeper's own log; a full disk is no reason to stop."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(SYSTEM_CLOCK.wall_us() / 1e6))
        with contextlib.suppress(OSError):
            print(f"{stamp} keeper: {text}", flush=True)

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        ends = [signal.SIGTERM, signal.SIGINT]
        # Without a terminal a hang-up means nothing; in the foreground it means that the terminal went away.
        (ends.append if self._settings.foreground else self._ignore)(signal.SIGHUP)
        for number in ends:
            loop.add_signal_handler(number, self._begin_shutdown)

    @staticmethod
    def _ignore(number: signal.Signals) -> None:
        # A handler, not SIG_IGN: what is ignored stays ignored in every child that we start.
        asyncio.get_running_loop().add_signal_handler(number, lambda: None)

    async def _look_after_logs(self) -> None:
        while True:
            for path in sorted(self._logs.glob("*.log")):
                await asyncio.to_thread(rotate, path, self._rotation)
            await asyncio.sleep(LOG_CHECK_S)

    # Conversations

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._conversations += 1
        try:
            refusal = self._refusal(writer.get_extra_info("socket"))
            if refusal is not None:
                # Read first: what is closed with a question unread loses its answer.
                await asyncio.wait_for(reader.readline(), REFUSED_S)
                writer.write(wire.refusal(refusal))
                return
            while line := await asyncio.wait_for(reader.readline(), IDLE_S):
                writer.write(await self._answer(line))
                await writer.drain()
        except ValueError:
            writer.write(wire.refusal(UsageError(f"A line may have {wire.MAX_LINE} bytes.")))
        except OSError:  # the other end went away, or was silent for too long
            pass
        finally:
            self._conversations -= 1
            writer.close()

    def _refusal(self, conn: Any) -> TenfoldError | None:
        if not wire.may_ask(wire.peer_uid(conn)):
            return UsageError(
                "This keeper belongs to another user.",
                hint="Run this as the user that started it.",
                code="TF-NOT-YOURS",
            )
        if self._conversations > MAX_CONVERSATIONS:
            return Unavailable("Too many conversations with the keeper at once.", hint="Try again in a moment.")
        return None

    async def _answer(self, line: bytes) -> bytes:
        try:
            message = wire.decode(line)
            operation = self._operations.get(str(message.get("op")))
            if operation is None:
                raise UsageError(
                    f"The keeper does not know {message.get('op')!r}.", hint=f"It knows {', '.join(self._operations)}."
                )
            return wire.encode({"ok": True, **await operation(message)})
        except TenfoldError as error:
            return wire.refusal(error)
        except (ValueError, TypeError, LookupError) as error:
            return wire.refusal(UsageError(f"The question has a wrong value: {error!r}."))

    # Operations

    async def _hello(self, _message: wire.Message) -> wire.Message:
        host, port = self.address()
        return {"pid": os.getpid(), "state": str(self._settings.state), "host": host, "port": port,
                "foreground": self._settings.foreground, "stopping": self._stopping is not None}  # fmt: skip

    async def _list(self, _message: wire.Message) -> wire.Message:
        return {"nodes": [child.facts() for child in self._children.values()]}

    async def _spawn(self, message: wire.Message) -> wire.Message:
        if self._stopping is not None:
            raise Unavailable("The keeper is stopping.", hint="Wait until it has stopped, then run `tenfold up`.")
        launch = launch_of(message)
        known = self._children.get(launch.node)
        if known is not None and known.active:
            raise UsageError(f"{launch.node} already runs.", hint="Stop it first.", code="TF-NODE-RUNS")
        if len(self._children) >= MAX_CHILDREN:
            raise UsageError(f"A keeper looks after at most {MAX_CHILDREN} processes.")
        self._begin(launch)
        return {"node": launch.node}

    def _child(self, message: wire.Message) -> Child:
        node = str(message.get("node"))
        if node not in self._children:
            known = ", ".join(self._children) or "none"
            raise UsageError(f"There is no node {node!r}.", hint=f"Nodes here: {known}.", code="TF-NO-NODE")
        return self._children[node]

    async def _stop(self, message: wire.Message) -> wire.Message:
        """Ends one child and forgets it."""
        child = self._child(message)
        grace = message.get("grace_s")
        how = await child.stop(None if grace is None else float(grace))
        if self._children.get(child.launch.node) is child:
            del self._children[child.launch.node]
        return {"how": how}

    async def _wait(self, message: wire.Message) -> wire.Message:
        """Waits until a child has ended for good, at most `limit_s` seconds; its facts either way."""
        child = self._child(message)
        limit = min(float(message.get("limit_s", 10.0)), _MAX_WAIT_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await child.finished.wait()
        return {"finished": child.finished.is_set(), **child.facts()}

    async def _port(self, message: wire.Message) -> wire.Message:
        return {"port": self._ports.of(str(message.get("name", "")), free=bool(message.get("free")))}

    async def _publish(self, message: wire.Message) -> wire.Message:
        """Tells every node that follows the map of its new epoch: `acked` by node, and why the others have not.

        A node that does not run is left out: it reads the newest map when it starts.
        """
        epoch, limit_s = int(message["epoch"]), min(float(message.get("limit_s", 5.0)), 60.0)
        nodes = [child.launch.node for child in self._children.values() if child.launch.map and child.pid is not None]
        answers = await asyncio.gather(*(self._tell(node, epoch, limit_s) for node in nodes))
        told = dict(zip(nodes, answers, strict=True))
        return {
            "acked": [node for node, problem in told.items() if problem is None],
            "missing": {node: problem for node, problem in told.items() if problem is not None},
        }

    async def _tell(self, node: str, epoch: int, limit_s: float) -> str | None:
        try:
            answer = await wire.ask(self._around.socket_of(node), {"op": "map", "epoch": epoch}, limit_s)
        except TenfoldError as error:
            return error.message
        has = answer.get("epoch")
        return None if isinstance(has, int) and has >= epoch else f"{node} stays at epoch {has}"

    async def _listen(self, message: wire.Message) -> wire.Message:
        """Opens another public address for children that start from now on; who serves the old one goes on with it."""
        fresh = open_listener(str(message.get("host", "")), int(message["port"]))
        self._public, old = fresh, self._public
        old.close()
        host, port = self.address()
        return {"host": host, "port": port}

    async def _set_rotation(self, message: wire.Message) -> wire.Message:
        rotation = Rotation(int(message["size"]), int(message["keep"]))
        if rotation.size < 1 or rotation.keep < 1:
            raise UsageError("Logs are rotated at one byte or more, and one generation or more is kept.")
        self._rotation = rotation
        return {}

    # The end

    async def _shutdown(self, message: wire.Message) -> wire.Message:
        self._exit_code = int(message.get("code", 0))
        return {"stopped": await asyncio.shield(self._begin_shutdown())}

    def _begin_shutdown(self) -> asyncio.Task[dict[str, str]]:
        if self._stopping is None:
            self.say("stopping everything")
            self._stopping = asyncio.create_task(self._stop_all())
        return self._stopping

    async def _stop_all(self) -> dict[str, str]:
        """Stops stage after stage, the controller's first: nobody may start anything while the rest is drained."""
        stopped: dict[str, str] = {}
        for stage in sorted({child.launch.stage for child in self._children.values()}):
            nodes = {node: child for node, child in self._children.items() if child.launch.stage == stage}
            hows = await asyncio.gather(*(child.stop() for child in nodes.values()))
            stopped.update(zip(nodes, hows, strict=True))
        # After the answer has gone out: who asked reads it from the conversation that the loop is about to end.
        asyncio.get_running_loop().call_later(0.05, self._done.set)
        return stopped


def _arguments(argv: list[str]) -> tuple[Settings, int | None]:
    parser = argparse.ArgumentParser(prog="tenfold.hosts.keeper", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--state", type=Path, required=True, help="the state directory (.tenfold)")
    parser.add_argument("--host", default=Settings.host)
    parser.add_argument("--port", type=int, default=Settings.port)
    parser.add_argument("--rotate-size", type=int, default=Rotation.size, help="bytes")
    parser.add_argument("--rotate-keep", type=int, default=Rotation.keep, help="generations")
    parser.add_argument("--first", action="append", default=[], help="a child to start, as the JSON of a spawn")
    parser.add_argument("--foreground", action="store_true", help="stay with the terminal, children's logs on stdout")
    parser.add_argument("--ready-fd", type=int, help="one JSON line goes here when it is up or has failed")
    found = parser.parse_args(argv)
    first = tuple(launch_of(json.loads(text)) for text in found.first)
    rotation = Rotation(found.rotate_size, found.rotate_keep)
    settings = Settings(found.state.resolve(), found.host, found.port, rotation, first, found.foreground)
    return settings, found.ready_fd


async def _keep(settings: Settings, report: Callable[[wire.Message], None]) -> int:
    keeper = Keeper(settings)
    await keeper.open()
    host, port = keeper.address()
    report({"ok": True, "pid": os.getpid(), "host": host, "port": port})
    return await keeper.run()


def main(argv: list[str] | None = None) -> int:
    """Runs a keeper until everything is stopped. Exit 0, or 3 with one JSON line on stderr when it cannot start."""
    os.umask(0o077)
    settings, ready = _arguments(sys.argv[1:] if argv is None else argv)

    def report(message: wire.Message) -> None:
        if ready is not None:
            with contextlib.suppress(OSError):
                os.write(ready, wire.encode(message))
                os.close(ready)

    try:
        return asyncio.run(_keep(settings, report))
    except TenfoldError as error:
        report({"ok": False, "error": wire.error_body(error)})
        print(json.dumps({"error": wire.error_body(error)}), file=sys.stderr, flush=True)
        return EXIT_HOPELESS


if __name__ == "__main__":
    sys.exit(main())
