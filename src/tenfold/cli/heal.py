"""`tenfold heal`: undoes every fault that is still in force."""

from __future__ import annotations

import asyncio
import json

import click

from tenfold.cli.living import LiveDeployment
from tenfold.cli.main import Context
from tenfold.cli.proving import target_of
from tenfold.control.place import Place
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.prove.faults import Faults


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print what was undone as JSON.")
@click.pass_obj
def command(context: Context, as_json: bool) -> int:
    """Undo all faults, also those of a prover that was killed."""
    place = Place(context.root())
    current = place.read_map()
    target = target_of(place, current) if current is not None else None
    faults = Faults(LiveDeployment(place), SYSTEM_CLOCK, target)
    done = asyncio.run(faults.heal())
    click.echo(json.dumps({"done": done}) if as_json else "\n".join(done) or "Nothing is broken on purpose here.")
    return 0
