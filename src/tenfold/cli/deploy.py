"""`tenfold deploy`: new code goes live without a gap, or not at all."""

from __future__ import annotations

from pathlib import Path

import click

from tenfold.cli.main import Context
from tenfold.cli.moving import Asked, carry_out


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def command(context: Context, path: Path | None, yes: bool, as_json: bool) -> int:
    """Make the code in PATH (by default the service's folder) the code that runs, on every step, while it goes on.

    PATH is a folder or a wheel. It is copied as a version, so what runs does not change when you go on editing. Then
    the migrations run that only add, new processes start beside the old ones, and only when all of them are ready and
    have stayed alive for some seconds do they get requests; the old ones finish what they have begun and leave, and
    then the migrations run that take away. When the new code does not start, does not get ready or dies, everything is
    undone, nobody has noticed, and this says why. Code that runs already is not deployed again.

    The settings are those of the service's tenfold.toml. The last three versions are kept: `tenfold versions` lists
    them, `tenfold rollback` goes back.
    """
    return carry_out(context, Asked("deploy", source_in(path), again=True, yes=yes, as_json=as_json))


def source_in(path: Path | None) -> dict[str, object]:
    """The question to the controller: it does not know the folder that we are in."""
    return {"source": None if path is None else str(path.absolute())}
