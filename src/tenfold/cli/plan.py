"""`tenfold plan`: what would change, and what would wait for how long. Changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tenfold.cli.deploy import source_in
from tenfold.cli.main import Context
from tenfold.cli.moving import Asked, planned
from tenfold.cli.scale import sizes_in
from tenfold.control.place import Place
from tenfold.control.words import plan_words


@click.command()
@click.argument("words", nargs=-1, metavar="[STEP | scale web=N | deploy [PATH] | rollback [VERSION]]")
@click.option("--yes", is_flag=True, help="Install a program that is missing without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON; `empty` is true when nothing is to do.")
@click.pass_obj
def command(context: Context, words: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Say what would be done, and do nothing.

    With STEP (a number or a name): what leads to that step from here, stage by stage, with what waits meanwhile, for
    how long, and where the point of no return is. With the words of another command: what that one would do. Without:
    what leads from what runs to what is wanted (tenfold.toml and the commands so far); nothing, when all is well.
    """
    op, fields = _question(words)
    plan = planned(Place(context.root()), Asked(op, fields, yes=yes, as_json=as_json))
    click.echo(json.dumps(plan, indent=2) if as_json else "\n".join(plan_words(plan)))


def _question(words: tuple[str, ...]) -> tuple[str, dict[str, object]]:
    """The operation and its fields that the words of another command mean. Raises `click.UsageError`."""
    first, rest = words[0] if words else None, words[1:]
    if first == "scale" and rest:
        return "scale", sizes_in(rest)
    if len(rest) <= 1:
        word = rest[0] if rest else None
        if first == "deploy":
            return "deploy", source_in(Path(word) if word else None)
        if first == "rollback":
            return "rollback", {"version": word}
        if first in ("climb", "descend"):
            return first, {"step": word}
    if first == "scale" or rest:
        raise click.UsageError(f"{' '.join(words)!r} is nothing to plan; for example: tenfold plan scale web=4.")
    return "", {"step": first}
