"""What a mover is given of the deployment: nodes by name and age, the maps of its move, nothing once it is fenced."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenfold.control.crew import role_of
from tenfold.control.move_context import MoveContext, Way
from tenfold.control.place import Place
from tenfold.control.task import settings_of
from tenfold.core.clock import ManualClock
from tenfold.core.errors import UsageError
from tenfold.core.journal import Fenced, Journal
from tenfold.moves.base import Kind
from tenfold.topology.map import Map, NodeMap
from tenfold.topology.targets import target_of
from tenfold.topology.wants import Wants

SPEC = '[service]\nname = "small"\napp = "a:b"\n'


@pytest.mark.parametrize(
    ("node", "role"),
    [
        ("web-1", "web"), ("web-12", "web"), ("balancer-2", "balancer"), ("db-1", "database"), ("db-1-init", ""),
        ("mover", ""), ("migrate", ""), ("migrate-look", ""), ("controller", ""), ("web-", ""), ("web", ""),
    ],
)  # fmt: skip
def test_a_node_is_known_by_its_name(node: str, role: str) -> None:
    assert role_of(node) == role


class FakeCrew:
    """A keeper that runs a web server and a balancer."""

    def __init__(self) -> None:
        self.started: list[NodeMap] = []

    async def nodes(self) -> list[dict[str, Any]]:
        common = {"ready": True, "restarts": 2, "state": "running"}
        return [{"node": "web-1", "ready_s": 4.5, **common}, {"node": "balancer-1", **common}]

    async def start(self, _current: Map, node: NodeMap) -> None:
        self.started.append(node)

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        return {"acked": ["web-1"], "missing": {}}


class Scene:
    """A mover's view of a deployment on one server."""

    def __init__(self, root: Path) -> None:
        (root / "tenfold.toml").write_text(SPEC)
        self.place = Place(root)
        self.place.prepare()
        first = self.place.wanted(self.place.read_spec(), None)
        self.map = msgspec.structs.replace(first, nodes=(NodeMap("web-1", "web", version="v1"),))
        self.place.write_map(self.map)
        self.journal = Journal(self.place.moves_file, ManualClock())
        wants = Wants(version="v2")
        self.way = Way(self.map, target_of("change_nodes", self.map, wants), wants)
        self.crew = FakeCrew()
        self.context = self.seen(self.way)

    def seen(self, way: Way, **more: Any) -> MoveContext:
        made = MoveContext(self.place, self.journal, ManualClock(), term=1, move_id="change_nodes-1", way=way, **more)
        made._crew = self.crew  # type: ignore[assignment]
        return made


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.journal.close()


def test_a_database_whose_connections_are_too_few_for_what_runs_is_not_moved_to(scene: Scene) -> None:
    wants = Wants("postgres", workers=2)
    wanted = target_of("copy_to_postgres", target_of("change_nodes", scene.map, Wants(workers=2)), wants)
    context = scene.seen(Way(scene.map, wanted, wants))
    scene.place.spec_file.write_text(SPEC + "[database]\npool = 4\n")
    with pytest.raises(UsageError, match="1 web server and 2 workers need 6 connections") as caught:
        asyncio.run(context.look_ahead())
    assert caught.value.code == "TF-SCALE"


def test_the_nodes_of_the_keeper(scene: Scene) -> None:
    found = asyncio.run(scene.context.node_facts())
    assert {name: (fact.role, fact.restarts, fact.kept) for name, fact in found.items()} == {
        "web-1": ("web", 2, True),
        "balancer-1": ("balancer", 2, True),
    }
    assert found["web-1"].ready_s == 4.5
    assert found["balancer-1"].ready_s == 0


def test_a_node_is_started_as_the_map_says_and_no_other(scene: Scene) -> None:
    asyncio.run(scene.context.start_node("web-1"))
    assert scene.crew.started == [NodeMap("web-1", "web", version="v1")]
    with pytest.raises(UsageError, match="web-2 is not in the map"):
        asyncio.run(scene.context.start_node("web-2"))


def test_the_maps_of_a_move_come_through_its_record_unchanged(scene: Scene) -> None:
    record = scene.journal.append(Kind.BEGIN, {"id": "m", **msgspec.to_builtins(scene.way)}, 1)
    read = msgspec.convert(record.data, Way)
    assert read == scene.way
    assert [node.name for node in scene.seen(read).wanted.nodes] == ["web-2"]
    assert scene.seen(read).before == scene.map


def test_a_move_that_comes_later_is_planned_on_the_map_that_those_before_it_leave(scene: Scene) -> None:
    later = msgspec.structs.replace(scene.map, settings={"a": 1})
    assert scene.seen(scene.way, standing=later).current() == later
    assert scene.context.current() == scene.map


def test_a_map_reaches_the_nodes_and_its_step_is_that_of_what_it_holds(scene: Scene) -> None:
    result = asyncio.run(scene.context.publish(lambda found: msgspec.structs.replace(found, step=7, settings={"a": 1})))
    assert (result.epoch, result.acked, result.complete) == (2, ("web-1",), True)
    current = scene.place.read_map()
    assert current is not None
    assert (current.step, current.settings) == (1, {"a": 1})


def test_a_mover_with_a_successor_changes_nothing_any_more(scene: Scene) -> None:
    scene.journal.append(Kind.TERM, {}, 2)
    acts = (
        lambda: scene.context.start_node("web-1"),
        lambda: scene.context.stop_node("web-1", 1.0),
        lambda: scene.context.publish(lambda found: msgspec.structs.replace(found, settings={"a": 1})),
        lambda: scene.context.migrate("v2", "expand"),
        scene.context.prepare_door,
    )
    for act in acts:
        with pytest.raises(Fenced):
            asyncio.run(act())
    assert scene.place.read_map() == scene.map
    assert scene.crew.started == []


def test_settings_of_tenfold_toml_leave_the_address_and_the_nodes_as_they_are(scene: Scene) -> None:
    scene.place.spec_file.write_text(SPEC + '[public]\nhost = "0.0.0.0"\nport = 9999\n[settings]\na = 1\n')
    content = settings_of(scene.place, scene.map)
    assert (content.public, content.nodes, content.settings) == (scene.map.public, scene.map.nodes, {"a": 1})
