"""`tenfold finalize`: close the way back that a climb left open."""

from __future__ import annotations

import click

from tenfold.cli.main import Context
from tenfold.cli.moving import Asked, carry_out


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def command(context: Context, yes: bool, as_json: bool) -> int:
    """Close the way back, so that it costs nothing any more.

    Until then every write on PostgreSQL is also noted for the SQLite file, and the tables cannot change. Afterwards
    `tenfold descend` is refused; the file is kept as it is, as NAME.before-postgres.db.
    """
    return carry_out(context, Asked("finalize", again=True, yes=yes, as_json=as_json))
