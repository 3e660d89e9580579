"""`tenfold status`: what runs, as a picture and in words. Exit 0 when everything runs that should, 3 when not."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.main import EXIT_NOT_RUNNING, Context
from tenfold.control.deployment import Deployment
from tenfold.control.place import Place
from tenfold.control.words import Facts, open_words, page_words, progress_words
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.units import parse_duration
from tenfold.dashboard.picture.drawing import draw, troubles
from tenfold.dashboard.picture.model import Picture
from tenfold.dashboard.terminal import lines as picture_lines

if TYPE_CHECKING:
    from tenfold.cli.watching import View
    from tenfold.control.figures.model import Figures

_COLOURS = {"running": "green", "starting": "yellow", "degraded": "yellow", "failed": "red", "stopped": "red"}

_JOBS = {"waiting": "wait", "running": "run", "dead": "dead", "unknown": "of tasks that the code does not have"}

WIDEST = 160
"""Columns that the picture takes at most: wider it would fall apart."""
SHORTEST_S = 0.2
HEAD = 6
"""Lines around the picture: state, addresses, a blank one, and the footer."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
@click.option("--watch", is_flag=True, help="Draw it again and again, with figures, until Ctrl-C.")
@click.option("--every", default="1s", show_default=True, help="How often --watch looks.")
@click.option("--figures", is_flag=True, help="With figures: looks for half a second.")
@click.option("--ascii", "plain", is_flag=True, help="Draw with ASCII characters only.")
@click.pass_obj
def command(context: Context, /, as_json: bool, watch: bool, **options: Any) -> int:
    """Draw what runs and say it in words: addresses, balancers, web servers, workers, the database, the open move.

    \b
      ● well   ◐ starting   ○ leaving   ▲ runs and is not ready   ✕ should run and does not
      a dashed box: no clients come to it

    A web server is told with its requests and connections, its version of the code and its private address; with
    "no traffic" while clients do not come to it (it has just started, or finishes what was begun). A balancer is told
    with the web servers that it sends requests to. Figures (--watch, --figures) are of the last second: requests with
    their median and their 99th percentile, and how much of its processor a process uses. Exit 0 when everything runs
    that should, 3 when not.
    """
    place, plain = Place(context.root()), options["plain"] or not _draws_boxes()
    if watch and as_json:
        raise click.UsageError("--watch draws; --json is for one look.")
    if watch:
        return _watch(place, options["every"], plain)
    facts = Deployment(place).facts(jobs=True)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        picture = draw(
            place.read_map(), facts, _figures(place) if options["figures"] else None, at_us=SYSTEM_CLOCK.wall_us()
        )
        drawn = drawn_lines(picture, shutil.get_terminal_size().columns, plain)
        click.echo("\n".join(status_lines(facts, drawn)))
    return 0 if facts["state"] == "running" else EXIT_NOT_RUNNING


def _watch(place: Place, every: str, plain: bool) -> int:
    from tenfold.cli.watching import watch  # noqa: PLC0415 - a single look needs none of it

    every_s = parse_duration(every)
    if every_s < SHORTEST_S:
        raise click.UsageError(f"--every is {SHORTEST_S:g}s at least.")

    def tell(view: View, columns: int, rows: int) -> list[str]:
        drawn = drawn_lines(view.picture, columns, plain)
        if rows and len(drawn) + HEAD > rows:
            drawn = drawn_lines(view.picture, columns, plain, tight=True)
        return status_lines(view.facts, drawn, troubles_first=True)

    watch(place, every_s, tell)
    return 0


def _figures(place: Place) -> Figures:
    import asyncio  # noqa: PLC0415 - only those who want figures wait for it

    from tenfold.cli.watching import figures_once  # noqa: PLC0415

    return asyncio.run(figures_once(place))


def _draws_boxes() -> bool:
    """Whether what reads our output takes more than ASCII."""
    try:
        "●╭".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def drawn_lines(picture: Picture, columns: int, plain: bool = False, *, tight: bool = False) -> list[str]:
    """The picture for so many columns; nothing when nothing runs. `tight`: on fewer lines."""
    if picture.state == "stopped":
        return []
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return picture_lines(picture, min(columns, WIDEST), colour, plain, tight=tight)


