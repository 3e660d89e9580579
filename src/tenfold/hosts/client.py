"""The keeper as the command line and the controller see it: start one, ask one, and clean up behind a dead one."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tenfold.core.errors import TenfoldError, Unavailable
from tenfold.core.files import storage_errors
from tenfold.hosts import wire
from tenfold.hosts.identity import identity_of, is_alive, open_pidfd, send_signal
from tenfold.hosts.leftovers import end_left_programs, left_programs
from tenfold.hosts.logs import Rotation, tail
from tenfold.hosts.process import launch_detached
from tenfold.hosts.records import Launch, Record, Records

START_LIMIT_S = 20.0
_SHUTDOWN_SLACK_S = 30.0
_LOOKING = ("hello", "list")
_LOOKS, _LOOK_AGAIN_S = 40, 0.05


@dataclass(frozen=True)
class KeeperStart:
    """What a keeper is started with; `host` and `port` matter only when nobody holds the public socket any more."""

    state: Path
    host: str
    port: int
    rotation: Rotation
    first: tuple[Launch, ...] = ()

    def argv(self, *, foreground: bool = False, ready: int | None = None) -> list[str]:
        """The command. The current folder is kept off the module path: a `select.py` of the service must not load."""
        words = [sys.executable, "-P", "-m", "tenfold.hosts.keeper", "--state", str(self.state)]
        words += ["--host", self.host, "--port", str(self.port)]
        words += ["--rotate-size", str(self.rotation.size), "--rotate-keep", str(self.rotation.keep)]
        words += [word for launch in self.first for word in ("--first", json.dumps(asdict(launch)))]
        words += ["--foreground"] if foreground else []
        return words + ([] if ready is None else ["--ready-fd", str(ready)])


class KeeperClient:
    """Questions to the keeper of one state directory. Every method raises `NotRunning` when there is none."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.socket = state / "run" / "keeper.sock"

    def ask(self, op: str, timeout_s: float = 5.0, **fields: object) -> wire.Message:
        """One operation; raises the error that the keeper answers with.

        A killed keeper's threads end one after another, and for a moment its socket takes questions that nobody will
        answer. What only looks is asked again then, until there is an answer or nobody there.
        """
        for _ in range(_LOOKS):
            try:
                return wire.call(self.socket, {"op": op, **fields}, timeout_s)
            except wire.WentAway:
                if op not in _LOOKING:
                    raise
                time.sleep(_LOOK_AGAIN_S)
        return wire.call(self.socket, {"op": op, **fields}, timeout_s)

    def runs(self) -> bool:
        """Whether a keeper answers."""
        try:
            self.ask("hello")
        except wire.NotRunning:
            return False
        return True

    def nodes(self) -> list[wire.Message]:
        """The facts of every child, in the order in which they were started."""
        return list(self.ask("list")["nodes"])

    def node(self, name: str) -> wire.Message | None:
        """The facts of one child, or None."""
        return next((node for node in self.nodes() if node["node"] == name), None)

    def spawn(self, launch: Launch) -> None:
        """Starts a child and keeps it running."""
        self.ask("spawn", **asdict(launch))

    def shutdown(self, grace_s: float) -> dict[str, str]:
        """Stops everything, the keeper included; says how each child ended. `grace_s`: the longest grace among them."""
        pid = int(self.ask("hello")["pid"])
        stopped = self.ask("shutdown", timeout_s=grace_s + _SHUTDOWN_SLACK_S)["stopped"]
        wait_until_gone(pid, 10.0)
        return dict(stopped)


def start_keeper(start: KeeperStart) -> wire.Message:
    """Starts a keeper that outlives this process and waits until it is up; its pid and public address.

    Raises what kept it from starting (`PortTaken`, a disk that is full, ...).
    """
    log = start.state / "logs" / "keeper.log"
    receive, send = os.pipe()
    try:
        with storage_errors("write", log):
            pid = launch_detached(start.argv(ready=send), cwd=start.state, log=log, ready=send)
    finally:
        os.close(send)
    try:
        line = _first_line(receive, START_LIMIT_S)
    finally:
        os.close(receive)
    if not line:
        said = "\n".join(text.decode(errors="replace") for text in tail(log, 5))
        raise TenfoldError(f"The keeper (pid {pid}) did not start. It said:\n{said}", hint=f"See {log}.")
    answer = wire.decode(line)
    if answer.get("ok") is not True:
        wait_until_gone(pid, 5.0)
        raise wire.error_of(answer.get("error"))
    return answer


def _first_line(descriptor: int, timeout_s: float) -> bytes:
    """What the keeper reports; nothing when it ended, or took too long, before it did."""
    line = b""
    while not line.endswith(b"\n") and _readable(descriptor, timeout_s):
        data = os.read(descriptor, wire.MAX_LINE)
        if not data:
            return b""
        line += data
    return line if line.endswith(b"\n") else b""


def _readable(descriptor: int, timeout_s: float) -> bool:
    """Whether it can be read within that time. Not `select.select`: it refuses descriptors from 1024 on."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN | select.POLLHUP)
    return bool(waiting.poll(timeout_s * 1000))


def wait_until_gone(pid: int, timeout_s: float) -> bool:
    """Whether the process has ended within that time; True also when there never was one."""
    identity = identity_of(pid)
    pidfd = open_pidfd(identity) if identity else None
    if pidfd is None:
        return True
    try:
        return _readable(pidfd, timeout_s)
    finally:
        os.close(pidfd)


def left_running(state: Path) -> list[Record]:
    """What a keeper that is gone left running, by its records."""
    return [record for record in Records(state / "run").read_all() if _runs(record) or left_programs(record.launch)]


def _runs(record: Record) -> bool:
    return record.process is not None and is_alive(record.process)


def stop_left(records: Sequence[Record]) -> dict[str, str]:
    """Ends what a dead keeper left running, stage after stage; says how each ended."""
    stopped: dict[str, str] = {}
    for stage in sorted({record.launch.stage for record in records}):
        these = [record for record in records if record.launch.stage == stage]
        for record in these:
            _signal(record, record.launch.stop_number)
        stopped.update((record.launch.node, _await_end(record)) for record in these)
    return stopped


def _signal(record: Record, number: int) -> None:
    pidfd = open_pidfd(record.process) if record.process else None
    if pidfd is not None:
        send_signal(pidfd, number)
        os.close(pidfd)


def _await_end(record: Record) -> str:
    drained = _ended(record, record.launch.grace_s)
    if not drained:
        _signal(record, signal.SIGKILL)
        if not _ended(record, 10.0):
            pid = record.process.pid if record.process else 0
            raise Unavailable(f"{record.launch.node} (pid {pid}) does not end, not even by SIGKILL.")
    return "killed" if end_left_programs(record.launch) or not drained else "drained"


def _ended(record: Record, within_s: float) -> bool:
    """Whether exactly this process has ended within that time; who has its pid since is none of our business."""
    return not _runs(record) or (record.process is not None and wait_until_gone(record.process.pid, within_s))


def forget(state: Path, records: Iterable[Record]) -> None:
    """Removes the records of what was stopped."""
    for record in records:
        Records(state / "run").remove(record.launch.node)
