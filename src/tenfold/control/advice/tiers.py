"""What several rules ask of a tier. Pure."""

from __future__ import annotations

from tenfold.control.advice.levels import FULL
from tenfold.control.advice.pressures import ERRORS_MOST, LATE_MS
from tenfold.control.advice.scene import Scene, Use

SLOW_MS = 1000.0
"""One in a hundred waits a second or more: it interrupts a person's thought (Nielsen)."""
READING_CORES = 0.5
"""A web process on SQLite reads in its own thread: from so much of its core on the data is what fills it."""


def full(scene: Scene, role: str) -> Use | None:
    """The fullest node of a tier, if it is full."""
    uses = scene.uses(role)
    return uses[0] if uses and uses[0].share >= FULL else None


def average(uses: list[Use]) -> float:
    """The share of a tier: what its nodes use on average."""
    return sum(use.share for use in uses) / len(uses)


def suffers(scene: Scene) -> bool:
    """Whether users or processes notice that something is short: slow or failed answers, a full tier, a late loop."""
    slow = scene.took_ms(lambda window: window.public, "p99_ms") >= SLOW_MS
    late = scene.usual_of("web", lambda node: node.loop_late_ms) >= LATE_MS
    return slow or late or scene.errors >= ERRORS_MOST or any(full(scene, role) for role in ("web", "worker"))


def reads_here(scene: Scene) -> bool:
    """Whether reading the SQLite file has half of a web process's core."""
    seconds = scene.reads * scene.took_ms(lambda window: window.reads) / 1000
    servers = max(1, len(scene.current.of_role("web")))
    return scene.current.database.backend == "sqlite" and seconds / servers >= READING_CORES
