"""Rules about what all tiers share: the disk, the memory and the processors of the machine. Pure."""

from __future__ import annotations

from tenfold.control.advice.finding import Finding, Rule, percent, words
from tenfold.control.advice.levels import FULL
from tenfold.control.advice.model import Words
from tenfold.control.advice.pressures import GIB
from tenfold.control.advice.scene import Scene
from tenfold.control.advice.tiers import reads_here, suffers
from tenfold.topology.steps import find_step

LEFT = 0.10
LEFT_BYTES = 2 * GIB
"""Memory or a disk is as good as full when less than a tenth is free, and less than this."""
SLOW_COMMIT_MS = 20.0
"""A disk of today confirms a write in a few milliseconds; one that is the bottleneck takes longer."""


def disk_space(scene: Scene) -> Finding | None:
    """The disk of the data is nearly full: everything stops when it is."""
    machine = scene.machine.machine
    if not machine.disk or machine.disk_free >= min(LEFT * machine.disk, LEFT_BYTES):
        return None
    said = words("disk.space", free=machine.disk_free / GIB, part=percent(machine.disk_free / machine.disk))
    return Finding("bigger-machine", said, (words("disk.stops"),), tier="machine", resource="disk")


def memory(scene: Scene) -> Finding | None:
    """The machine has hardly any memory left."""
    machine = scene.machine.machine
    used = machine.memory - machine.memory_free
    if not machine.memory or machine.memory_free >= min(LEFT * machine.memory, LEFT_BYTES):
        return None
    own = sum(node.memory for node in scene.machine.nodes)
    said = words("memory.full", part=percent(used / machine.memory), most=machine.memory / GIB)
    reason = words("memory.own", own=own / GIB) if own * 2 >= used else words("memory.others", own=own / GIB)
    return Finding("bigger-machine", said, (reason,), tier="machine", resource="memory")


def processors(scene: Scene) -> Finding | None:
    """All cores work: more processes on them would only take turns."""
    if scene.busy < FULL * scene.cores or _capped(scene):
        return None
    values = {"busy": scene.busy, "cores": scene.cores, "own": scene.ours, "others": scene.others}
    if scene.others > scene.ours:
        if not suffers(scene):
            return Finding("stay", words("machine.calm", **values), tier="machine", resource="cpu")
        return Finding("bigger-machine", words("machine.others", **values), tier="machine", resource="cpu")
    because = (words("machine.parts", **values), *_elsewhere(scene), *more_cores(scene))
    return Finding("bigger-machine", words("machine.full", **values), because, tier="machine", resource="cpu")


def disk_time(scene: Scene) -> Finding | None:
    """The disk works all the time, and writes wait for it."""
    took = scene.took_ms(lambda window: window.writes)
    if scene.disk_busy < FULL or took < SLOW_COMMIT_MS:
        return None
    said = words("disk.busy", part=percent(scene.disk_busy), took=took, rate=scene.writes)
    return Finding("bigger-machine", said, tier="machine", resource="disk_time")


def _elsewhere(scene: Scene) -> tuple[Words, ...]:
    """A file whose reading takes a good part of the machine can become a server on another one."""
    step = find_step("separate-database")
    return (words("database.elsewhere", step=step.number),) if reads_here(scene) else ()


def more_cores(scene: Scene) -> tuple[Words, ...]:
    """One web process uses one core, however many the machine has."""
    step = find_step("load-balancer")
    uses = scene.uses("web")
    if step.holds(scene.current) or not uses or uses[0].share < FULL:
        return ()
    return (words("web.one_core", step=step.number),)


def _capped(scene: Scene) -> bool:
    """Whether a tier is full by a cap of its own, so that another process of it would do more than take turns."""
    uses = [use for role in ("web", "worker") for use in scene.uses(role)[:1]]
    return any(use.share >= FULL and use.most < 1 and scene.fits(use.most) for use in uses)


MACHINE_RULES = (
    Rule(
        "disk-space",
        "less than 10 % and less than 2 GiB of the disk of the data are free",
        "a bigger disk, or less on it",
        "a database stops when its disk is full",
        disk_space,
    ),
    Rule(
        "memory",
        "less than 10 % and less than 2 GiB of the machine's memory are free",
        "more memory, or another machine for who takes it",
        "GitLab's sizing: 10 to 15 % of headroom",
        memory,
    ),
)
"""What stops everything: asked first."""

PROCESSOR_RULE = Rule(
    "machine",
    "85 % of the machine's cores are busy, and no tier is full by a smaller cap of its own",
    "a bigger machine; if others use most of it: one for them, or stay while the service does not suffer",
    "more processes do not make cores; vertical scaling comes first (GitLab's sizing)",
    processors,
)

DISK_RULE = Rule(
    "disk-time",
    "the disk works 85 % of the time, and half of the writes take 20 ms or more",
    "a faster disk",
    "replicas and more processes do not take writes off a disk (GitLab's sizing, database scaling)",
    disk_time,
)
