"""`tenfold down`: nothing of the deployment runs when this ends with 0."""

from __future__ import annotations

import json

import click

from tenfold.cli.main import Context
from tenfold.cli.up import say
from tenfold.control.deployment import Deployment
from tenfold.control.place import Place
from tenfold.core.journal import read_journal
from tenfold.moves.base import fold

_HOWS = {"drained": "ended", "killed": "had to be killed", "gone": "did not run"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
@click.pass_obj
def command(context: Context, as_json: bool) -> None:
    """Stop the service. Requests that are being answered are answered first; data stays where it is."""
    place = Place(context.root())
    deployment = Deployment(place, say)
    if (move := fold(read_journal(place.moves_file))).open:
        say(f"the move {move.move} is open (stage {move.stage}); it goes on with the next `tenfold up`")
    stopped = deployment.take_down()
    if as_json:
        click.echo(json.dumps({"state": "stopped", "stopped": stopped}, indent=2))
        return
    for node, how in stopped.items():
        say(f"{node} {_HOWS[how]}")
    click.echo("Everything is stopped." if stopped else "Nothing was running.")
