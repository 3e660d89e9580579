"""`tenfold descend`: a step back, live and without loss, as long as its way back is open."""

from __future__ import annotations

import click

from tenfold.cli.main import Context
from tenfold.cli.moving import Asked, carry_out


@click.command()
@click.argument("step", required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def command(context: Context, step: str | None, yes: bool, as_json: bool) -> int:
    """Descend to STEP (a number or a name; by default one step down), while the service goes on.

    Prints the plan, asks, and applies it, as `tenfold climb` does. From 3 to 2 one web server takes the public address
    back from the balancers. From 2 to 1 what was written since the climb comes along; after `tenfold finalize` that way
    is closed, and this says so, with the command that takes a dump.
    """
    return carry_out(context, Asked("descend", {"step": step}, again=step is not None, yes=yes, as_json=as_json))
