"""`tenfold rollback`: an older version of the code runs again."""

from __future__ import annotations

import click

from tenfold.cli.main import Context
from tenfold.cli.moving import Asked, carry_out


@click.command()
@click.argument("version", required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def command(context: Context, version: str | None, yes: bool, as_json: bool) -> int:
    """Make VERSION (by default the one that served before) the code that runs, as `tenfold deploy` does.

    `tenfold versions` lists those that are kept. The database stays as it is: migrations that only added are no
    obstacle; after one that took something away the older code cannot run, and this says so and changes nothing.
    To take back a deploy that is still under way, use `tenfold abort`.
    """
    return carry_out(context, Asked("rollback", {"version": version}, yes=yes, as_json=as_json))
