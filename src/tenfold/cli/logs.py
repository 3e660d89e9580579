"""`tenfold logs`: what the processes have written, from the files, so that it works whatever runs."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from tenfold.cli.main import Context
from tenfold.control.place import Place
from tenfold.core.errors import UsageError
from tenfold.hosts.logs import Follower, tail

_LOOK_S = 0.2


@click.command()
@click.argument("node", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(0, 1_000_000), default=50, show_default=True, help="Of each process."
)
@click.pass_obj
def command(context: Context, node: str | None, follow: bool, lines: int) -> None:
    """Show what the processes have logged: all of them, or NODE.

    A node is a process by its name: web-1, balancer-1, db-1, mover, controller, keeper.
    """
    folder = Place(context.root()).logs
    files = _files(folder, node)
    followers = {file: Follower(file) for file in files}
    named = node is None
    for file in files:
        _print(file, b"\n".join(tail(file, lines)), named=named)
    while follow:
        for file in _files(folder, node):
            follower = followers.setdefault(file, Follower(file, offset=0))
            _print(file, follower.read(), named=named)
        time.sleep(_LOOK_S)


def _files(folder: Path, node: str | None) -> list[Path]:
    found = sorted(folder.glob("*.log"))
    if not found:
        raise UsageError(f"There are no logs in {folder} yet.", hint="Start the service with `tenfold up`.")
    chosen = [file for file in found if node in (None, file.stem)]
    if not chosen:
        known = ", ".join(file.stem for file in found)
        raise UsageError(f"There is no log of {node!r}.", hint=f"There are logs of {known}.")
    return chosen


def _print(file: Path, data: bytes, *, named: bool) -> None:
    mark = f"{file.stem:<10} | " if named else ""
    for line in data.decode(errors="replace").splitlines():
        click.echo(f"{mark}{line}")
    sys.stdout.flush()
