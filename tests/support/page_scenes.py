"""Pictures and answers as the dashboard's server would give them, for tests of the page: no deployment is needed."""

from __future__ import annotations

from typing import Any

import msgspec

from tenfold.control.advice.model import Advice, Pressure, Words
from tenfold.control.advice.phrases import say
from tenfold.control.figures.model import Traffic
from tenfold.dashboard.picture.model import Arrow, LoadNow, MoveNow, Node, Part, Picture, Program, StageNow, Tier
from tenfold.topology.steps import STEPS

AT_US = 1_795_000_000_000_000
FAULTS = ("kill", "pause", "restart")
USERS = Tier("users")
COPY = (
    "preflight",
    "server",
    "schema",
    "capture",
    "copy",
    "replay",
    "constraints",
    "verify",
    "return_path",
    "connect",
    "hold",
    "fence",
    "open",
    "flip",
    "settle",
)


def traffic(rate: float, p50: float | None = 3.1, p99: float | None = 11.4, errors: float = 0.0) -> Traffic:
    """What flows."""
    return Traffic(rate, errors, p50, p99)


def node(name: str, role: str = "web", cpu: float = 0.32, **more: Any) -> Node:
    """A node that is well, unless `more` says otherwise."""
    values = {"cpu": cpu, "cpu_max": 1.0, "memory": 71e6, "in_flight": 3, "cache_hits": 0.93, "rate": 62.0}
    return Node(
        name, role, **{"health": "well", "version": "v3", "pid": 4711, "faults": FAULTS, "values": values, **more}
    )


def database(name: str = "db-1", **more: Any) -> Node:
    """A database server."""
    return node(name, "database", 0.21, **{"version": "", **more})


def one_server(*, gate: Any = "open", held: int = 0) -> Tier:
    """Everything in one process."""
    parts = (
        Part("app", traffic=traffic(124)),
        Part("cache", values={"cache_hits": 0.93, "cache_bytes": 4e6}),
        Part("database", traffic=traffic(48, 0.1, 0.9), gate=gate, values={"held": held}),
        Part("jobs", traffic=traffic(2.4, None, None), values={"queue": 0}),
    )
    return Tier("web", (node("web-1", parts=parts, cpu=0.41),))


def picture(step: int, tiers: tuple[Tier, ...], arrows: tuple[Arrow, ...], **more: Any) -> Picture:
    """A picture of the shortener."""
    known = {"epoch": 14, "version": "v3", "address": "http://127.0.0.1:8000", "window_s": 1.0, "at_us": AT_US}
    return Picture("shortener", **{"state": "running", "step": step, "tiers": tiers, "arrows": arrows, **known, **more})


def on_one_server() -> Picture:
    """Step 1."""
    return picture(1, (USERS, one_server()), (Arrow("users", "web", "requests", traffic(124)),))


def on_a_database() -> Picture:
    """Step 2, with two workers beside."""
    parts = (
        Part("app", traffic=traffic(310)),
        Part("cache", values={"cache_hits": 0.88}),
        Part("jobs", traffic=traffic(4.2)),
    )
    tiers = (
        USERS,
        Tier("web", (node("web-1", parts=parts[:2], cpu=0.66),)),
        Tier("worker", (node("worker-1", "worker", 0.08),), beside="web"),
        Tier("database", (database(),), backend="PostgreSQL"),
    )
    arrows = (
        Arrow("users", "web", "requests", traffic(310)),
        Arrow("web", "worker", "jobs", traffic(4.2, 12, 40)),
        Arrow("web", "database", "queries", traffic(182, 0.8, 3.9), gate="open"),
        Arrow("worker", "database", "queries", traffic(12.6, 0.7, 3.1), gate="open"),
    )
    return picture(2, tiers, arrows, way_back=True)


def balanced(webs: int = 3, **more: Any) -> Picture:
    """Step 3, with so many web servers."""
    fronts = tuple(
        node(
            f"balancer-{n}", "balancer", 0.11, version="", program=Program(f"haproxy-{n}", 4720 + n, ("kill", "pause"))
        )
        for n in (1, 2)
    )
    servers = more.pop("servers", tuple(node(f"web-{number}", cpu=0.2 + number / 12) for number in range(1, webs + 1)))
    tiers = (
        USERS,
        Tier("balancer", fronts, backend="HAProxy"),
        Tier("web", servers),
        Tier("worker", (node("worker-1", "worker", 0.12), node("worker-2", "worker", 0.1)), beside="web"),
        Tier("database", (database(),), backend="PostgreSQL"),
    )
    arrows = (
        Arrow("users", "balancer", "requests", traffic(1240, 2.2, 18)),
        Arrow("balancer", "web", "requests", traffic(1239, 1.9, 16)),
        Arrow("web", "worker", "jobs", traffic(4.2, 12, 40)),
        Arrow("web", "database", "queries", traffic(740, 0.8, 5.2), gate="open"),
        Arrow("worker", "database", "queries", traffic(24, 0.7, 3.1), gate="open"),
    )
    return picture(3, tiers, arrows, **more)


