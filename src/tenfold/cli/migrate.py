"""`tenfold migrate`: the database gets the shape that the code expects, whether the service runs or not."""

from __future__ import annotations

import click
import msgspec

from tenfold.cli.main import Context
from tenfold.control.migrate import Report, describe, load_service, migrate_map, write_next_for_map
from tenfold.control.place import Place
from tenfold.core.errors import UsageError
from tenfold.hosts import wire
from tenfold.hosts.client import KeeperClient

ANSWER_LIMIT_S = 3600.0


@click.command()
@click.option("--new", "message", metavar="MESSAGE", help="Write the next revision file from what changed in the code.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--no-backup", is_flag=True, help="Keep no copy of the database (only while the service does not run).")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_obj
def command(context: Context, message: str | None, dry_run: bool, no_backup: bool, as_json: bool) -> None:
    """Bring the database to the shape that the code expects.

    Each revision is one transaction with its record; before anything changes, a copy of the database is kept beside
    it. While the service runs, its controller does it, and writes wait until it is done.
    """
    place = Place(context.root())
    if message is not None:
        _write(place, message, as_json)
        return
    report = _run(place, dry_run=dry_run, backup=not no_backup)
    click.echo(msgspec.json.encode(report).decode() if as_json else "\n".join(describe(report)))


def _write(place: Place, message: str, as_json: bool) -> None:
    wanted = place.wanted(place.read_spec(), place.read_map())
    files = write_next_for_map(load_service(wanted), wanted, message)
    if as_json:
        click.echo(msgspec.json.encode({"written": [str(file) for file in files]}).decode())
        return
    for file in files:
        click.echo(f"Wrote {file.relative_to(place.root)}")
    click.echo("Read it, then run `tenfold migrate`.")


def _run(place: Place, *, dry_run: bool, backup: bool) -> Report:
    wanted = place.wanted(place.read_spec(), place.read_map())
    if dry_run:
        return migrate_map(wanted, dry_run=True)
    if not backup and KeeperClient(place.state).runs():
        raise UsageError("The service runs, so a copy must be kept.", hint="Use --no-backup after `tenfold down`.")
    try:
        answer = wire.call(place.run / "controller.sock", {"op": "migrate"}, ANSWER_LIMIT_S)
    except wire.NotRunning:
        place.prepare()
        return migrate_map(wanted, backup=backup)
    return msgspec.convert(answer["report"], Report)
