"""`tenfold break`: one fault in the running deployment."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click

from tenfold.cli.living import LiveDeployment
from tenfold.cli.main import EXIT_ERROR, Context
from tenfold.cli.proving import running_map, target_of
from tenfold.control.place import Place
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.errors import UsageError
from tenfold.core.units import parse_duration
from tenfold.prove.faults import KINDS, Faults, NodeFacts, select, share

LASTING = ("pause", "clock-step", "disk-full")


@click.command()
@click.argument("node", metavar="ROLE|NODE")
@click.option("--how", type=click.Choice(list(KINDS)), default="kill", show_default=True, help="The fault.")
@click.option("--for", "lasting", default="10s", show_default=True, help="How long it lasts, where it does.")
@click.option(
    "--amount", type=click.Choice(["one", "minority", "all"]), default="one", show_default=True, help="Of a role."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print what became of it as JSON.")
@click.pass_obj
def command(context: Context, /, node: str, **options: Any) -> int:
    """Break a node on purpose: by its role or its name (web-2, db-1, balancer-1).

    \b
      web         a web server: its process is killed or stands still
      worker      a worker: the jobs that it runs are run again
      balancer    the process beside HAProxy, which serves on without it
      haproxy     the HAProxy of a balancer: the other balancer goes on
      database    the database server that Tenfold runs (step 2)
      keeper, controller

    Several of a role are chosen in turn: --amount says how many at once. Undone by itself, or by `tenfold heal`.
    Watch with `tenfold status` and `tenfold logs -f`.
    """
    place = Place(context.root())
    target = target_of(place, running_map(place))
    deployment = LiveDeployment(place)
    how, amount, lasting = options["how"], options["amount"], options["lasting"]
    victims = share(select(_running(deployment, node), node), amount)
    words = f"{how} " + ", ".join(f"{victim.name} (pid {victim.pid})" for victim in victims)
    words += f" for {lasting}" if how in LASTING else ""
    if not options["yes"]:
        click.confirm(f"{words}?", abort=True)
    click.echo(f"  {words}; watch with `tenfold status` and `tenfold logs -f`", err=True)
    faults = Faults(deployment, SYSTEM_CLOCK, target)
    made = asyncio.run(faults.make(how, node, parse_duration(lasting), amount=amount))
    click.echo(json.dumps({"detail": made.detail, "effect": made.effect}) if options["as_json"] else made.detail)
    return 0 if made.effect else EXIT_ERROR


def _running(deployment: LiveDeployment, wanted: str) -> list[NodeFacts]:
    """The nodes that run. Raises `UsageError` when a worker is wanted where web servers run the jobs."""
    nodes = deployment.nodes()
    if wanted == "worker" and not any(node.role == "worker" for node in nodes):
        raise UsageError(
            "There is no worker: jobs run in the web servers.",
            hint="`tenfold break web` kills one with its jobs; `tenfold scale worker=1` starts a worker.",
        )
    return nodes
