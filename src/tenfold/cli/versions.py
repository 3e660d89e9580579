"""`tenfold versions`: the versions of the code that are kept; it needs nothing that runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click
import msgspec

from tenfold.cli.main import Context
from tenfold.control.place import Place
from tenfold.control.versions import Version, Versions
from tenfold.core.units import format_size
from tenfold.topology.wants import wants_of


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the versions as JSON.")
@click.pass_obj
def command(context: Context, as_json: bool) -> None:
    """List the versions of the service's code: when each was taken, from where, and which one runs.

    Each start takes the folder's code as a version when it has changed, and each `tenfold deploy` what it is given. The
    newest three are kept, and those that run. `tenfold rollback VERSION` makes an older one run again.
    """
    place = Place(context.root())
    known, current = Versions(place).list(), place.read_map()
    running = wants_of(current).version if current is not None else ""
    if as_json:
        click.echo(json.dumps({"versions": msgspec.to_builtins(known), "running": running}, indent=2))
    else:
        click.echo("\n".join(_lines(known, running)) if known else "No version was taken yet: `tenfold up` takes one.")


def _lines(known: tuple[Version, ...], running: str) -> list[str]:
    lines = [f"   {'version':<8} {'taken (UTC)':<20} {'files':>6} {'size':>8}  from"]
    for version in known:
        mark = " * " if version.id == running else "   "
        when = datetime.fromtimestamp(version.taken_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
        size = format_size(version.size)
        lines.append(f"{mark}{version.id:<8} {when:<20} {version.files:>6,} {size:>8}  {version.source}")
    return [*lines, " * runs"] if any(version.id == running for version in known) else lines
