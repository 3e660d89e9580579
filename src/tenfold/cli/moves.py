"""`tenfold moves`: the history, from the journal of the moves; it needs nothing that runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from tenfold.cli.main import Context
from tenfold.control.place import Place
from tenfold.control.telling import facts_of
from tenfold.control.words import Facts, took_words
from tenfold.core.journal import read_journal
from tenfold.moves.base import history


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the moves as JSON.")
@click.pass_obj
def command(context: Context, as_json: bool) -> None:
    """List the moves of this deployment: when, what, how it ended, how many rows, how long writes waited.

    `change_nodes +4 -4 v7`: four web servers with version v7 have taken the place of four others.
    Results: `finished`, `undone` (with the reason; everything was as before), `open` (under way, or it waits for its
    mover: `tenfold status` shows it, `tenfold abort` undoes it). It needs nothing that runs.
    """
    found = [facts_of(state) for state in history(read_journal(Place(context.root()).moves_file))]
    if as_json:
        click.echo(json.dumps({"moves": found}, indent=2))
    else:
        click.echo("\n".join(_lines(found)) if found else "There was no move yet. `tenfold plan 2` shows the first.")


def _lines(found: list[Facts]) -> list[str]:
    lines = [f"{'when (UTC)':<20} {'move':<26} {'result':<9} {'rows':>12} {'held':>10} {'took':>9}"]
    for move in found:
        when = datetime.fromtimestamp(move["begun_us"] / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
        rows = move["facts"].get("rows")
        held = f"{move['facts']['held_ms']:g} ms"
        took = took_words(move["took_s"])
        count = f"{rows:,}" if isinstance(rows, int) else "-"
        lines.append(f"{when:<20} {_what(move):<26} {move['result'] or 'open':<9} {count:>12} {held:>10} {took:>9}")
        if move["reason"]:
            lines.append(f"{'':<21}{move['reason'].splitlines()[0]}")
    return lines


def _what(move: Facts) -> str:
    """The move; with the web servers that came and went, and their version, where it has changed those."""
    facts = move["facts"]
    counts = [f"{sign}{len(facts[name])}" for name, sign in (("starts", "+"), ("stops", "-")) if facts.get(name)]
    version = [str(facts["version"])] if facts.get("version") else []
    return " ".join([move["move"], *counts, *version])
