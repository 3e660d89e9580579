"""Rules about the data: slow queries, a full database server, and a SQLite file that fills its process. Pure."""

from __future__ import annotations

from tenfold.control.advice.finding import Finding, Rule, climb, coming, percent, words
from tenfold.control.advice.levels import FULL
from tenfold.control.advice.model import Words
from tenfold.control.advice.scene import Scene
from tenfold.control.advice.tiers import full, reads_here
from tenfold.topology.steps import find_step

SLOW_READ_MS = 5.0
"""A read by an index takes well below a millisecond; half of them taking so long says that there is none, or that they
read very much."""
SLOW_WRITE_MS = 50.0
MANY_READS = 0.85
"""From this share of reads on replicas and caches take most of the load off (GitLab's sizing: 85 to 95 %)."""


def slow_queries(scene: Scene) -> Finding | None:
    """The database is full of slow statements: an index is worth more than any machine."""
    took, tier = scene.took_ms(lambda window: window.reads), _full_of_data(scene)
    if not tier or took < SLOW_READ_MS:
        return None
    because = (words("queries.why"), *_cached(scene))
    return Finding("stay", words("queries.first", took=took, rate=scene.reads), because, tier=tier, resource="cpu")


def database(scene: Scene) -> Finding | None:
    """The database server is full, and its statements are quick: there are simply many."""
    use = full(scene, "database")
    if use is None:
        return None
    reading = scene.reads >= MANY_READS * (scene.reads + scene.writes)
    slugs = ("database-replication", "cache-tier") if reading else ("sharding",)
    values = {"used": use.used, "most": use.most, "reads": scene.reads, "writes": scene.writes}
    cached = _cached(scene)
    for slug in slugs:
        said = words("database.step", step=find_step(slug).number, **values)
        found = climb(scene, slug, Finding("step", said, cached, tier="database", resource="cpu"))
        if found is not None:
            return found
    said = words("database.reads" if reading else "database.writes", **values)
    return Finding("bigger-machine", said, (*cached, *coming(scene, *slugs)), tier="database", resource="cpu")


def one_writer(scene: Scene) -> Finding | None:
    """Writes wait for the one writer that a SQLite file has, and the disk is not what it waits for."""
    took = scene.took_ms(lambda window: window.writes)
    if scene.current.database.backend != "sqlite" or took < SLOW_WRITE_MS or scene.disk_busy >= FULL:
        return None
    if full(scene, "web") is not None and len(scene.current.of_role("web")) == 1:
        return None  # its core is what they wait for
    found = Finding("step", words("writer.full", took=took, rate=scene.writes), tier="database")
    return climb(scene, "separate-database", found)


def reads_in_web(scene: Scene) -> Finding | None:
    """What fills the one web process is reading from the file: with a server it is done by other processes."""
    use = full(scene, "web")
    if use is None or not reads_here(scene) or not scene.fits(use.most):
        return None
    said = words("web.reads", node=use.node, part=percent(use.share), rate=scene.reads)
    found = Finding("step", said, _cached(scene), 0, "web", "cpu")
    return climb(scene, "separate-database", found)


def _full_of_data(scene: Scene) -> str:
    """The tier that is full of work for the database; empty when none is."""
    if full(scene, "database") is not None:
        return "database"
    return "web" if full(scene, "web") is not None and reads_here(scene) else ""


def _cached(scene: Scene) -> tuple[Words, ...]:
    """How much of the reading the caches keep off the database."""
    hits = scene.cache_hits
    return (words("cache.none"),) if hits is None else (words("cache.hits", part=percent(hits)),)


DATABASE_RULES = (
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

FILE_RULES = (
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
)
"""Asked after the machine: they take a step, and a step needs idle cores."""