def ailing() -> Picture:
    """Step 3 with every state of health, and failing requests."""
    says = "It did not reach the database within 2 s."
    servers = (
        node("web-1", cpu=0.97),
        node("web-2", health="ill", says=says, cpu=0.03),
        node("web-3", health="gone", cpu=0.0),
        node("web-4", health="starting", clients=False, cpu=0.5),
        node("web-5", health="leaving", clients=False, cpu=0.1),
    )
    found = balanced(servers=servers, state="degraded", says=(f"web-2: {says}",))
    tiers = tuple(msgspec.structs.replace(tier, health="ill") if tier.role == "web" else tier for tier in found.tiers)
    failing = msgspec.structs.replace(found.arrows[1], traffic=traffic(1180, 4.0, 210, 6.5))
    return msgspec.structs.replace(found, tiers=tiers, arrows=(found.arrows[0], failing, *found.arrows[2:]))


def stages(now: str) -> tuple[StageNow, ...]:
    """The stages of the copy, with the one that is under way."""
    at = COPY.index(now)
    states = ["done"] * at + ["now"] + ["to come"] * (len(COPY) - at - 1)
    holding = {"hold", "fence", "open"}
    return tuple(
        StageNow(name, f"The stage {name}.", state, holds=name in holding, decides=name == "fence")  # type: ignore[arg-type]
        for name, state in zip(COPY, states, strict=True)
    )


def moving(now: str = "copy") -> Picture:
    """Step 1 on its way to step 2: rows are copied, or (`hold`) writes wait at the gate."""
    held = now in ("hold", "fence")
    gate: Any = "held" if held else "open"
    tiers = (
        USERS,
        one_server(gate=gate, held=12 if held else 0),
        Tier("database", (database(clients=False, engine="PostgreSQL"),), backend="SQLite"),
    )
    arrows = (
        Arrow("users", "web", "requests", traffic(124)),
        Arrow("web", "database", "queries", traffic(48, 0.1, 0.9), gate=gate, waiting=12 if held else 0),
    )
    title = "Move the data from SQLite to PostgreSQL"
    move = MoveNow(
        "m-7",
        "copy_to_postgres",
        title,
        stages(now),
        doing="Copies links",
        done=18_300,
        total=52_000,
        unit="rows",
        left_s=None if held else 21.0,
        held_ms=38.0 if held else 0.0,
    )
    return picture(1, tiers, arrows, move=move, load=LoadNow(120, 143))


def switching() -> Picture:
    """Step 2, where new web servers come up beside the old one and the gate before the database is held."""
    servers = (node("web-1"), node("web-2", health="starting", clients=False, cpu=0.9))
    tiers = (USERS, Tier("web", servers), Tier("database", (database(),), backend="PostgreSQL"))
    arrows = (
        Arrow("users", "web", "requests", traffic(310)),
        Arrow("web", "database", "queries", traffic(182, 0.8, 3.9), gate="held", waiting=37),
    )
    return picture(2, tiers, arrows)


def crowd(count: int = 500, *, ill_every: int = 0) -> Picture:
    """Step 3 with many web servers, some of them not well."""
    kinds = {17: "ill", 123: "gone", 250: "starting", 333: "leaving"}
    if ill_every:
        kinds = dict.fromkeys(range(1, count, ill_every), "ill")
    servers = tuple(
        node(f"web-{at}", health=kinds.get(at, "well"), cpu=((at + ill_every) % 90) / 100) for at in range(1, count + 1)
    )
    return balanced(servers=servers)


def later() -> Picture:
    """A deployment of steps that do not exist yet, and a tier that nobody has heard of."""
    names = ("geodns", "edge", "balancer", "web", "worker", "queue", "cache", "store", "oracle", "database", "replica")
    rows = [
        Tier(role, tuple(node(f"{role}-{n}", role) for n in (1, 2)), beside="web" if role == "worker" else "")
        for role in names
    ]
    pairs = [
        ("users", "geodns"),
        ("geodns", "edge"),
        ("edge", "balancer"),
        ("balancer", "web"),
        ("web", "queue"),
        ("queue", "worker"),
        ("web", "cache"),
        ("web", "store"),
        ("web", "oracle"),
        ("web", "database"),
        ("worker", "database"),
        ("database", "replica"),
    ]
    kinds: dict[str, Any] = {"queue": "jobs", "cache": "lookups", "database": "queries", "replica": "replication"}
    arrows = tuple(Arrow(one, other, kinds.get(other, "requests"), traffic(100)) for one, other in pairs)
    return picture(9, (USERS, *rows), arrows)


