"""How full everything is: one pressure for each resource of each tier. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tenfold.control.advice.levels import FULL
from tenfold.control.advice.model import Pressure
from tenfold.control.advice.scene import Scene

GIB = 1024**3

LATE_MS = 100.0
"""An event loop that is usually so late is stopped by something: a person notices it (Nielsen's tenth of a second)."""
ERRORS_MOST = 0.01
"""The share of failed requests that is looked into before anything else."""
WAIT_S = 60.0
"""Jobs wait too long when those that are due are more than what is done in so many seconds."""
FEW_JOBS = 10
"""So many may always wait."""
LEAST_RATE = 1.0
"""With fewer requests or jobs a second nothing can be said of how much more fits."""


def pressures_of(scene: Scene) -> tuple[Pressure, ...]:
    """All of them, the fullest first."""
    found = [*_processors(scene), *_space(scene), *_database(scene), *_work(scene)]
    return tuple(sorted(found, key=lambda pressure: -pressure.share))


def first_of(pressures: tuple[Pressure, ...]) -> Pressure | None:
    """What saturates first when the load grows: the fullest of what grows with it."""
    return next((pressure for pressure in pressures if pressure.room is not None), None)


def _grows(scene: Scene, pressure: Pressure) -> Pressure:
    """A pressure that grows with the load. Its room keeps the headroom."""
    share = round(pressure.share, 4)
    room = round(FULL / share, 2) if share > 0 and max(scene.rate, scene.jobs) >= LEAST_RATE else None
    return msgspec.structs.replace(pressure, used=round(pressure.used, 3), share=share, room=room)


def _processors(scene: Scene) -> Iterator[Pressure]:
    roles = sorted({node.role for node in scene.current.nodes} | {"database"})
    for role in roles:
        uses = scene.uses(role)
        if uses:
            use = uses[0]
            yield _grows(scene, Pressure(role, "cpu", use.used, use.most, "cores", use.share))
    yield _grows(scene, Pressure("machine", "cpu", scene.busy, scene.cores, "cores", scene.busy / scene.cores))


def _space(scene: Scene) -> Iterator[Pressure]:
    """What does not follow the load: memory that is kept, and data that stays."""
    machine = scene.machine.machine
    for resource, most, free in (
        ("memory", machine.memory, machine.memory_free),
        ("disk", machine.disk, machine.disk_free),
    ):
        if most:
            yield Pressure("machine", resource, most - free, most, "bytes", round((most - free) / most, 4))


def _database(scene: Scene) -> Iterator[Pressure]:
    if any(window.machine.disk_busy is not None for window in scene.windows):
        # No room is told: a disk that does several things at once has some left at 100 % (iostat(1), `%util`).
        yield Pressure("machine", "disk_time", round(scene.disk_busy, 3), 1.0, "share", round(scene.disk_busy, 4))
    for role in ("web", "worker"):
        pool = scene.usual_of(role, lambda node: node.pool)
        busy = scene.usual_of(role, lambda node: node.pool_busy)
        if pool:
            yield _grows(scene, Pressure(role, "connections", busy, pool, "connections", min(1.0, busy / pool)))


def _work(scene: Scene) -> Iterator[Pressure]:
    late = scene.usual_of("web", lambda node: node.loop_late_ms)
    yield Pressure("web", "loop", round(late, 1), LATE_MS, "ms", round(late / LATE_MS, 4))
    if scene.rate >= LEAST_RATE:
        yield Pressure(
            "web", "errors", round(scene.errors, 4), ERRORS_MOST, "share", round(scene.errors / ERRORS_MOST, 4)
        )
    if scene.waiting:
        most = max(FEW_JOBS, scene.jobs * WAIT_S)
        tier = "worker" if scene.current.of_role("worker") else "web"
        yield Pressure(tier, "jobs", scene.waiting, round(most), "jobs", round(scene.waiting / most, 4))
