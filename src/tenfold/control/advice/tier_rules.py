"""Rules about tiers that are full: database, web, workers, balancers. Pure."""

from __future__ import annotations

import math

from tenfold.control.advice.finding import Finding, Rule, climb, coming, percent, words
from tenfold.control.advice.levels import FULL, TARGET, TOLERANCE
from tenfold.control.advice.machine_rules import elsewhere
from tenfold.control.advice.model import Words
from tenfold.control.advice.pressures import FEW_JOBS, WAIT_S
from tenfold.control.advice.scene import Scene, Use
from tenfold.topology.pools import LEAST, carries
from tenfold.topology.steps import find_step
from tenfold.topology.wants import WEB_MAX, WORKERS_MAX

SLOW_READ_MS = 5.0
"""A read by an index takes well below a millisecond; half of them taking so long says that there is none, or that they
read very much."""
SLOW_WRITE_MS = 50.0
READING_CORES = 0.5
"""A web process on SQLite reads in its own thread: from so much of its core on the data is what fills it."""
MANY_READS = 0.85
"""From this share of reads on replicas and caches take most of the load off (GitLab's sizing: 85 to 95 %)."""
MOST_AT_ONCE = 4
"""Kubernetes' autoscaler doubles at most, or adds four."""


def slow_queries(scene: Scene) -> Finding | None:
    """The database is full of slow statements: an index is worth more than any machine."""
    took, tier = scene.took_ms(lambda window: window.reads), _full_of_data(scene)
    if not tier or took < SLOW_READ_MS:
        return None
    because = (words("queries.why"), *_cached(scene))
    return Finding("stay", words("queries.first", took=took, rate=scene.reads), because, tier=tier, resource="cpu")


def database(scene: Scene) -> Finding | None:
    """The database server is full, and its statements are quick: there are simply many."""
    use = _full(scene, "database")
    if use is None:
        return None
    reading = scene.reads >= MANY_READS * (scene.reads + scene.writes)
    slugs = ("database-replication", "cache-tier") if reading else ("sharding",)
    kind = "reads" if reading else "writes"
    values = {"used": use.used, "most": use.most, "reads": scene.reads, "writes": scene.writes}
    found = Finding("bigger-machine", words(f"database.{kind}", **values), _cached(scene), 0, "database", "cpu")
    for slug in slugs:
        step = climb(scene, slug, found)
        if step is not None:
            return step
    because = (*found.because, *elsewhere(scene), *coming(scene, *slugs))
    return Finding(found.verdict, found.words, because, 0, "database", "cpu")


def jobs_in_web(scene: Scene) -> Finding | None:
    """The web servers are full of jobs: workers take these, on every step."""
    use = _full(scene, "web")
    if use is None or scene.current.of_role("worker") or scene.jobs < max(1.0, scene.rate) or not scene.fits(use.most):
        return None
    said = words("web.jobs", node=use.node, part=percent(use.share), jobs=scene.jobs, rate=scene.rate)
    return Finding("scale", said, tier="web", resource="cpu", command="tenfold scale worker=1")


def one_writer(scene: Scene) -> Finding | None:
    """Writes wait for the one writer that a SQLite file has, and the disk is not what it waits for."""
    took = scene.took_ms(lambda window: window.writes)
    if (
        scene.current.database.backend != "sqlite"
        or took < SLOW_WRITE_MS
        or scene.writes < 1
        or scene.disk_busy >= FULL
    ):
        return None
    if _full(scene, "web") is not None and len(scene.current.of_role("web")) == 1:
        return None  # its core is what they wait for
    found = Finding("step", words("writer.full", took=took, rate=scene.writes), _server_price(scene), 0, "database")
    return climb(scene, "separate-database", found)


def reads_in_web(scene: Scene) -> Finding | None:
    """What fills the one web process is reading from the file: with a server it is done by other processes."""
    use = _full(scene, "web")
    if use is None or not _reads_here(scene) or not scene.fits(use.most):
        return None
    said = words("web.reads", node=use.node, part=percent(use.share), rate=scene.reads)
    found = Finding("step", said, _cached(scene), 0, "web", "cpu")
    return climb(scene, "separate-database", found)


