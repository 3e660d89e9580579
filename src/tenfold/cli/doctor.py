"""`tenfold doctor`: is everything there that is needed? Exit 1 when something is not."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import click

from tenfold.cli.main import EXIT_ERROR, Context
from tenfold.control.doctor import Deployed, Finding, Verdict, examine
from tenfold.control.place import Place
from tenfold.core.errors import TenfoldError
from tenfold.hosts.client import KeeperClient
from tenfold.topology.spec import Spec

_MARKS = {"fine": ("ok", "green"), "warning": ("!!", "yellow"), "problem": ("NO", "red"), "later": ("..", None)}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_obj
def command(context: Context, as_json: bool) -> int:
    """Look at this machine: interpreter, SQLite, disk, ports, certificate, and the engines of each step."""
    findings = _findings(context)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            _print(finding)
    return EXIT_ERROR if any(finding.verdict == "problem" for finding in findings) else 0


def _findings(context: Context) -> list[Finding]:
    """Outside of a service the machine is looked at all the same."""
    try:
        place = Place(context.root())
        spec = place.read_spec()
    except TenfoldError as error:
        verdict: Verdict = "problem" if context.chosen else "warning"
        machine = examine(Path.cwd(), None, Deployed())
        return [Finding("service", verdict, error.message, error.hint), *machine]
    return examine(place.state if place.state.is_dir() else place.root, spec, _deployed(place, spec))


def _deployed(place: Place, spec: Spec) -> Deployed:
    """What this deployment has, as far as its map can be read."""
    runs, current = False, None
    with suppress(TenfoldError):
        runs = KeeperClient(place.state).runs()
    with suppress(TenfoldError):
        current = place.read_map()
    server = current.database.server if current is not None else None
    return Deployed(
        runs=runs,
        postgres=server is not None and server.supervised,
        haproxy=current is not None and bool(current.of_role("balancer")),
        tls=place.wanted(spec, current).public.tls,
    )


def _print(finding: Finding) -> None:
    mark, colour = _MARKS[finding.verdict]
    click.echo(f"{click.style(mark, fg=colour)}  {finding.name:<14} {finding.found}")
    if finding.advice:
        click.echo(f"{'':<19}{finding.advice}")