def ladder(step: int = 1, *, mode: str = "full", web: int = 1, workers: int = 0) -> dict[str, Any]:
    """What `/api/ladder` says on a step."""
    steps = [
        {
            "number": each.number,
            "slug": each.slug,
            "title": each.title,
            "promise": each.promise,
            "engines": each.engines,
            "exists": each.exists,
            "brings": brings(each.slug) if each.number > step else [],
            "state": "taken" if each.number <= step else "next" if each.number == step + 1 and each.exists else "later",
        }
        for each in STEPS
    ]
    history = [
        {
            "id": "m-6",
            "move": "change_nodes",
            "result": "finished",
            "reason": "",
            "took_s": 4.2,
            "begun_us": AT_US - 90_000_000,
            "facts": {"held_ms": 0},
        },
        {
            "id": "m-5",
            "move": "copy_to_postgres",
            "result": "undone",
            "reason": "It was aborted.",
            "took_s": 12.6,
            "begun_us": AT_US - 900_000_000,
            "facts": {"held_ms": 41.5},
        },
    ]
    versions = [{"id": "v2", "runs": []}, {"id": "v3", "runs": ["web-1"]}]
    return {
        "step": step,
        "steps": steps,
        "advice": msgspec.to_builtins(advice()),
        "history": history,
        "versions": versions,
        "mode": mode,
        "web": web,
        "workers": workers,
    }


def brings(slug: str) -> list[dict[str, Any]]:
    """What a step would bring, where something can be said of it."""
    core = Words("advice.brings.web.core", {"node": "web-1", "part": 41, "rate": 310})
    told = {"load-balancer": (Words("advice.brings.web.nothing"), core)}.get(slug, ())
    return [{"sentence": say(words), "words": msgspec.to_builtins(words)} for words in told]


def advice() -> Advice:
    """One that says stay."""
    web = Pressure("web", "cpu", 0.41, 1, "cores", 0.41, 2.1)
    rest = (
        Pressure("machine", "memory", 2.6e9, 8e9, "bytes", 0.33, 3.0),
        Pressure("machine", "disk", 41e9, 100e9, "bytes", 0.41, None),
    )
    return Advice(
        "stay",
        "Stay: the fullest part is at 41 %.",
        Words("advice.stay", {"share": "41 %"}),
        because=("The CPU of web-1 is at 41 % of its core.",),
        because_words=(Words("advice.none"),),
        first=web,
        pressures=(web, *rest),
    )


def plan(to: str, *, destroys: tuple[dict[str, str], ...] = ()) -> dict[str, Any]:
    """What `/api/plan` says."""
    told = [
        {"stage": stage.name, "says": stage.says, "holds_writes": stage.holds, "decides": stage.decides}
        for stage in stages("preflight")
    ]
    facts = {"rows": 52_000, "bytes": 18_400_000, "expected_s": 40, "expected_hold_ms": 60, "findings": []}
    move = {
        "name": "copy_to_postgres",
        "title": "Move the data from SQLite to PostgreSQL",
        "stages": told,
        "facts": facts,
    }
    found = {
        "service": "shortener",
        "step": 1,
        "to_step": 2,
        "changes": [],
        "waiting": [],
        "moves": [move],
        "open": None,
        "empty": False,
        "version": "",
        "same": False,
    }
    return {"plan": found, "words": [f"{to}: shortener is on step 1."], "destroys": list(destroys)}


def requests() -> dict[str, Any]:
    """What `/api/requests` says."""
    spent = {
        "gate_ms": 38.0,
        "database_ms": 21.5,
        "database_calls": 3,
        "cache_hits": 1,
        "cache_loads": 1,
        "cache_ms": 22.0,
        "replays": 1,
    }
    told = {
        "request": "r-1",
        "node": "web-1",
        "route": "/{code}",
        "method": "GET",
        "status": 200,
        "ended_us": AT_US,
        "took_ms": 78.2,
        "spent": spent,
        "error": "",
    }
    return {
        "slow": [told, {**told, "took_ms": 31.0}],
        "failed": [{**told, "status": 503, "error": "TF-HELD", "method": "POST"}],
    }


def figures(points: int = 120) -> dict[str, Any]:
    """What `/api/figures` says: a load that grows."""
    at = [AT_US + second * 5_000_000 for second in range(points)]
    grown = [10 + second * 1.4 + (second * 37 % 11) for second in range(points)]
    series = {
        "rate": grown,
        "errors": [0.0] * points,
        "p50_ms": [2 + rate / 90 for rate in grown],
        "p99_ms": [6 + rate / 12 for rate in grown],
        "cpu": [rate / 200 for rate in grown],
        "memory": [70e6 + rate * 1e5 for rate in grown],
        "in_flight": [rate / 30 for rate in grown],
        "queue": [None] * points,
        "held": [0.0] * points,
    }
    return {"at_us": at, "series": series, "problem": ""}


def proofs() -> list[dict[str, Any]]:
    """What `/api/proofs` says."""
    verdicts = [
        {"id": "P1", "verdict": "holds", "n": 6120, "unit": "requests", "detail": "0 violations in 6120 requests"},
        {"id": "P8", "verdict": "not run", "n": 0, "detail": "No route gives a token."},
    ]
    return [{"name": "2026-11-22T01-00-00", "at_us": AT_US, "verdicts": verdicts, "passed": True}]
