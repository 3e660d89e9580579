"""`tenfold scale`: more or fewer web servers and workers, live."""

from __future__ import annotations

import click

from tenfold.cli.main import Context
from tenfold.cli.moving import Asked, carry_out

ROLES = ("web", "worker")


@click.command()
@click.argument("sizes", nargs=-1, required=True, metavar="web=N worker=N")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def command(context: Context, sizes: tuple[str, ...], yes: bool, as_json: bool) -> int:
    """Run N web servers (1 to 64) behind the balancers, from step 3 on, or N workers (0 to 64), on every step, while
    the service goes on.

    New ones start beside the old, get requests or jobs once they are ready; those that are too many (the highest
    numbers) finish what they have begun and leave. Without workers the web servers run the jobs. A number stays, over
    `down` and `up` too, until it is scaled again or edited in tenfold.toml (`web.processes`, `workers.processes`).

    For example: `tenfold scale web=4 worker=2`. Each process is one core's worth of Python; `tenfold status` shows
    them.
    """
    return carry_out(context, Asked("scale", sizes_in(sizes), again=True, yes=yes, as_json=as_json))


def sizes_in(words: tuple[str, ...]) -> dict[str, object]:
    """The sizes in words such as `web=4`. Raises `click.UsageError` for words that are none."""
    found: dict[str, object] = {}
    for word in words:
        role, _, number = word.partition("=")
        if role not in ROLES:
            raise click.UsageError(f"{word!r} is no size. What can be scaled: {', '.join(ROLES)}, as in web=4.")
        if not number.removeprefix("-").isascii() or not number.removeprefix("-").isdigit():
            raise click.UsageError(f"{word!r} has no number. Write it as in {role}=4.")
        if role in found:
            raise click.UsageError(f"{role} is there twice.")
        found[role] = int(number)
    return found
