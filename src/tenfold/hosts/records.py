"""What the keeper was asked to run, on disk: one `run/<node>.json` a child, so that the next keeper can adopt it.

A record is written as soon as its process runs and removed when the child is no longer wanted. It holds no environment
but the variables that the asker named, so no secret of the shell ends up in a file.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tenfold.core.errors import UsageError
from tenfold.core.files import atomic_write
from tenfold.hosts.identity import Identity

NODE_NAME = re.compile(r"^[a-z][a-z0-9-]{0,40}$")
_MAX_WORDS = 64
STOP_SIGNALS = ("SIGTERM", "SIGINT", "SIGQUIT")


@dataclass(frozen=True)
class Launch:
    """How a child is started and stopped.

    `listener`: it inherits the public socket (and can hand it back). `socket`: it answers on `run/<node>.sock`.
    `map`: it wants to hear of new map epochs. `restart`: it is started again when it ends. `grace_s`: seconds between
    `stop_signal` (by its name) and SIGKILL. `stage`: children of a lower stage are stopped first when everything stops:
    0 who changes the deployment, 1 who stands before those that serve, 2 who serves, 3 what those stand on. `user`: who
    it runs as when the keeper is root; it sees no variables of root's then. An ordinary user's keeper runs everything
    as that user. `owns`: a folder; what the child's program left running in it when it ended is killed. `leaves`: the
    path of another program, which the child runs in the folder that it owns and which goes on while the child is
    started again, because its next life takes it back; when there is to be no next life, it is killed.
    """

    node: str
    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str] = field(default_factory=dict)
    listener: bool = False
    socket: bool = False
    map: bool = False
    restart: bool = True
    grace_s: float = 10.0
    stage: int = 1
    user: str = ""
    stop_signal: str = "SIGTERM"
    owns: str = ""
    leaves: str = ""

    def __post_init__(self) -> None:
        if not NODE_NAME.match(self.node):
            raise UsageError(
                f"{self.node!r} is not a node's name.", hint="Small letters, digits and dashes, like web-1."
            )
        if not self.argv or len(self.argv) > _MAX_WORDS or not all(isinstance(word, str) for word in self.argv):
            raise UsageError(f"{self.node} needs a command of 1 to {_MAX_WORDS} words.")
        if not 0 <= self.grace_s <= 3600:
            raise UsageError(f"{self.node}: a grace of {self.grace_s} s is not between 0 and 3600.")
        if self.stop_signal not in STOP_SIGNALS:
            raise UsageError(f"{self.node} is stopped with one of {', '.join(STOP_SIGNALS)}, not {self.stop_signal!r}.")
        if self.leaves and not self.owns:
            raise UsageError(f"{self.node} leaves {self.leaves} running: it must say in which folder, which it owns.")

    @property
    def stop_number(self) -> signal.Signals:
        """The signal that asks it to end."""
        return signal.Signals[self.stop_signal]


def launch_of(value: Mapping[str, Any]) -> Launch:
    """A launch from the fields of a message. Raises `UsageError` that names what is wrong with it."""
    try:
        return Launch(
            node=str(value["node"]),
            argv=tuple(value["argv"]),
            cwd=str(value["cwd"]),
            env={str(name): str(text) for name, text in dict(value.get("env", {})).items()},
            listener=bool(value.get("listener", False)),
            socket=bool(value.get("socket", False)),
            map=bool(value.get("map", False)),
            restart=bool(value.get("restart", True)),
            grace_s=float(value.get("grace_s", 10.0)),
            stage=int(value.get("stage", 1)),
            user=str(value.get("user", "")),
            stop_signal=str(value.get("stop_signal", "SIGTERM")),
            owns=str(value.get("owns", "")),
            leaves=str(value.get("leaves", "")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"This does not say how to start a process: {error!r}.") from None


@dataclass(frozen=True)
class Record:
    """A launch and the process that runs it (None while it waits for its next start)."""

    launch: Launch
    process: Identity | None


class Records:
    """The records in one run directory."""

    def __init__(self, run: Path) -> None:
        self._run = run

    def write(self, record: Record) -> None:
        """Replaces the node's record in one step. Raises `StorageFull` or `UsageError` when it cannot be saved."""
        body = {"launch": asdict(record.launch), "process": asdict(record.process) if record.process else None}
        atomic_write(self._run / f"{record.launch.node}.json", json.dumps(body, indent=1).encode())

    def remove(self, node: str) -> None:
        with contextlib.suppress(OSError):
            (self._run / f"{node}.json").unlink()

    def read_all(self) -> list[Record]:
        """All records that can be read, by node name; a damaged one is passed over, as its process cannot be known."""
        found = (self._read(path) for path in sorted(self._run.glob("*.json")))
        return [record for record in found if record is not None]

    def _read(self, path: Path) -> Record | None:
        try:
            body = json.loads(path.read_bytes())
            process = Identity(**body["process"]) if body["process"] else None
            return Record(launch_of(body["launch"]), process)
        except (OSError, ValueError, KeyError, TypeError, UsageError):
            return None
