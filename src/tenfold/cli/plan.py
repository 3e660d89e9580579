"""`tenfold plan`: what would change, and what would wait for how long. Changes nothing."""

from __future__ import annotations

import json

import click

from tenfold.cli.main import Context
from tenfold.cli.moving import Asked, plan_words, planned
from tenfold.control.place import Place


@click.command()
@click.argument("step", required=False)
@click.option("--yes", is_flag=True, help="Install a program that is missing without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON; `empty` is true when nothing is to do.")
@click.pass_obj
def command(context: Context, step: str | None, yes: bool, as_json: bool) -> None:
    """Say what would be done, and do nothing.

    With STEP (a number or a name): what leads to that step from here, stage by stage, with what waits meanwhile, for
    how long, and where the point of no return is. Without: what leads from what runs to what is wanted (tenfold.toml
    and the commands so far); nothing, when all is well.
    """
    plan = planned(Place(context.root()), Asked("", step, yes=yes, as_json=as_json))
    click.echo(json.dumps(plan, indent=2) if as_json else "\n".join(plan_words(plan)))
