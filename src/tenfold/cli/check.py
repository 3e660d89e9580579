"""`tenfold check`: does the service keep its contract? Exit 1 on a breach."""

from __future__ import annotations

import click
import msgspec

from tenfold.cli.main import EXIT_ERROR, Context
from tenfold.control.audit import Audit, audit, opted_down, pinned_for_ever, refused, several_keys
from tenfold.control.migrate import check_revisions, load_service
from tenfold.control.place import Place
from tenfold.core.errors import ContractError, SpecError, TenfoldError
from tenfold.topology.map import Map


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.pass_obj
def command(context: Context, as_json: bool) -> int:
    """Check the service against the contract without starting it: tables, keys, statements, transactions, revisions.

    It also lists what is allowed but costs something later: tables that stay on one shard, transactions with several
    keys, transactions below SERIALIZABLE.
    """
    place = Place(context.root())
    wanted = place.wanted(place.read_spec(), None)
    found = _look(wanted, place)
    click.echo(msgspec.json.format(msgspec.json.encode(found)).decode() if as_json else "\n".join(_lines(found)))
    return EXIT_ERROR if found.breaches else 0


def _look(wanted: Map, place: Place) -> Audit:
    try:
        service = load_service(wanted)
    except (SpecError, ContractError) as error:
        return refused(wanted.service, error)
    found = audit(wanted.service, service.database, place.root)
    if found.breaches:
        return found
    try:
        check_revisions(service, place.root)
    except TenfoldError as error:
        return msgspec.structs.replace(found, breaches=refused(wanted.service, error).breaches)
    return found


def _lines(found: Audit) -> list[str]:
    lines = [f"{found.service}:"]
    lines += [f"  table        {table.name:<24} {table.home}{' (plain)' * table.plain}" for table in found.tables]
    lines += [f"  transaction  {each.name:<24} {_key(each.key)}" for each in found.transactions]
    lines += [f"  statement    {each.name:<24} {', '.join(each.runs_in)}" for each in found.statements]
    lines += _costs(found)
    for breach in found.breaches:
        where = f"{breach.where}: " if breach.where else ""
        lines += ["", f"{click.style(breach.code, fg='red', bold=True)} {where}{breach.message}"]
        lines += [f"  {breach.hint}"] if breach.hint else []
    count = len(found.breaches)
    verdict = f"{count} {'breach' if count == 1 else 'breaches'} of the contract." if count else "The contract is kept."
    return [*lines, "", verdict]


def _key(key: tuple[str, ...]) -> str:
    return f"key {', '.join(key)}" if key else "no key: home"


def _costs(found: Audit) -> list[str]:
    """What is allowed, and will be felt on a later step."""
    lines = [f"  {table.name} stays on one shard for ever." for table in pinned_for_ever(found)]
    lines += [
        f"  {each.name} spans {len(each.key)} keys: one local commit only while they live together."
        for each in several_keys(found)
    ]
    lines += [f"  {each.name} runs below SERIALIZABLE (isolation {each.isolation})." for each in opted_down(found)]
    return ["", "Allowed, and felt later:", *lines] if lines else []
