"""`tenfold status`: what runs. Exit 0 when everything runs that should, 3 when not."""

from __future__ import annotations

import json

import click

from tenfold.cli.main import EXIT_NOT_RUNNING, Context
from tenfold.control.deployment import Deployment
from tenfold.control.place import Place
from tenfold.control.words import Facts, open_words, progress_words

_COLOURS = {"running": "green", "starting": "yellow", "degraded": "yellow", "failed": "red", "stopped": "red"}

_JOBS = {"waiting": "wait", "running": "run", "dead": "dead", "unknown": "of tasks that the code does not have"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
@click.pass_obj
def command(context: Context, as_json: bool) -> int:
    """Say what runs: the service, its addresses, balancers, web servers and workers, the database, the open move.

    A web server is told with its requests and connections, its version of the code and its private address; with
    "no traffic" while clients do not come to it (it has just started, or finishes what was begun). A balancer is told
    with the web servers that it sends requests to. Exit 0 when everything runs that should, 3 when not.
    """
    facts = Deployment(Place(context.root())).facts(jobs=True)
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(status_lines(facts)))
    return 0 if facts["state"] == "running" else EXIT_NOT_RUNNING


def status_lines(facts: Facts) -> list[str]:
    """The facts as a person reads them."""
    state = click.style(facts["state"], fg=_COLOURS[facts["state"]], bold=True)
    lines = [f"{facts['service'] or facts['root']}: {state}", *_address_lines(facts)]
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
    return lines + _move_lines(facts["move"]) + _advice(facts)


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


def _advice(facts: Facts) -> list[str]:
    if facts["state"] == "stopped":
        return ["Nothing runs. `tenfold up` starts it."]
    if facts["keeper"] is None:
        return ["The keeper is gone; what runs goes on. `tenfold up` brings a new keeper that takes it over."]
    controller = facts["controller"]
    if controller is None:
        return ["The controller does not answer; the keeper starts it again. No request notices."]
    nodes = [*facts["nodes"], *facts["workers"], *facts["balancers"]]
    errors = [controller["error"], *((node.get("report") or {}).get("error") for node in nodes)]
    return [f"{error['message']} {error['hint']}" for error in errors if error]
