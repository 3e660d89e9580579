"""`tenfold up`: the service runs and answers when this ends with 0; else nothing is left of the attempt."""

from __future__ import annotations

import json

import click

from tenfold.cli.main import Context
from tenfold.control.deployment import UP_LIMIT_S, Deployment, Running
from tenfold.control.place import Place
from tenfold.control.standing import address_of, tls_address_of
from tenfold.control.words import page_words
from tenfold.core.units import parse_duration
from tenfold.topology.targets import waiting


def say(text: str) -> None:
    """A line of progress, on standard error."""
    click.echo(click.style(f"  {text}", dim=True), err=True)


@click.command()
@click.option("--host", help="Listen here instead of public.host; 0.0.0.0 or :: opens it to the network.")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen there instead of public.port; 0 takes a free one.")
@click.option("--timeout", default=f"{UP_LIMIT_S:g}s", show_default=True, help="Give up after this long.")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
@click.pass_obj
def command(context: Context, host: str | None, port: int | None, timeout: str, as_json: bool) -> None:
    """Start the service in the background and wait until it answers.

    Run again, it does nothing that is done already: it takes over what a killed keeper left running, and brings a
    changed tenfold.toml to the processes that run.
    """
    deployment = Deployment(Place(context.root(), host, port), say)
    running = deployment.bring_up(parse_duration(timeout))
    facts = deployment.facts_with_page()
    if as_json:
        click.echo(json.dumps({**facts, "fresh": running.fresh, "changed": running.changed}, indent=2))
    else:
        click.echo(_words(context, running, page_words(facts["dashboard"])))


def _words(context: Context, running: Running, page: str) -> str:
    current = running.current
    option = f" --dir {context.chosen}" if context.chosen else ""
    lines = [f"{current.service} {'runs' if running.fresh else 'runs already'}."]
    lines += [f"  changed: {change}" for change in running.changed]
    lines += ["", f"  service   {address_of(current)}"]
    lines += [f"            {tls_address_of(current)}"] if tls_address_of(current) else []
    metrics = current.web.metrics == "public" or (current.web.metrics == "loopback" and current.public.door == "web")
    lines += [f"  metrics   {address_of(current)}/metrics"] if metrics else []
    lines += [f"  dashboard {page}"] if page else []
    lines += [f"  {sentence}" for sentence in waiting(current)]
    lines += [
        f"  state     {current.state}",
        "",
        f"  tenfold{option} status    what runs",
        f"  tenfold{option} logs -f   what it says",
        f"  tenfold{option} down      stops it",
    ]
    return "\n".join(lines)
