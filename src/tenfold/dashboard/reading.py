"""What the page reads besides the picture: the ladder, logs, slow and failed requests, proofs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tenfold.control.place import Place
from tenfold.core.errors import NotFound
from tenfold.dashboard.gathering import Gathering
from tenfold.dashboard.redacting import Redactor
from tenfold.hosts.logs import tail
from tenfold.hosts.records import NODE_NAME
from tenfold.topology.map import Map
from tenfold.topology.steps import STEPS

LINES_MAX, LINE_MAX = 1000, 4000
SLOW_MAX, FAILED_MAX = 50, 100
PROOFS_MAX = 20
REPORT_MAX = 64 * 1024 * 1024

_PROOF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}")

Facts = dict[str, Any]


# The ladder


def steps_of(current: Map | None) -> list[Facts]:
    """The eleven steps as the ladder shows them. `state`: `taken`, `next` (what `climb` would bring), `later`, or
    `alone` (taken above a gap). Pure."""
    number = current.step if current else 0
    following = next((step.number for step in STEPS if step.exists and step.number > number), 0)

    def state(step_number: int, holds: bool) -> str:
        if step_number <= number:
            return "taken"
        if holds:
            return "alone"
        return "next" if step_number == following else "later"

    return [
        {
            "number": step.number,
            "slug": step.slug,
            "title": step.title,
            "promise": step.promise,
            "engines": step.engines,
            "exists": step.exists,
            "state": state(step.number, current is not None and step.holds(current)),
        }
        for step in STEPS
    ]


def history_of(moves: Iterable[Facts]) -> list[Facts]:
    """The moves that there were, newest first, with the milliseconds for which writes were held. Pure."""
    return [{**move, "held_ms": (move.get("facts") or {}).get("held_ms", 0.0)} for move in reversed(list(moves))]


# Logs


class Logs:
    """The logs of one deployment, without what is secret."""

    def __init__(self, place: Place, redactor: Redactor) -> None:
        self._place = place
        self._redactor = redactor

    async def last(self, node: str, lines: int) -> list[str]:
        """The last lines of a node's log, oldest first. Raises `NotFound` for a node without one."""
        path = self._place.logs / f"{node}.log"
        if not NODE_NAME.match(node) or not path.is_file():
            raise NotFound(f"There is no log of {node[:60]!r}.", hint="The picture names the nodes.")
        return await asyncio.to_thread(self._read, path, min(max(lines, 1), LINES_MAX))

    def _read(self, path: Path, lines: int) -> list[str]:
        # Cut short last: half of a secret would not be known as one.
        read = (line[: 2 * LINE_MAX].decode(errors="replace") for line in tail(path, lines))
        return [self._redactor.text(line)[:LINE_MAX] for line in read]


# Requests


async def requests_of(gathering: Gathering, nodes: Iterable[str]) -> Facts:
    """The slowest and the failed requests of all web servers; who does not answer is left out."""
    answers = await asyncio.gather(*(gathering.ask(node, "told") for node in nodes))
    return merged([answer for answer in answers if answer])


def merged(answers: Sequence[Facts]) -> Facts:
    """What several web servers told, as one list each: the slowest first, the newest failure first. Pure."""
    slow = sorted((each for answer in answers for each in answer.get("slow", ())), key=lambda each: -each["took_ms"])
    failed = sorted(
        (each for answer in answers for each in answer.get("failed", ())), key=lambda each: -each["ended_us"]
    )
    return {"slow": slow[:SLOW_MAX], "failed": failed[:FAILED_MAX]}


# Proofs


class Proofs:
    """What `tenfold prove` left behind."""

    def __init__(self, place: Place) -> None:
        self._folder = place.state / "proofs"

    async def all(self) -> list[Facts]:
        """The newest proofs first, each with its verdicts."""
        return await asyncio.to_thread(self._all)

    def _all(self) -> list[Facts]:
        found = sorted(self._folder.glob("*/verdicts.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        return [proof for path in found[:PROOFS_MAX] if (proof := _proof(path)) is not None]

    def report(self, name: str) -> Path:
        """The file of a proof's report. Raises `NotFound` when there is none of that name."""
        path = self._folder / name / "report.html"
        if not _PROOF.fullmatch(name) or not path.is_file() or path.stat().st_size > REPORT_MAX:
            raise NotFound("There is no such report.")
        return path


def _proof(path: Path) -> Facts | None:
    try:
        said = json.loads(path.read_bytes())
        verdicts = list(said["verdicts"])
        passed = all(verdict["verdict"] not in ("broken", "vacuous") for verdict in verdicts)
        at_us = path.stat().st_mtime_ns // 1000
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {"name": path.parent.name, "at_us": at_us, "verdicts": verdicts, "passed": passed}
