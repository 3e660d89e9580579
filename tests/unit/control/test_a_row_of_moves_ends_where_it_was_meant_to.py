"""What a controller does after each move: the next one of the row, or what runs becomes what is wanted."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenfold.control.changes import Changes
from tenfold.control.coding import Coding
from tenfold.control.commands import Commands
from tenfold.control.place import Place
from tenfold.control.wishes import Wish
from tenfold.core.clock import ManualClock
from tenfold.core.errors import TenfoldError, UsageError
from tenfold.hosts import wire
from tenfold.moves.base import State
from tenfold.topology.map import Map, NodeMap
from tenfold.topology.wants import Wants, wants_of

SPEC = '[service]\nname = "small"\napp = "a:b"\n'
STATE = State(id="put_balancers-1", move="put_balancers", result="finished", facts={"then": ["change_nodes"]})


class FakeMoving:
    """Notes the wishes whose first move was begun; `error` is raised instead, once."""

    def __init__(self) -> None:
        self.begun: list[Wish] = []
        self.last = State()
        self.error: TenfoldError | None = None

    def state(self) -> State:
        return self.last

    def refuse_while_open(self) -> None:
        if self.last.open:
            raise UsageError("A move is open.")

    async def start(self, wish: Wish) -> State:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        self.begun.append(wish)
        self.last = State(id=f"{wish.moves[0]}-2", move=wish.moves[0], facts={"then": list(wish.moves[1:])})
        return self.last


class FakeBringingUp:
    """Settles, and finds `gone` nodes missing."""

    def __init__(self) -> None:
        self.settled = 0
        self.gone: list[NodeMap] = []
        self.started: list[str] = []

    async def settle(self, current: Map) -> None:
        self.settled += 1

    async def missing(self, current: Map) -> list[NodeMap]:
        return self.gone

    async def with_version(self, current: Map, version: str) -> Map:
        return current

    async def start_all(self, current: Map, nodes: list[NodeMap]) -> None:
        self.started += [node.name for node in nodes]


class Scene:
    """A deployment on one server with version v1, without processes."""

    def __init__(self, root: Path) -> None:
        (root / "tenfold.toml").write_text(SPEC)
        (root / "a.py").write_text("b = 1\n")
        self.place = Place(root)
        self.place.prepare()
        self.coding = Coding(self.place, ManualClock())
        self.moving, self.coming_up = FakeMoving(), FakeBringingUp()
        self.noted: list[str] = []
        first = self.place.wanted(self.place.read_spec(), None)
        version, _ = asyncio.run(self.coding.for_start(None))
        self.map = msgspec.structs.replace(first, nodes=(NodeMap("web-1", "web", version=version),))
        self.place.write_map(self.map)
        self.commands = self.anew()

    def anew(self) -> Commands:
        """As a controller that has just been started."""
        crew: Any = None
        return Commands(
            self.place,
            lambda what, **_fields: self.noted.append(what),
            moving=self.moving,  # type: ignore[arg-type]
            changes=Changes(self.place, crew, lambda *_a, **_k: None),
            coding=self.coding,
            bringing_up=self.coming_up,  # type: ignore[arg-type]
        )

    def behind_balancers(self) -> Map:
        public = msgspec.structs.replace(self.map.public, door="balancer")
        node = msgspec.structs.replace(self.map.nodes[0], address="127.0.0.1:20001")
        nodes = (node, NodeMap("balancer-1", "balancer"), NodeMap("balancer-2", "balancer"))
        changed = msgspec.structs.replace(self.map, public=public, nodes=nodes)
        return self.place.change_map(lambda _found: changed)

    def begin(self, **message: Any) -> dict[str, Any]:
        return asyncio.run(self.commands.begin(self.map, message))

    def moved(self, state: State) -> None:
        self.moving.last = state
        current = self.place.read_map()
        assert current is not None
        asyncio.run(self.commands.moved(current, state))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_command_begins_its_first_move_and_names_the_others(scene: Scene) -> None:
    answer = scene.begin(to="climb", step="load-balancer", only=True)
    assert answer["then"] == ["change_nodes"]
    assert answer["move"]["move"] == "put_balancers"
    assert scene.place.read_wants() == Wants(balancers=2, version="v1")
    assert scene.commands.what_follows(scene.moving.last) == {"then": ["change_nodes"], "error": None}


def test_a_finished_move_is_followed_by_the_next_one(scene: Scene) -> None:
    scene.begin(to="climb", step="load-balancer", only=True)
    scene.behind_balancers()
    scene.moved(STATE)
    assert [wish.moves for wish in scene.moving.begun] == [("put_balancers", "change_nodes"), ("change_nodes",)]
    assert scene.place.read_wants() == Wants(balancers=2, version="v1")


def test_also_by_a_controller_that_was_started_in_between(scene: Scene) -> None:
    scene.begin(to="climb", step="load-balancer", only=True)
    scene.behind_balancers()
    scene.commands = scene.anew()
    scene.moved(STATE)
    assert scene.moving.begun[-1].moves == ("change_nodes",)


def test_the_last_move_of_a_row_leaves_nothing_wanted(scene: Scene) -> None:
    scene.place.write_wants(Wants(balancers=2, version="v1"))
    scene.moved(replace(STATE, move="put_balancers", facts={"then": []}))  # which has not brought it about
    current = scene.place.read_map()
    assert current is not None
    assert scene.place.read_wants() == wants_of(current) == Wants(version="v1")
    assert scene.moving.begun == []
    assert scene.coming_up.settled == 1


def test_an_undone_move_ends_the_row(scene: Scene) -> None:
    scene.begin(to="climb", step="load-balancer", only=True)
    undone = replace(STATE, result="undone", back=True)
    scene.moved(undone)
    assert len(scene.moving.begun) == 1
    assert scene.place.read_wants() == Wants(version="v1")
    assert scene.commands.what_follows(undone) == {"then": [], "error": None}


def test_a_next_move_that_cannot_begin_is_told_and_ends_the_row(scene: Scene) -> None:
    scene.begin(to="climb", step="load-balancer", only=True)
    current = scene.behind_balancers()
    scene.moving.error = UsageError("No room.", hint="Make some.")
    scene.moved(STATE)
    follows = scene.commands.what_follows(STATE)
    assert (follows["then"], follows["error"]["message"]) == ([], "No room.")
    assert scene.place.read_wants() == wants_of(current)
    assert "not-begun" in scene.noted


def test_a_keeper_that_is_away_ends_no_row(scene: Scene) -> None:
    scene.begin(to="climb", step="load-balancer", only=True)
    scene.behind_balancers()
    scene.moving.error = wire.NotRunning("Nobody there.")
    with pytest.raises(wire.NotRunning):
        scene.moved(STATE)
    assert scene.place.read_wants() == Wants(balancers=2, version="v1")
    scene.moved(STATE)
    assert scene.moving.begun[-1].moves == ("change_nodes",)


def test_a_deploy_makes_a_version_and_the_same_code_none(scene: Scene) -> None:
    same = scene.begin(to="deploy")
    assert (same["move"], same["version"], same["same"]) == (None, "v1", True)
    (scene.place.root / "a.py").write_text("b = 2\n")
    planned = asyncio.run(scene.commands.plan(scene.map, {"to": "rollback", "version": "v1"}))
    assert (planned["same"], planned["empty"]) == (True, True)
    answer = scene.begin(to="deploy")
    assert (answer["version"], answer["same"]) == ("v2", False)
    (wish,) = scene.moving.begun
    assert (wish.wants.version, wish.made, wish.settings) == ("v2", "v2", True)


def versions(scene: Scene) -> list[str]:
    return [version["id"] for version in asyncio.run(scene.coding.list(scene.map))]


def test_a_version_whose_move_cannot_begin_is_removed(scene: Scene) -> None:
    (scene.place.root / "a.py").write_text("b = 2\n")
    scene.moving.error = UsageError("Not now.")
    with pytest.raises(UsageError, match="Not now"):
        scene.begin(to="deploy")
    assert versions(scene) == ["v1"]
    assert scene.place.read_wants() == Wants(version="v1")


@pytest.mark.parametrize(("made", "left"), [("v2", ["v1"]), ("", ["v1", "v2"])])
def test_a_version_is_removed_with_the_deploy_that_made_it_and_not_with_a_rollback(
    scene: Scene, made: str, left: list[str]
) -> None:
    (scene.place.root / "a.py").write_text("b = 2\n")
    assert asyncio.run(scene.coding.of(None, scene.map)) == ("v2", True)
    scene.moved(State(id="change_nodes-1", move="change_nodes", back=True, result="undone", facts={"made": made}))
    assert versions(scene) == left


def test_an_edit_that_needs_new_processes_is_a_move_with_the_code_of_now(scene: Scene) -> None:
    scene.place.spec_file.write_text(SPEC + '[web]\nkeep_alive = "9s"\n')
    (scene.place.root / "a.py").write_text("b = 2\n")
    changes, begun = asyncio.run(scene.commands.apply(scene.map))
    assert [change.path for change in changes] == ["web.keep_alive_s"]
    assert begun is scene.moving.last
    (wish,) = scene.moving.begun
    assert (wish.moves, wish.settings, wish.wants.version) == (("change_nodes",), True, "v2")


def test_an_edit_that_needs_a_new_start_is_refused_before_anything_is_made(scene: Scene) -> None:
    scene.place.spec_file.write_text(SPEC + '[database]\npath = "data/other.db"\n[web]\nkeep_alive = "9s"\n')
    (scene.place.root / "a.py").write_text("b = 2\n")
    for act in (lambda: asyncio.run(scene.commands.apply(scene.map)), lambda: scene.begin(to="deploy")):
        with pytest.raises(UsageError, match=r"database\.path cannot change"):
            act()
    assert versions(scene) == ["v1"]
    assert scene.moving.begun == []


def test_nothing_else_is_changed_while_a_move_is_open(scene: Scene) -> None:
    scene.moving.last = State(id="m-1", move="change_nodes")
    scene.coming_up.gone = list(scene.map.nodes)
    half_way = scene.behind_balancers()
    assert asyncio.run(scene.commands.apply(half_way)) == ((), None), "an unchanged tenfold.toml wants nothing"
    assert scene.coming_up.started == []
    scene.place.spec_file.write_text(SPEC + "[settings]\nx = 1\n")
    with pytest.raises(UsageError, match="A move is open"):
        asyncio.run(scene.commands.apply(scene.map))
    with pytest.raises(UsageError, match="A move is open"):
        scene.begin(to="deploy")


def test_what_the_keeper_had_given_up_is_started_again(scene: Scene) -> None:
    scene.coming_up.gone = list(scene.map.nodes)
    assert asyncio.run(scene.commands.apply(scene.map)) == ((), None)
    assert scene.coming_up.started == ["web-1"]
