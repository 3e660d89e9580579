"""Moves without a database, over the real keeper, controller and mover; and their processes die where a test wants it.

Run as a script it is the mover (`mover`) or the controller (`controller`) with these moves in its registry. What
happens is told by files in the folder of the service: `wait-at-STAGE` (the stage waits until the file is gone),
`fail-at-STAGE` (it fails), and `die.json` (`{"at": n, "when": "before" | "after", "victim": NODE}`: at the n-th line of
the journal of the moves since the mover started, that process is killed).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from tenfold.control import moving
from tenfold.control.deployment import Deployment, Running, controller_launch
from tenfold.control.place import Place
from tenfold.core.errors import TenfoldError
from tenfold.core.journal import Journal
from tenfold.hosts.client import KeeperStart, start_keeper
from tenfold.hosts.logs import Rotation
from tenfold.moves import registry
from tenfold.moves.base import Move, Progress, Stage
from tenfold.moves.context import Context
from tenfold.topology.map import Map

HERE = Path(__file__).resolve()
STAGES = ("mark", "hold", "decide", "flip")
LINES = 2 + 2 * len(STAGES)
"""Lines in the journal of a move that nothing disturbs."""


async def build(context: Context) -> Move:
    """Leaves files behind, closes the gate of the map and opens it again."""
    if (context.root / "no-begin").exists():
        raise TenfoldError("The fake does not begin.", hint="Remove no-begin.")

    def stage(name: str, do: Any, check: Any, undo: Any, *, holds: bool = False) -> Stage:
        async def doing(progress: Progress) -> None:
            await waits(context.root / f"wait-at-{name}", progress)
            if (context.root / f"fail-at-{name}").exists():
                raise TenfoldError(f"The fake fails at {name}.")
            await do()
            progress.fact(name, True)

        async def undoing(_progress: Progress) -> None:
            await undo()

        return Stage(name, f"Does {name}.", doing, check, undoing, holds_writes=holds)

    async def waits(file: Path, progress: Progress) -> None:
        number = 0
        while file.exists():
            number += 1
            progress.say("waiting for the test", done=number, total=1000, unit="rows")
            await asyncio.sleep(0.02)

    def gate(state: str, **more: Any) -> Any:
        def change(current: Map) -> Map:
            return msgspec.structs.replace(
                current, database=msgspec.structs.replace(current.database, gate=state, **more)
            )

        async def publish() -> None:
            result = await context.publish(change)
            assert result.complete, result

        return publish

    async def has_gate(state: str) -> bool:
        return context.current().database.gate == state

    def touch(name: str, there: bool) -> Any:
        async def act() -> None:
            (context.root / name).touch() if there else (context.root / name).unlink(missing_ok=True)

        return act

    def exists(name: str) -> Any:
        async def look() -> bool:
            return (context.root / name).exists()

        return look

    async def is_held() -> bool:
        return await has_gate("held")

    async def is_flipped() -> bool:
        return await has_gate("open") and context.current().database.way_back

    return Move(
        "copy_to_postgres",
        "Leave two files",
        (
            stage("mark", touch("marked", True), exists("marked"), touch("marked", False)),
            stage("hold", gate("held"), is_held, gate("open"), holds=True),
            stage("decide", touch("decided", True), exists("decided"), touch("decided", False), holds=True),
            stage("flip", gate("open", way_back=True), is_flipped, gate("open"), holds=True),
        ),
        "decide",
        {"rows": 7, "bytes": 4096, "expected_hold_ms": 5},
    )


class Faked:
    """A deployment whose moves are these."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.place = Place(root)

    def up(self) -> Running:
        deployment = Deployment(self.place)
        if not deployment.keeper.runs():
            self.place.prepare()
            launch = controller_launch(self.place)
            argv = (sys.executable, str(HERE), "controller", *launch.argv[launch.argv.index("--root") :])
            first = replace(launch, argv=argv)
            start_keeper(KeeperStart(self.place.state, "127.0.0.1", 0, Rotation(), (first,)))
        return deployment.bring_up(60.0)

    def tell(self, name: str) -> Path:
        file = self.root / name
        file.touch()
        return file

    def die(self, at: int, when: str, victim: str) -> Path:
        file = self.root / "die.json"
        file.write_text(json.dumps({"at": at, "when": when, "victim": victim}))
        return file

    def left(self) -> set[str]:
        """What of a move is there."""
        found = {name for name in ("marked", "decided") if (self.root / name).exists()}
        current = self.place.read_map()
        assert current is not None
        found |= {"held"} if current.database.gate == "held" else set()
        return found | ({"flipped"} if current.database.way_back else set())

    def clean(self) -> None:
        """As before any move."""
        for name in ("marked", "decided", *(f"{what}-at-{stage}" for what in ("wait", "fail") for stage in STAGES)):
            (self.root / name).unlink(missing_ok=True)

        def back(current: Map) -> Map:
            return msgspec.structs.replace(
                current, database=msgspec.structs.replace(current.database, way_back=False, gate="open")
            )

        self.place.change_map(back)


def die_as_told(root: Path) -> None:
    """Makes the journal of the moves kill somebody at a line."""
    told = root / "die.json"
    written = Journal._append
    lines: list[str] = []

    def append(self: Journal, kind: str, *args: Any, **named: Any) -> Any:
        lines.append(kind)
        plan = json.loads(told.read_text()) if told.exists() else {"at": 0, "when": "", "victim": ""}
        now = len(lines) == plan["at"]
        if now and plan["when"] == "before":
            strike(plan["victim"])
        record = written(self, kind, *args, **named)
        if now and plan["when"] == "after":
            strike(plan["victim"])
        return record

    def strike(victim: str) -> None:
        told.unlink()
        if victim == "mover":
            os._exit(9)
        record = json.loads((root / ".tenfold" / "run" / f"{victim}.json").read_text())
        os.kill(record["process"]["pid"], signal.SIGKILL)

    Journal._append = append  # type: ignore[method-assign]


def main(argv: list[str]) -> int:
    """The mover or the controller."""
    which, words = argv[0], argv[1:]
    if which == "mover":
        from tenfold.control import mover  # noqa: PLC0415

        die_as_told(Path(words[words.index("--root") + 1]))
        return mover.main(words)
    from tenfold.control import controller  # noqa: PLC0415

    moving.mover_command = lambda: (sys.executable, str(HERE), "mover")
    return controller.main(words)


if __name__ == "__main__":
    sys.modules["fake_moves"] = sys.modules["__main__"]
    registry.BUILDERS["copy_to_postgres"] = "fake_moves:build"
    sys.exit(main(sys.argv[1:]))
