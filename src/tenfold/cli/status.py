"""`tenfold status`: what runs. Exit 0 when the service runs and is ready, 3 when not."""

from __future__ import annotations

import json
from typing import Any

import click

from tenfold.cli.main import EXIT_NOT_RUNNING, Context
from tenfold.cli.words import open_words, progress_words
from tenfold.control.deployment import Deployment
from tenfold.control.place import Place

_COLOURS = {"running": "green", "starting": "yellow", "degraded": "yellow", "failed": "red", "stopped": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
@click.pass_obj
def command(context: Context, as_json: bool) -> int:
    """Say what runs: the service, its address, its processes."""
    facts = Deployment(Place(context.root())).facts()
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(_lines(facts)))
    return 0 if facts["state"] == "running" else EXIT_NOT_RUNNING


def _lines(facts: dict[str, Any]) -> list[str]:
    state = click.style(facts["state"], fg=_COLOURS[facts["state"]], bold=True)
    lines = [f"{facts['service'] or facts['root']}: {state}"]
    if facts["address"]:
        lines.append(f"  {facts['address']}   step {facts['step']}, map epoch {facts['epoch']}")
    lines += [_node_line(node) for node in facts["nodes"]]
    lines += [f"  {engine['node']:<10} pid {engine['pid'] or '-':<8} {engine['state']}" for engine in facts["engines"]]
    if facts["database"] and facts["nodes"]:
        lines.append(_database_line(facts["database"]))
    return lines + _move_lines(facts["move"]) + _advice(facts)


def _database_line(database: dict[str, Any]) -> str:
    back = "; the way back to SQLite is open (`tenfold finalize` closes it)" if database["way_back"] else ""
    gate = "; WRITES WAIT" if database["gate"] == "held" else ""
    return f"  data       {database['backend']}, {database['where']}{gate}{back}"


def _move_lines(move: dict[str, Any] | None) -> list[str]:
    if move is None:
        return []
    return [f"  {open_words(move)}", f"    {progress_words(move)}"]


def _node_line(node: dict[str, Any]) -> str:
    if node["ready"]:
        words = f"ready, {node['requests']} requests, {node['connections']} connections"
        words += f", BUT {node['reason']}" if node.get("reason") else ""
    else:
        words = f"{node['state']}, not ready" + (f": {node['reason']}" if node.get("reason") else "")
    restarts = f", started again {node['restarts']} times" if node.get("restarts") else ""
    return f"  {node['node']:<10} pid {node['pid'] or '-':<8} {words}{restarts}"


def _advice(facts: dict[str, Any]) -> list[str]:
    if facts["state"] == "stopped":
        return ["Nothing runs. `tenfold up` starts it."]
    if facts["keeper"] is None:
        return ["The keeper is gone; what runs goes on. `tenfold up` brings a new keeper that takes it over."]
    controller = facts["controller"]
    if controller is None:
        return ["The controller does not answer; the keeper starts it again. No request notices."]
    errors = [controller["error"], *((node.get("report") or {}).get("error") for node in facts["nodes"])]
    return [f"{error['message']} {error['hint']}" for error in errors if error]
