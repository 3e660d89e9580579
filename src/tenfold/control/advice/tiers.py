"""What several rules ask of a tier. Pure."""

from __future__ import annotations

from tenfold.control.advice.levels import FULL
from tenfold.control.advice.scene import Scene, Use

READING_CORES = 0.5
"""A web process on SQLite reads in its own thread: from so much of its core on the data is what fills it."""


def full(scene: Scene, role: str) -> Use | None:
    """The fullest node of a tier, if it is full."""
    uses = scene.uses(role)
    return uses[0] if uses and uses[0].share >= FULL else None


def average(uses: list[Use]) -> float:
    """The share of a tier: what its nodes use on average."""
    return sum(use.share for use in uses) / len(uses)


def reads_here(scene: Scene) -> bool:
    """Whether reading the SQLite file has half of a web process's core."""
    seconds = scene.reads * scene.took_ms(lambda window: window.reads) / 1000
    servers = max(1, len(scene.current.of_role("web")))
    return scene.current.database.backend == "sqlite" and seconds / servers >= READING_CORES
