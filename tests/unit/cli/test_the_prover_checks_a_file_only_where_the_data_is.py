"""SQLite's own check at the end of a proof is of the file that holds the data, and of no other."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tenfold.cli.proving import database_of
from tenfold.topology.map import map_of
from tenfold.topology.spec import parse_spec

SPEC = '[service]\nname = "shop"\napp = "shop.app:app"\n'


def test_on_step_2_there_is_no_file_to_check() -> None:
    one = map_of(parse_spec(SPEC), root="/srv", state="/srv/.tenfold", previous=None)
    assert database_of(one) == Path("/srv/.tenfold/data/shop.db")
    two = msgspec.structs.replace(one, database=msgspec.structs.replace(one.database, backend="postgres"))
    assert database_of(two) is None
