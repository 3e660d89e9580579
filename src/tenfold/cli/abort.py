"""`tenfold abort`: undo the open move. Exit 0 when everything is as it was before it."""

from __future__ import annotations

import json

import click

from tenfold.cli.main import Context
from tenfold.cli.moving import BEGIN_LIMIT_S, Display, ask, follow
from tenfold.control.place import Place
from tenfold.control.words import end_words
from tenfold.core.errors import TenfoldError


@click.command()
@click.option("--yes", is_flag=True, help="Accepted like everywhere; an abort is not asked about.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def command(context: Context, yes: bool, as_json: bool) -> int:
    """Undo the move that is open, and wait until everything is as it was before it.

    Refused once the move has passed its point of no return: then it finishes, and `tenfold descend` leads back.
    """
    place = Place(context.root())
    begun = ask(place, "abort", BEGIN_LIMIT_S)["move"]
    move = follow(place, begun["id"], Display())
    click.echo(json.dumps({"move": move}, indent=2) if as_json else end_words(move))
    if move["result"] != "undone":
        raise TenfoldError("The move was past its point of no return by then.", code="TF-NO-RETURN")
    return 0
