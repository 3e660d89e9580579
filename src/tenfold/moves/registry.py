"""The moves by name. A move's module is imported when it is wanted: planning one must not cost all of them."""

from __future__ import annotations

import importlib

from tenfold.core.errors import UsageError
from tenfold.moves.context import Builder

BUILDERS: dict[str, str] = {
    "copy_to_postgres": "tenfold.moves.copy_to_postgres:build",
    "return_to_sqlite": "tenfold.moves.return_to_sqlite:build",
    "drop_way_back": "tenfold.moves.drop_way_back:build",
    "put_balancers": "tenfold.moves.put_balancers:build",
    "take_balancers": "tenfold.moves.take_balancers:build",
    "change_nodes": "tenfold.moves.change_nodes:build",
}
"""Name: where its builder (`async def build(context) -> Move`) is."""


def find_builder(name: str) -> Builder:
    """The builder of a move. Raises `UsageError` for a name that this version does not know."""
    place = BUILDERS.get(name)
    if place is None:
        raise UsageError(f'There is no move "{name}".', hint=f"The moves are: {', '.join(BUILDERS)}.")
    module, _, attribute = place.partition(":")
    builder: Builder = getattr(importlib.import_module(module), attribute)
    return builder