def one_web(scene: Scene) -> Finding | None:
    """The one web process has its core full: from step 3 on there can be several."""
    use = _full(scene, "web")
    step = find_step("load-balancer")
    if use is None or step.holds(scene.current):
        return None
    if not scene.fits(use.most):
        return _no_room(scene, use, "web")
    said = words("web.full", node=use.node, part=percent(use.share), rate=scene.rate, step=step.number)
    because = (words("web.idle", idle=scene.idle, cores=scene.cores), *_server_price(scene))
    return climb(scene, "load-balancer", Finding("step", said, because, 0, "web", "cpu"))


def uneven_web(scene: Scene) -> Finding | None:
    """One web server is full, the others are not: the load is shared out badly, and more servers do not help."""
    use, uses = _full(scene, "web"), scene.uses("web")
    if use is None or len(uses) < 2 or _average(uses) >= FULL * (1 - TOLERANCE):
        return None
    said = words("web.uneven", node=use.node, part=percent(use.share), average=percent(_average(uses)))
    reason = words("web.strategy", strategy=scene.current.balancer.strategy)
    return Finding("stay", said, (reason,), tier="web", resource="cpu")


def many_web(scene: Scene) -> Finding | None:
    """All web servers are full: more of them, by the rule of Kubernetes' autoscaler."""
    use = _full(scene, "web")
    return None if use is None else _more(scene, use, "web", WEB_MAX)


def workers(scene: Scene) -> Finding | None:
    """The workers are full."""
    use = _full(scene, "worker")
    return None if use is None else _more(scene, use, "worker", WORKERS_MAX)


def waiting_jobs(scene: Scene) -> Finding | None:
    """Jobs wait for more than a minute, and who runs them is not full: more of them run at once."""
    most = max(FEW_JOBS, scene.jobs * WAIT_S)
    there = len(scene.current.of_role("worker"))
    if scene.waiting < most or there >= WORKERS_MAX or not scene.fits(1.0):
        return None
    wanted = min(there + max(1, min(there, MOST_AT_ONCE)), WORKERS_MAX)
    said = words("jobs.wait", waiting=round(scene.waiting), jobs=scene.jobs, workers=there)
    because = _pool(scene, "worker", wanted)
    return Finding("scale", said, because, 0, "worker", "jobs", f"tenfold scale worker={wanted}")


def other_tier(scene: Scene) -> Finding | None:
    """A tier is full that cannot have more processes: it needs a bigger machine."""
    for role in sorted({node.role for node in scene.current.nodes} - {"web", "worker"}):
        use = _full(scene, role)
        if use is not None:
            said = words("tier.full", node=use.node, used=use.used, most=use.most)
            return Finding("bigger-machine", said, (), 0, role, "cpu")
    return None


# What they share


def _full(scene: Scene, role: str) -> Use | None:
    """The fullest node of a tier, if it is full."""
    uses = scene.uses(role)
    return uses[0] if uses and uses[0].share >= FULL else None


def _average(uses: list[Use]) -> float:
    return sum(use.share for use in uses) / len(uses)


def _reads_here(scene: Scene) -> bool:
    """Whether reading the file has half of a web process's core."""
    seconds = scene.reads * scene.took_ms(lambda window: window.reads) / 1000
    servers = max(1, len(scene.current.of_role("web")))
    return scene.current.database.backend == "sqlite" and seconds / servers >= READING_CORES


def _full_of_data(scene: Scene) -> str:
    """The tier that is full of work for the database; empty when none is."""
    if _full(scene, "database") is not None:
        return "database"
    return "web" if _full(scene, "web") is not None and _reads_here(scene) else ""


def _more(scene: Scene, use: Use, role: str, most: int) -> Finding | None:
    """More processes of a tier: ceil(n * share / target), at most twice as many or four more, as many as find cores."""
    there = len(scene.current.of_role(role))
    wanted = math.ceil(there * _average(scene.uses(role)) / TARGET)
    wanted = min(
        wanted, max(2 * there, there + MOST_AT_ONCE), most, there + max(1, int(scene.idle / (use.most * TARGET)))
    )
    if wanted <= there:
        return None
    if not scene.fits(use.most):
        return _no_room(scene, use, role)
    said = words(
        f"{role}.more", part=percent(_average(scene.uses(role))), there=there, wanted=wanted, rate=_done(scene, role)
    )
    because = (words("web.idle", idle=scene.idle, cores=scene.cores), *_pool(scene, role, wanted))
    return Finding("scale", said, because, 0, role, "cpu", f"tenfold scale {role}={wanted}")


