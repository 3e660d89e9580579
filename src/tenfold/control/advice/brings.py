"""What a step would bring to this deployment, by its figures: also that it would bring nothing now. Pure.

What a statement or a request then costs is measured by the benches (docs/benchmarks.md): a point read through the
PostgreSQL driver, and a request through a balancer on the same machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tenfold.control.advice.data_rules import SLOW_WRITE_MS
from tenfold.control.advice.finding import Value, percent, words
from tenfold.control.advice.levels import FULL, LEAST_S, TARGET
from tenfold.control.advice.model import Words
from tenfold.control.advice.pressures import LEAST_RATE
from tenfold.control.advice.scene import Scene, Use, scene_of
from tenfold.control.advice.tiers import full
from tenfold.control.figures.model import Figures
from tenfold.topology.map import Map
from tenfold.topology.steps import Step, find_step

ASK_MS = 0.033
"""What asking a database server for one row costs the process that asks, in milliseconds of its core."""
ROUND_TRIP_MS = 0.05
"""How much longer a read takes on a server of the same machine."""
PASS_MS = 0.05
"""How much longer a request takes through a balancer, at most."""
WORTH = 0.10
"""From this share of a core on it is worth being freed."""
SEEN = 0.05
"""With a smaller share of its core in use nobody can tell what a web server carries."""
LEAST_MS = 0.01
"""Shorter times are not told."""
_MB = 1e6


def brings(step: Step, current: Map, history: Sequence[Figures], *, data_bytes: int = 0) -> tuple[Words, ...]:
    """What `step` would bring here, the heaviest sentence first; none for a step that the map has or that does not
    exist yet.

    `history` as for `advise`. `data_bytes`: the size of the database's file, 0 where nobody knows it. The same values
    give the same sentences.
    """
    says = _STEPS.get(step.slug)
    if says is None or step.holds(current) or not step.exists:
        return ()
    return says(scene_of(current, history), data_bytes)


def _known(scene: Scene) -> bool:
    return scene.seconds >= LEAST_S and not scene.moving


# A database server


def _database(scene: Scene, data_bytes: int) -> tuple[Words, ...]:
    size = (words("brings.data.size", size=max(data_bytes / _MB, LEAST_MS)),) if data_bytes else ()
    if not _known(scene):
        return (words("brings.unknown"), *size)
    if max(scene.reads, scene.writes) < LEAST_RATE:
        return (words("brings.data.idle"), *size)
    return (*_reading(scene), *_writing(scene), *size)


def _reading(scene: Scene) -> tuple[Words, ...]:
    """What leaves the web process, what that frees of its core, and what a read costs then."""
    took = scene.took_ms(lambda window: window.reads)
    servers = max(1, len(scene.current.of_role("web")))
    now, asking = (min(1.0, scene.reads * each / 1000 / servers) for each in (took, ASK_MS))
    leaves = _leaving(scene, percent(now), percent(asking))
    price = words("brings.data.price", more=ROUND_TRIP_MS, took=max(took, LEAST_MS))
    if now - asking >= WORTH:
        return words("brings.data.frees", part=percent(now - asking)), leaves, price
    if _waits_for_the_writer(scene):
        return leaves, price
    return words("brings.data.nothing", step=find_step("load-balancer").number), leaves, price


def _leaving(scene: Scene, part: int, asking: int) -> Words:
    if not part and not asking:
        return words("brings.data.leaves_little", reads=scene.reads, writes=scene.writes)
    return words("brings.data.leaves", reads=scene.reads, writes=scene.writes, part=part, ask=asking)


def _writing(scene: Scene) -> tuple[Words, ...]:
    if scene.writes < LEAST_RATE:
        return ()
    took = max(scene.took_ms(lambda window: window.writes), LEAST_MS)
    if _waits_for_the_writer(scene):
        return (words("brings.data.waits", took=took),)
    if took >= SLOW_WRITE_MS:
        return (words("brings.data.elsewhere", took=took),)
    return (words("brings.data.keeps_up", took=took),)


def _waits_for_the_writer(scene: Scene) -> bool:
    """Whether the one writer of a file is too slow, and no full disk or core is what it waits for."""
    took = scene.took_ms(lambda window: window.writes)
    room = scene.disk_busy < FULL and scene.busy < FULL * scene.cores and full(scene, "web") is None
    return scene.writes >= LEAST_RATE and took >= SLOW_WRITE_MS and room


# Several web servers


def _balancer(scene: Scene, _data_bytes: int) -> tuple[Words, ...]:
    dies = words("brings.web.dies")
    uses = scene.uses("web")
    if not _known(scene) or not uses:
        return words("brings.unknown"), dies
    if scene.rate < LEAST_RATE:
        return words("brings.web.idle"), dies
    use, cores = uses[0], _cores(scene, uses[0])
    servers = max(1, int(cores / (use.most * TARGET)))
    verdict = _verdict(scene, use, servers)
    price = words("brings.web.price", more=PASS_MS)
    return (verdict, _core(scene, use), *_room(scene, use, servers, cores), *_server(scene), dies, price)


def _cores(scene: Scene, use: Use) -> float:
    """The cores that web servers can have on this machine: those of the one that runs and the idle ones, less what the
    database server beside them then needs."""
    databases = scene.uses("database")
    beside = databases[0].used / use.used if databases and use.share >= SEEN else 0.0
    free = scene.idle if use.most >= 1 else scene.cores - scene.ours
    return use.used + max(0.0, free) / (1 + beside)


def _verdict(scene: Scene, use: Use, servers: int) -> Words:
    if servers < 2:
        return words("brings.web.no_room", idle=scene.idle, cores=scene.cores)
    if use.share >= FULL:
        return words("brings.web.needed", node=use.node)
    return words("brings.web.nothing")


def _core(scene: Scene, use: Use) -> Words:
    values: dict[str, Value] = {"node": use.node, "part": percent(use.share), "rate": scene.rate}
    return words("brings.web.core", **values) if use.most >= 1 else words("brings.web.cap", most=use.most, **values)


def _room(scene: Scene, use: Use, servers: int, cores: float) -> tuple[Words, ...]:
    """How many there can be on this machine, and what they carry."""
    if servers < 2:
        return ()
    there = words("brings.web.servers", idle=scene.idle, cores=scene.cores, servers=servers)
    if use.share < SEEN:
        return (there,)
    one = scene.rate * FULL / use.share
    together = scene.rate * FULL * min(servers * use.most, cores) / use.used
    return there, words("brings.web.carries", one=round(one), servers=servers, all=round(together))


def _server(scene: Scene) -> tuple[Words, ...]:
    """The climb brings the database server too, where there is none yet."""
    return () if find_step("separate-database").holds(scene.current) else (words("database.price"),)


_STEPS: Mapping[str, Callable[[Scene, int], tuple[Words, ...]]] = {
    "separate-database": _database,
    "load-balancer": _balancer,
}