def status_lines(facts: Facts, drawn: Sequence[str] = (), *, troubles_first: bool = False) -> list[str]:
    """The facts as a person reads them; `drawn`: the picture, with the open move, which comes below the addresses.

    What is wrong comes last, or (`troubles_first`) right after the addresses, where no window cuts it off.
    """
    state = click.style(facts["state"], fg=_COLOURS[facts["state"]], bold=True)
    lines = [f"{facts['service'] or facts['root']}: {state}", *_address_lines(facts)]
    page = page_words(facts.get("dashboard"))
    lines += [f"  dashboard {page}"] if page else []
    wrong = troubles(facts)
    lines += [click.style(sentence, fg="yellow") for sentence in wrong] if troubles_first else []
    lines += ["", *drawn, ""] if drawn else []
    lines += [_balancer_line(node) for node in sorted(facts["balancers"], key=_order)]
    lines += [_web_line(node, facts["version"]) for node in sorted(facts["nodes"], key=_order)]
    lines += [_worker_line(node, facts["version"]) for node in sorted(facts["workers"], key=_order)]
    lines += [_line(engine, engine["state"]) for engine in facts["engines"]]
    if any(node.get("limits") == "off" for node in facts["nodes"]):
        lines.append(click.style("  RATE LIMITS ARE OFF (TENFOLD_LIMITS=off): nobody is refused", fg="red", bold=True))
    if facts["database"] and facts["nodes"]:
        lines.append(_database_line(facts["database"]))
    lines += _job_lines(facts["jobs"], bool(facts["workers"]))
    lines += _route_lines(facts) if facts["nodes"] else []
    lines += [f"  {sentence}" for sentence in facts["waiting"]]
    return lines + ([] if drawn else _move_lines(facts["move"])) + ([] if troubles_first else wrong)


def _order(node: Facts) -> tuple[int, str]:
    """web-2 before web-10."""
    return len(node["node"]), node["node"]


def _address_lines(facts: Facts) -> list[str]:
    if not facts["address"]:
        return []
    version = f", version {facts['version']}" if facts["version"] else ""
    lines = [f"  {facts['address']}   step {facts['step']}{version}, map epoch {facts['epoch']}"]
    tls = (facts["public"] or {}).get("tls")
    return [*lines, f"  {tls}"] if tls else lines


def _line(node: Facts, words: str) -> str:
    count = node.get("restarts")
    restarts = f", started again {'once' if count == 1 else f'{count} times'}" if count else ""
    return f"  {node['node']:<11} pid {node['pid'] or '-':<8} {words}{restarts}"


def _unready(node: Facts) -> str:
    return f"{node['state']}, not ready" + (f": {node['reason']}" if node.get("reason") else "")


def _web_line(node: Facts, version: str | None) -> str:
    if not node["ready"]:
        return _line(node, _unready(node))
    words = f"ready, {_many(node['requests'], 'request')}, {_many(node['connections'], 'connection')}"
    words += f" at {node['address']}" if node.get("address") else ""
    words += f", version {node['version']}" if node.get("version", version) != version else ""
    words += ", no traffic" if node.get("traffic") == "off" else ""
    return _line(node, words + (f", BUT {node['reason']}" if node.get("reason") else ""))


def _worker_line(node: Facts, version: str | None) -> str:
    if not node["ready"]:
        return _line(node, _unready(node))
    words = f"ready, runs {_many(node.get('jobs', 0), 'job')} now"
    words += f", version {node['version']}" if node.get("version", version) != version else ""
    words += ", gets no jobs" if node.get("traffic") == "off" else ""
    return _line(node, words + (f", BUT {node['reason']}" if node.get("reason") else ""))


def _balancer_line(node: Facts) -> str:
    if not node["ready"]:
        return _line(node, _unready(node))
    words = f"ready, {_many(node.get('requests', 0), 'request')}, {_many(node.get('connections', 0), 'connection')}"
    words += f", HAProxy pid {node['haproxy_pid']}" if node.get("haproxy_pid") else ""
    ejected = [server["name"] for server in node.get("servers", ()) if server.get("ejected")]
    words += f", passes over {' and '.join(ejected)}, which fails more than the others" if ejected else ""
    return _line(node, words + (f", BUT {node['reason']}" if node.get("reason") else ""))


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _route_lines(facts: Facts) -> list[str]:
    """What goes to other services; nothing does before there is a balancer."""
    if (facts["public"] or {}).get("door") != "balancer":
        return []
    return [f"  route       {route['host']}{route['path']} to {', '.join(route['to'])}" for route in facts["routes"]]


def _database_line(database: Facts) -> str:
    back = "; the way back to SQLite is open (`tenfold finalize` closes it)" if database["way_back"] else ""
    gate = "; WRITES WAIT" if database["gate"] == "held" else ""
    return f"  data        {database['backend']}, {database['where']}{gate}{back}"


def _job_lines(jobs: Facts | None, workers: bool) -> list[str]:
    """Nothing is said of a service without jobs."""
    if jobs is None or not any(jobs.values()):
        return []
    said = [f"{jobs[name]:,} {words}" for name, words in _JOBS.items() if jobs[name] or name in ("waiting", "running")]
    dead = "; `tenfold jobs --dead` lists them" if jobs["dead"] else ""
    return [f"  jobs        {', '.join(said)}{'' if workers else ', in the web servers'}{dead}"]


def _move_lines(move: Facts | None) -> list[str]:
    if move is None:
        return []
    return [f"  {open_words(move)}", f"    {progress_words(move)}"]
