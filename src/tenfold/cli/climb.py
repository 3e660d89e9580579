"""`tenfold climb`: the next step of the topology, live. Exit 0 only when the topology that was asked for runs."""

from __future__ import annotations

import click

from tenfold.cli.main import Context
from tenfold.cli.moving import Asked, carry_out


@click.command()
@click.argument("step", required=False)
@click.option("--only", metavar="NAME", help="Take this one step alone, whatever is below it.")
@click.option("--yes", is_flag=True, help="Do not ask; also not before a program is installed that is missing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def command(context: Context, step: str | None, only: str | None, yes: bool, as_json: bool) -> int:
    """Climb to STEP (a number or a name; by default the next one), while the service goes on.

    Prints the plan with what waits and for how long, asks, and applies it: several moves, one after the other, when
    STEP is further away. Until its point of no return a move can be undone with `tenfold abort`, and undoes itself when
    anything fails; after it, it only goes forward. Ctrl-C here changes nothing: the move goes on, and the same command
    follows it again. Exit 0 only when that step runs.

    \b
      1  one-server          one process, SQLite
      2  separate-database   the data on PostgreSQL 15 or newer, which is offered to be installed
                             (or on a server of yours: [database] url in tenfold.toml)
      3  load-balancer       two balancers (HAProxy 2.6 or newer, which is offered to be installed)
                             on the public address, and two or more web servers behind them

    Look first with `tenfold plan 3`. Go back with `tenfold descend 2` (to 1: until `tenfold finalize`).
    """
    if step and only:
        raise click.UsageError("Give a STEP or --only NAME, not both.")
    fields = {"step": only or step, "only": only is not None}
    return carry_out(context, Asked("climb", fields, again=bool(step or only), yes=yes, as_json=as_json))
