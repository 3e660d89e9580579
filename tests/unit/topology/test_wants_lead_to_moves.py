"""What climb and descend want, which moves lead there, and that the data stays where it is whatever else changes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tenfold.core.errors import SpecError, UsageError
from tenfold.topology.diff import Effect, diff
from tenfold.topology.map import Map, ServerMap, decode, encode, map_of
from tenfold.topology.spec import parse_spec
from tenfold.topology.steps import find_step, step_of
from tenfold.topology.wants import (
    Wants,
    climb_wants,
    decode_wants,
    descend_wants,
    encode_wants,
    moves_between,
    wanted_map,
    wants_of,
)

TEXT = '[service]\nname = "shop"\napp = "shop.app:app"\n'
ONE = map_of(parse_spec(TEXT), root="/srv", state="/srv/.tenfold", previous=None)
SERVER = ServerMap("127.0.0.1", 5432, "shop", "shop_web", "secrets/database-web", 16)


def with_database(**changes: Any) -> Map:
    made = msgspec.structs.replace(ONE, database=msgspec.structs.replace(ONE.database, **changes))
    return msgspec.structs.replace(made, step=step_of(made))


TWO = with_database(backend="postgres", server=SERVER, way_back=True)
FINAL = with_database(backend="postgres", server=SERVER)
POSTGRES, SQLITE = Wants("postgres"), Wants("sqlite")


@pytest.mark.parametrize(
    ("current", "step", "wants", "moves"),
    [
        (ONE, None, POSTGRES, ("copy_to_postgres",)),
        (ONE, "2", POSTGRES, ("copy_to_postgres",)),
        (ONE, "1", SQLITE, ()),
        (TWO, None, POSTGRES, ()),
        (TWO, "1", POSTGRES, ()),
        (TWO, "2", POSTGRES, ()),
    ],
)
def test_climbing(current: Map, step: str | None, wants: Wants, moves: tuple[str, ...]) -> None:
    for only in {False, step is not None and step != "1"}:
        found = climb_wants(current, find_step(step) if step else None, only=only)
        assert (found, moves_between(current, found)) == (wants, moves)


@pytest.mark.parametrize(
    ("current", "step", "wants", "moves"),
    [
        (TWO, None, SQLITE, ("return_to_sqlite",)),
        (TWO, "1", SQLITE, ("return_to_sqlite",)),
        (TWO, "2", POSTGRES, ()),
        (ONE, None, SQLITE, ()),
        (ONE, "1", SQLITE, ()),
    ],
)
def test_descending(current: Map, step: str | None, wants: Wants, moves: tuple[str, ...]) -> None:
    found = descend_wants(current, find_step(step) if step else None)
    assert (found, moves_between(current, found)) == (wants, moves)


def test_nobody_descends_upwards() -> None:
    with pytest.raises(UsageError, match=r"is on step 1, which is below step 2"):
        descend_wants(ONE, find_step(2))


def test_after_finalize_the_way_back_is_refused_with_the_dump_command() -> None:
    with pytest.raises(UsageError) as caught:
        moves_between(FINAL, SQLITE)
    assert caught.value.code == "TF-NO-WAY-BACK"
    assert "pg_dump" in caught.value.hint
    assert "-h 127.0.0.1 -p 5432" in caught.value.hint


def test_the_wanted_map_differs_by_a_move_and_nothing_else() -> None:
    for current, wants, step in ((ONE, POSTGRES, 2), (TWO, SQLITE, 1)):
        wanted = wanted_map(current, wants)
        plan = diff(current, wanted)
        assert plan.effect is Effect.MOVE
        assert {change.path for change in plan.changes} == {"step", "database.backend"}
        assert wanted.step == step
        assert wants_of(wanted) == wants
    assert wanted_map(TWO, POSTGRES) is TWO


@pytest.mark.parametrize("text", ["", "[public]\nport = 81\n", '[database]\nhold = "1s"\n'])
@pytest.mark.parametrize("current", [TWO, FINAL, with_database(standby="postgres", server=SERVER, gate="held")])
def test_a_spec_that_is_edited_leaves_the_data_where_it_is(current: Map, text: str) -> None:
    after = map_of(parse_spec(TEXT + text), root="/srv", state="/srv/.tenfold", previous=current)
    kept = ("backend", "server", "standby", "gate", "way_back")
    assert [getattr(after.database, name) for name in kept] == [getattr(current.database, name) for name in kept]


def test_another_pool_is_a_change_of_processes() -> None:
    current = map_of(parse_spec(TEXT), root="/srv", state="/srv/.tenfold", previous=TWO)
    after = map_of(parse_spec(TEXT + "[database]\npool = 4\n"), root="/srv", state="/srv/.tenfold", previous=current)
    assert after.database.server == msgspec.structs.replace(SERVER, pool=4)
    assert diff(current, after).effect is Effect.NEW_PROCESSES


def test_a_map_with_a_server_comes_back() -> None:
    for current in (ONE, TWO, FINAL):
        assert decode(encode(current), "map.json") == current


def test_wants_are_written_and_read() -> None:
    for wants in (POSTGRES, SQLITE):
        assert decode_wants(encode_wants(wants), "wants.json") == wants
    assert decode_wants(b"{}", "wants.json") == SQLITE


@pytest.mark.parametrize("data", [b"", b"[]", b'{"database": "mysql"}', b"\xff"])
def test_damaged_wants_are_named(data: bytes) -> None:
    with pytest.raises(SpecError, match=r"wants.json does not say what is wanted"):
        decode_wants(data, "wants.json")
