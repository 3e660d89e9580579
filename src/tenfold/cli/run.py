"""`tenfold run`: the keeper in the foreground.

This process becomes the keeper (exec), so that the process which a container or systemd watches and signals is the one
that drains: SIGTERM ends it with 0 when everything has been answered. As pid 1 it reaps orphans.
"""

from __future__ import annotations

import os
import sys

import click

from tenfold.cli.main import Context
from tenfold.control.deployment import foreground_command
from tenfold.control.place import Place


@click.command()
@click.option("--host", help="Listen here instead of public.host; containers want 0.0.0.0.")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen there instead of public.port.")
@click.pass_obj
def command(context: Context, host: str | None, port: int | None) -> None:
    """Run the service in the foreground until SIGTERM or Ctrl-C, with the logs on standard output."""
    words = foreground_command(Place(context.root(), host, port))
    sys.stdout.flush()
    os.execv(words[0], words)  # noqa: S606 - our own interpreter, no shell
