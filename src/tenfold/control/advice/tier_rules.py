"""Rules about tiers of processes that are full: web, workers, balancers. Pure."""

from __future__ import annotations

import math

from tenfold.control.advice.finding import Finding, Rule, Value, climb, percent, words
from tenfold.control.advice.levels import FULL, TARGET, TOLERANCE
from tenfold.control.advice.machine_rules import more_cores
from tenfold.control.advice.model import Words
from tenfold.control.advice.pressures import FEW_JOBS, WAIT_S
from tenfold.control.advice.scene import Scene, Use
from tenfold.control.advice.tiers import average, full
from tenfold.topology.pools import LEAST, carries
from tenfold.topology.steps import find_step
from tenfold.topology.wants import WEB_MAX, WORKERS_MAX

MOST_AT_ONCE = 4
"""Kubernetes' autoscaler doubles at most, or adds four."""


def jobs_in_web(scene: Scene) -> Finding | None:
    """The web servers are full of jobs: workers take these, on every step."""
    use = full(scene, "web")
    if use is None or scene.current.of_role("worker") or scene.jobs < max(1.0, scene.rate) or not scene.fits(use.most):
        return None
    said = words("web.jobs", node=use.node, part=percent(use.share), jobs=scene.jobs, rate=scene.rate)
    return Finding("scale", said, tier="web", resource="cpu", command="tenfold scale worker=1")


def one_web(scene: Scene) -> Finding | None:
    """The one web process has its core full: from step 3 on there can be several."""
    use = full(scene, "web")
    step = find_step("load-balancer")
    if use is None or step.holds(scene.current):
        return None
    if not scene.fits(use.most):
        return _no_room(scene, use, "web")
    values: dict[str, Value] = {
        "node": use.node, "part": percent(use.share), "rate": scene.rate, "step": step.number
    }  # fmt: skip
    said = words("web.full", **values) if use.most >= 1 else words("web.full_cap", most=use.most, **values)
    because = (*_idle(scene, use), *_price(scene))
    return climb(scene, "load-balancer", Finding("step", said, because, 0, "web", "cpu"))


def uneven_web(scene: Scene) -> Finding | None:
    """One web server is full, the others are not: the load is shared out badly, and more servers do not help."""
    use, uses = full(scene, "web"), scene.uses("web")
    if use is None or len(uses) < 2 or average(uses) >= FULL * (1 - TOLERANCE):
        return None
    said = words("web.uneven", node=use.node, part=percent(use.share), average=percent(average(uses)))
    reason = words("web.strategy", strategy=scene.current.balancer.strategy)
    return Finding("stay", said, (reason,), tier="web", resource="cpu")


def many_web(scene: Scene) -> Finding | None:
    """All web servers are full: more of them, by the rule of Kubernetes' autoscaler."""
    use = full(scene, "web")
    return None if use is None else _more(scene, use, "web", WEB_MAX)


def workers(scene: Scene) -> Finding | None:
    """The workers are full."""
    use = full(scene, "worker")
    return None if use is None else _more(scene, use, "worker", WORKERS_MAX)


def waiting_jobs(scene: Scene) -> Finding | None:
    """Jobs wait for more than a minute, and who runs them is not full: more of them run at once."""
    most = max(FEW_JOBS, scene.jobs * WAIT_S)
    there = len(scene.current.of_role("worker"))
    if scene.waiting < most or scene.waiting_falls or there >= WORKERS_MAX or not scene.fits(1.0):
        return None
    wanted = min(there + max(1, min(there, MOST_AT_ONCE)), WORKERS_MAX)
    said = words("jobs.wait", waiting=round(scene.waiting), jobs=scene.jobs, workers=there)
    because = _pool(scene, "worker", wanted)
    tier = "worker" if there else "web"
    return Finding("scale", said, because, 0, tier, "jobs", f"tenfold scale worker={wanted}")


def other_tier(scene: Scene) -> Finding | None:
    """A tier is full that cannot have more processes: it needs a bigger machine."""
    for role in sorted({node.role for node in scene.current.nodes} - {"web", "worker"}):
        use = full(scene, role)
        if use is not None:
            said = words("tier.full", node=use.node, used=use.used, most=use.most)
            return Finding("bigger-machine", said, (), 0, role, "cpu")
    return None


# What they share


def _more(scene: Scene, use: Use, role: str, most: int) -> Finding | None:
    """More processes of a tier: ceil(n * share / target), at most twice as many or four more, as many as find cores."""
    there = len(scene.current.of_role(role))
    wanted = math.ceil(there * average(scene.uses(role)) / TARGET)
    wanted = min(wanted, max(2 * there, there + MOST_AT_ONCE), most, there + _found(scene, use))
    if there >= most:
        return Finding("bigger-machine", words("tier.most", most=most, node=use.node), (), 0, role, "cpu")
    if not scene.fits(use.most):
        return _no_room(scene, use, role)
    said = words(
        f"{role}.more", part=percent(average(scene.uses(role))), there=there, wanted=wanted, rate=_done(scene, role)
    )
    because = (*_idle(scene, use), *_pool(scene, role, wanted))
    return Finding("scale", said, because, 0, role, "cpu", f"tenfold scale {role}={wanted}")


def _found(scene: Scene, use: Use) -> int:
    """How many more processes find cores; one at least is tried."""
    free = scene.idle if use.most >= 1 else scene.cores - scene.ours
    return max(1, int(free / (use.most * TARGET)))


def _done(scene: Scene, role: str) -> float:
    return scene.rate if role == "web" else scene.jobs


def _no_room(scene: Scene, use: Use, role: str) -> Finding:
    """A tier is full, and no core is idle enough for another process of it."""
    values = {"cores": scene.cores, "own": scene.ours, "others": scene.others}
    said = words("tier.no_room", node=use.node, part=percent(use.share), idle=scene.idle, cores=scene.cores)
    return Finding("bigger-machine", said, (words("machine.parts", **values), *more_cores(scene)), 0, role, "cpu")


def _idle(scene: Scene, use: Use) -> tuple[Words, ...]:
    """Where the cores for more processes are; one with a cap has its own."""
    if use.most < 1:
        return (words("web.cap", node=use.node, most=use.most),)
    return (words("web.idle", idle=scene.idle, cores=scene.cores),)


def _price(scene: Scene) -> tuple[Words, ...]:
    """What a database server costs each statement, told before it is taken."""
    return () if find_step("separate-database").holds(scene.current) else (words("database.price"),)


def _pool(scene: Scene, role: str, wanted: int) -> tuple[Words, ...]:
    """Connections that must be there first: every process needs its share of `database.pool`."""
    server = scene.current.database.server
    others = sum(node.role in ("web", "worker") and node.role != role for node in scene.current.nodes)
    if server is None or wanted + others <= carries(server.pool):
        return ()
    return (words("pool.first", pool=server.pool, needed=LEAST * (wanted + others)),)


TIER_RULES = (
    Rule(
        "jobs-in-web",
        "a web server is full, there is no worker, and there are at least as many jobs as requests",
        "`scale worker=1`",
        "web and jobs are scaled apart; this takes no step",
        jobs_in_web,
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
        "more jobs are due than are done in a minute, they do not get fewer, and who runs them is not full",
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
