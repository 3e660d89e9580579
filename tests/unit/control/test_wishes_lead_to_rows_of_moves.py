"""What a command asks for: the wants, the moves in their order, what follows one that is finished. No processes."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from tenfold.control.moving import command_words
from tenfold.control.task import Task, task_of
from tenfold.control.wishes import Wish, change_of, following, wish_of
from tenfold.core.errors import UsageError
from tenfold.topology.map import Map, NodeMap, ServerMap, map_of
from tenfold.topology.spec import parse_spec
from tenfold.topology.steps import step_of
from tenfold.topology.targets import target_of
from tenfold.topology.wants import Wants, wants_of

SPEC = '[service]\nname = "shop"\napp = "shop.app:app"\n'
SERVER = ServerMap("127.0.0.1", 5432, "shop", "shop_web", "secrets/database-web", 16)
WEB = tuple(NodeMap(f"web-{number}", "web", address=f"127.0.0.1:2000{number}", version="v1") for number in (1, 2))
BALANCERS = tuple(NodeMap(f"balancer-{number}", "balancer") for number in (1, 2))


def made(more: str = "", **changes: Any) -> Map:
    found = map_of(parse_spec(SPEC + more), root="/srv", state="/srv/.tenfold", previous=None)
    one = (msgspec.structs.replace(WEB[0], address=""),)
    found = msgspec.structs.replace(found, **{"nodes": one, **changes})
    return msgspec.structs.replace(found, step=step_of(found))


def on_server(current: Map, *, way_back: bool = True) -> Map:
    database = msgspec.structs.replace(current.database, backend="postgres", server=SERVER, way_back=way_back)
    moved = msgspec.structs.replace(current, database=database)
    return msgspec.structs.replace(moved, step=step_of(moved))


def behind_balancers(current: Map, web: tuple[NodeMap, ...] = WEB) -> Map:
    public = msgspec.structs.replace(current.public, door="balancer")
    moved = msgspec.structs.replace(current, public=public, nodes=(*web, *BALANCERS))
    return msgspec.structs.replace(moved, step=step_of(moved))


ONE = made()
TWO, FINAL = on_server(ONE), on_server(ONE, way_back=False)
THREE = behind_balancers(TWO)
UP = ("copy_to_postgres", "put_balancers", "change_nodes")
DOWN = ("change_nodes", "take_balancers", "return_to_sqlite")


@pytest.mark.parametrize(
    ("current", "message", "moves", "step"),
    [
        (ONE, {"to": "climb"}, UP[:1], 2),
        (ONE, {"to": "climb", "step": "separate-database", "only": True}, UP[:1], 2),
        (ONE, {"to": "climb", "step": "load-balancer", "only": True}, UP[1:], 1),
        (ONE, {"step": "2"}, UP[:1], 2),
        (ONE, {"step": "3"}, UP, 3),
        (ONE, {"step": "1"}, (), 1),
        (ONE, {}, (), 1),
        (ONE, {"to": "finalize"}, (), 1),
        (ONE, {"to": "descend"}, (), 1),
        (ONE, {"to": "deploy", "version": "v2"}, ("change_nodes",), 1),
        (ONE, {"to": "deploy", "version": "v1"}, (), 1),
        (ONE, {"to": "rollback", "version": "v0"}, ("change_nodes",), 1),
        (TWO, {"to": "climb"}, UP[1:], 3),
        (TWO, {"to": "descend"}, DOWN[2:], 1),
        (TWO, {"step": "1"}, DOWN[2:], 1),
        (TWO, {"to": "finalize"}, ("drop_way_back",), 2),
        (TWO, {}, (), 2),
        (FINAL, {"to": "finalize"}, (), 2),
        (THREE, {"to": "climb"}, (), 3),
        (THREE, {"to": "descend"}, DOWN[:2], 2),
        (THREE, {"to": "descend", "step": "1"}, DOWN, 1),
        (THREE, {"to": "scale", "web": 4}, ("change_nodes",), 3),
        (THREE, {"to": "scale", "web": 4, "worker": 1}, ("change_nodes",), 3),
        (ONE, {"to": "scale", "worker": 2}, ("change_nodes",), 1),
        (ONE, {"to": "scale", "worker": 0}, (), 1),
        (THREE, {"to": "scale", "web": 2}, (), 3),
        (THREE, {"to": "deploy", "version": "v2"}, ("change_nodes",), 3),
    ],
)
def test_a_wish(current: Map, message: dict[str, Any], moves: tuple[str, ...], step: int) -> None:
    wish = wish_of(current, None, message, current)
    assert (wish.moves, wish.step) == (moves, step)


def test_what_commands_before_wanted_is_still_wanted() -> None:
    assert wish_of(ONE, Wants("postgres", version="v1"), {}).moves == UP[:1]


@pytest.mark.parametrize(
    ("current", "message", "says"),
    [
        (ONE, {"to": "climb", "step": "4"}, "Step 4 .* does not exist yet"),
        (ONE, {"to": "climb", "step": "x"}, "There is no step"),
        (ONE, {"to": "jump"}, "Nobody knows how to"),
        (ONE, {"to": "descend", "step": "2"}, "is on step 1"),
        (FINAL, {"to": "descend"}, "The way back to SQLite was closed"),
        (ONE, {"to": "scale", "web": 4}, "has no load balancer yet"),
        (THREE, {"to": "scale", "web": 0}, "cannot run 0 web servers"),
        (THREE, {"to": "scale", "web": "many"}, "is no number of processes"),
        (THREE, {"to": "scale", "web": True}, "is no number of processes"),
        (THREE, {"to": "scale"}, "Nothing is to be scaled"),
        (ONE, {"to": "scale", "worker": -1}, "cannot run -1 workers"),
    ],
)
def test_a_wish_that_cannot_be(current: Map, message: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        wish_of(current, None, message)


def test_only_a_deploy_takes_over_what_tenfold_toml_says_by_now() -> None:
    edited = msgspec.structs.replace(THREE, settings={"colour": "blue"})
    assert wish_of(THREE, None, {"to": "deploy", "version": "v2"}, edited).settings
    for message in ({"to": "scale", "web": 3}, {"to": "rollback", "version": "v0"}, {"to": "descend"}):
        assert not wish_of(THREE, None, message, edited).settings


@pytest.mark.parametrize(
    ("current", "more", "moves"),
    [
        (ONE, "", ()),
        (ONE, '[web]\nmetrics = "off"\n', ()),
        (ONE, '[web]\nkeep_alive = "9s"\n', ("change_nodes",)),
        (ONE, "[web]\nprocesses = 4\n", ()),
        (THREE, "[web]\nprocesses = 4\n", ("change_nodes",)),
        (THREE, "[web]\nprocesses = 2\n", ()),
        (THREE, '[web]\nkeep_alive = "9s"\n', ("change_nodes",)),
    ],
)
def test_an_edited_tenfold_toml_needs_a_move_only_for_other_processes(
    current: Map, more: str, moves: tuple[str, ...]
) -> None:
    wish = change_of(current, made(more, nodes=()))
    assert (wish.moves, wish.settings) == (moves, True)
    assert wish.wants == wants_of(current)


def row(current: Map, wants: Wants) -> list[str]:
    """The moves that come one after the other by themselves, each finished as it should."""
    found, last = [], ""
    while moves := following(current, wants, last):
        last = moves[0]
        found.append(last)
        current = target_of(last, current, wants)
        assert len(found) < 10, found
    return found


@pytest.mark.parametrize(
    ("current", "step", "moves"), [(ONE, "3", UP), (TWO, "3", UP[1:]), (THREE, "1", DOWN), (THREE, "2", DOWN[:2])]
)
def test_a_row_of_moves_goes_on_by_itself_until_the_wants_are_met(
    current: Map, step: str, moves: tuple[str, ...]
) -> None:
    wish = wish_of(current, None, {"step": step})
    assert tuple(row(current, wish.wants)) == wish.moves == moves


def test_a_move_that_has_not_brought_about_what_it_is_for_is_not_repeated() -> None:
    assert following(ONE, Wants("postgres", version="v1"), "copy_to_postgres") == ()
    assert following(ONE, Wants("postgres", version="v1"), "change_nodes") == UP[:1]


def test_a_way_that_was_closed_meanwhile_is_not_gone() -> None:
    assert following(FINAL, Wants(version="v1"), "change_nodes") == ()


def test_a_mover_is_told_all_of_a_wish() -> None:
    words = command_words(Wish(Wants(web=3), ("put_balancers", "change_nodes"), 3, settings=True, made="v7"))
    assert words[:3] == ("--moves", "put_balancers,change_nodes", "--wants")
    assert re.fullmatch(r'\{"web":3\}', words[3])
    assert words[4:] == ("--made", "v7", "--settings")
    assert task_of(words[1], words[3], settings=True, made="v7", back=False) == Task(
        ("put_balancers", "change_nodes"), Wants(web=3), settings=True, made="v7"
    )