def _done(scene: Scene, role: str) -> float:
    return scene.rate if role == "web" else scene.jobs


def _no_room(scene: Scene, use: Use, role: str) -> Finding:
    """A tier is full, and no core is idle enough for another process of it."""
    values = {"idle": scene.idle, "cores": scene.cores, "own": scene.ours, "others": scene.others}
    said = words("tier.no_room", node=use.node, part=percent(use.share), idle=scene.idle, cores=scene.cores)
    return Finding("bigger-machine", said, (words("machine.parts", busy=scene.busy, **values),), 0, role, "cpu")


def _pool(scene: Scene, role: str, wanted: int) -> tuple[Words, ...]:
    """Connections that must be there first: every process needs its share of `database.pool`."""
    server = scene.current.database.server
    others = sum(node.role in ("web", "worker") and node.role != role for node in scene.current.nodes)
    if server is None or wanted + others <= carries(server.pool):
        return ()
    return (words("pool.first", pool=server.pool, needed=LEAST * (wanted + others)),)


def _server_price(scene: Scene) -> tuple[Words, ...]:
    """What a database server costs each statement, told before it is taken."""
    return () if find_step("separate-database").holds(scene.current) else (words("database.price"),)


def _cached(scene: Scene) -> tuple[Words, ...]:
    """How much of the reading the caches keep off the database."""
    hits = scene.cache_hits
    return (words("cache.none"),) if hits is None else (words("cache.hits", part=percent(hits)),)


TIER_RULES = (
    Rule(
        "slow-queries",
        "the database server is full, or the web process with reading its SQLite file, and half of the reads take 5 ms",
        "stay; an index or a cache first",
        "GitLab's sizing: find what the load is before anything is scaled",
        slow_queries,
    ),
    Rule(
        "database",
        "the database server is full, and reads are quick",
        "step 4 or 5 when 85 % are reads, else step 11, as far as they exist; else a bigger machine",
        "GitLab's sizing: replicas for 85 to 95 % reads; writes need a bigger machine",
        database,
    ),
)
"""Asked before the machine: what the database suffers from is not cured by anything before it."""

SCALING_RULES = (
    Rule(
        "jobs-in-web",
        "a web server is full, there is no worker, and there are at least as many jobs as requests",
        "`scale worker=1`",
        "web and jobs are scaled apart; this takes no step",
        jobs_in_web,
    ),
    Rule(
        "one-writer",
        "data in SQLite, half of the writes take 50 ms or more, and neither disk nor core is what they wait for",
        "step 2",
        "SQLite has one writer at a time; a server has many",
        one_writer,
    ),
    Rule(
        "reads-in-web",
        "the web process is full, and half of its core reads the SQLite file",
        "step 2",
        "a database server reads in processes of its own",
        reads_in_web,
    ),
    Rule(
        "one-web",
        "the one web process has 85 % of its core busy, and half a core is idle (else: a bigger machine)",
        "step 3",
        "one event loop is one core",
        one_web,
    ),
    Rule(
        "uneven-web",
        "one web server is full, and all together are below 76 %",
        "stay; another strategy or other weights",
        "HPA scales on the average; its tolerance of 10 %",
        uneven_web,
    ),
    Rule(
        "many-web",
        "the web servers are full, and half a core is idle (else: a bigger machine)",
        "`scale web=N`, N = ceil(n * share / 0.65), at most twice as many or 4 more",
        "HPA: ceil(n * current / target); GitLab's 1.25 to 1.5 times",
        many_web,
    ),
    Rule(
        "workers",
        "the workers are full, and half a core is idle (else: a bigger machine)",
        "`scale worker=N`, by the same rule",
        "HPA",
        workers,
    ),
    Rule(
        "waiting-jobs",
        "more jobs are due than are done in a minute, and who runs them is not full",
        "`scale worker=N`, at most twice as many or 4 more",
        "HPA; queues are scaled by their age, not by processors",
        waiting_jobs,
    ),
    Rule(
        "other-tier",
        "any other tier is full (balancers, and what later steps bring)",
        "a bigger machine",
        "GitLab's sizing: vertical scaling",
        other_tier,
    ),
)
