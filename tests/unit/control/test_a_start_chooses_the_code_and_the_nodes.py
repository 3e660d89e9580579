"""Which version a start, a deploy and a rollback choose, and which nodes a fresh start and a resumed one run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenfold.control import bringing_up
from tenfold.control.bringing_up import BringingUp
from tenfold.control.coding import Coding
from tenfold.control.place import Place
from tenfold.core.clock import ManualClock
from tenfold.core.errors import SpecError, TenfoldError, UsageError
from tenfold.topology.map import Map, NodeMap
from tenfold.topology.wants import Wants

SPEC = '[service]\nname = "small"\napp = "a:b"\n'


class FakeCrew:
    """A keeper's children as names: `running`, and `broken` ones, which do not get ready."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.broken: set[str] = set()
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.migrated: list[str] = []
        self.at_once = 0
        self.most_at_once = 0

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        return {"port": 8123} if op == "hello" else {"acked": [], "missing": {}}

    async def address_of(self, node: str) -> str:
        return f"127.0.0.1:{20_000 + int(node.rpartition('-')[2])}"

    async def nodes(self) -> list[dict[str, Any]]:
        return [{"node": node, "ready": node not in self.broken, "state": "running"} for node in self.running]

    async def kept(self, *roles: str) -> list[str]:
        return [node for node in self.running if node.partition("-")[0] in roles]

    async def migrate(self, version: str = "", phase: str = "") -> dict[str, Any]:
        self.migrated.append(version)
        return {}

    async def start(self, current: Map, node: NodeMap) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if node.name in self.broken:
            raise UsageError(f"{node.name} does not start.")
        self.started.append(node.name)
        self.running = [*dict.fromkeys((*self.running, node.name))]

    async def stop(self, node: str, grace_s: float) -> str:
        self.running.remove(node)
        self.stopped.append(node)
        return "drained"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "tenfold.toml").write_text(SPEC)
    (tmp_path / "a.py").write_text("b = 1\n")
    made = Place(tmp_path)
    made.prepare()
    return made


@pytest.fixture
def crew() -> FakeCrew:
    return FakeCrew()


@pytest.fixture
def coming_up(place: Place, crew: FakeCrew, monkeypatch: pytest.MonkeyPatch) -> BringingUp:
    async def ready(_place: Place, _current: Map) -> None:
        if "door" in crew.broken:
            raise UsageError("There is no HAProxy.")
        crew.started.append("door")

    monkeypatch.setattr(bringing_up, "prepare_door", ready)
    coding = Coding(place, ManualClock())
    return BringingUp(place, crew, coding, lambda *_a, **_k: None, lambda _text: None)  # type: ignore[arg-type]


def begun(coming_up: BringingUp, *, after: int = 0, move_open: bool = False) -> Map:
    return asyncio.run(coming_up.begin(after=after, move_open=move_open))


def named(current: Map) -> list[tuple[str, str, str]]:
    return [(node.name, node.version, node.traffic) for node in current.nodes]


def three(place: Place, current: Map, *, off: str = "") -> Map:
    """The map behind balancers, with two web servers; one of them may be without clients."""
    web = [
        NodeMap(
            f"web-{n}", "web", address=f"127.0.0.1:2000{n}", version="v1", traffic="off" if off == f"web-{n}" else "on"
        )
        for n in (1, 3)
    ]
    public = msgspec.structs.replace(current.public, door="balancer")
    nodes = (*web, NodeMap("balancer-1", "balancer"), NodeMap("balancer-2", "balancer"))
    return place.change_map(lambda found: msgspec.structs.replace(found, public=public, nodes=nodes))


def test_a_first_start_runs_one_server_with_the_first_version(
    coming_up: BringingUp, crew: FakeCrew, place: Place
) -> None:
    current = begun(coming_up, after=41)
    assert named(current) == [("web-1", "v1", "on")]
    assert (current.epoch, current.public.port, current.step) == (42, 8123, 1)
    assert place.read_map() == current
    assert crew.migrated == ["v1"]
    assert crew.started == ["web-1"]
    assert place.read_wants() == Wants(version="v1")


def test_another_start_of_the_same_code_makes_no_version(coming_up: BringingUp, crew: FakeCrew, place: Place) -> None:
    first = begun(coming_up)
    crew.running = []
    assert begun(coming_up) == first
    (place.root / "a.py").write_text("b = 2\n")
    crew.running = []
    again = begun(coming_up)
    assert named(again) == [("web-1", "v2", "on")]
    assert again.epoch == first.epoch + 1


def test_a_rollback_outlives_a_restart(coming_up: BringingUp, crew: FakeCrew, place: Place) -> None:
    begun(coming_up)
    (place.root / "a.py").write_text("b = 2\n")
    begun(coming_up)
    place.change_map(
        lambda found: msgspec.structs.replace(
            found, nodes=tuple(msgspec.structs.replace(node, version="v1") for node in found.nodes)
        )
    )
    assert named(begun(coming_up)) == [("web-1", "v1", "on")]


def test_behind_balancers_the_same_nodes_come_up_web_servers_first(
    coming_up: BringingUp, crew: FakeCrew, place: Place
) -> None:
    before = three(place, begun(coming_up))
    crew.running, crew.started = [], []
    current = begun(coming_up)
    assert current.nodes == before.nodes
    assert current.public.door == "balancer"
    assert crew.started[0] == "door"
    assert sorted(crew.started[1:3]) == ["web-1", "web-3"]
    assert sorted(crew.started[3:]) == ["balancer-1", "balancer-2"]


def test_an_edited_number_of_processes_is_met_at_the_next_start(
    coming_up: BringingUp, crew: FakeCrew, place: Place
) -> None:
    three(place, begun(coming_up))
    place.spec_file.write_text(SPEC + "[web]\nprocesses = 6\n")
    crew.running = []
    current = begun(coming_up)
    assert {node.version for node in current.of_role("web")} == {"v1"}, "settings are no code"
    web = [(node.name, node.address) for node in current.of_role("web")]
    assert web == [(f"web-{n}", f"127.0.0.1:{20_000 + n}") for n in range(1, 7)]
    assert crew.most_at_once <= bringing_up.STARTS_AT_ONCE


WORKERS = SPEC + "[workers]\nprocesses = 2\n"


def test_workers_come_up_last_and_with_the_same_code(coming_up: BringingUp, crew: FakeCrew, place: Place) -> None:
    place.spec_file.write_text(WORKERS)
    current = begun(coming_up)
    assert named(current) == [("web-1", "v1", "on"), ("worker-1", "v1", "on"), ("worker-2", "v1", "on")]
    assert crew.started[0] == "web-1"
    assert sorted(crew.started[1:]) == ["worker-1", "worker-2"]
    (place.root / "a.py").write_text("b = 2\n")
    crew.running = []
    assert named(begun(coming_up)) == [("web-1", "v2", "on"), ("worker-1", "v2", "on"), ("worker-2", "v2", "on")]


def test_workers_that_were_left_alone_end_before_the_database_changes(
    coming_up: BringingUp, crew: FakeCrew, place: Place
) -> None:
    place.spec_file.write_text(WORKERS)
    begun(coming_up)
    (place.root / "a.py").write_text("b = 2\n")
    crew.running, crew.started = ["worker-1"], []
    assert resumed(coming_up) is None
    begun(coming_up)
    assert crew.stopped == ["worker-1"], "it ran the code before"
    assert sorted(crew.started) == ["web-1", "worker-1", "worker-2"]


def test_a_worker_that_is_missing_is_started_and_one_too_many_is_stopped(
    coming_up: BringingUp, crew: FakeCrew, place: Place
) -> None:
    place.spec_file.write_text(WORKERS)
    current = begun(coming_up)
    crew.running = ["web-1", "worker-2", "worker-9"]
    assert [node.name for node in asyncio.run(coming_up.missing(current))] == ["worker-1"]
    assert resumed(coming_up) is not None
    assert sorted(crew.running) == ["web-1", "worker-1", "worker-2"]
    assert crew.stopped == ["worker-9"]


def test_a_worker_that_does_not_start_stops_nobody_who_serves(
    coming_up: BringingUp, crew: FakeCrew, place: Place
) -> None:
    place.spec_file.write_text(WORKERS)
    begun(coming_up)
    crew.running, crew.broken = ["web-1"], {"worker-1"}
    assert resumed(coming_up) is not None
    assert sorted(crew.running) == ["web-1", "worker-2"]


def test_new_code_after_all_web_servers_fell_reaches_the_workers_too(
    coming_up: BringingUp, crew: FakeCrew, place: Place
) -> None:
    place.spec_file.write_text(WORKERS)
    current = begun(coming_up)
    crew.running = ["worker-1", "worker-2"]
    after = asyncio.run(coming_up.with_version(current, "v9"))
    assert {node.version for node in after.nodes} == {"v9"}
    assert sorted(crew.stopped) == ["worker-1", "worker-2"]


def test_while_a_move_is_open_the_map_is_the_moves_and_half_started_nodes_may_fail(
    coming_up: BringingUp, crew: FakeCrew, place: Place
) -> None:
    before = three(place, begun(coming_up), off="web-3")
    (place.root / "a.py").write_text("b = 2\n")
    crew.running, crew.broken, crew.migrated = [], {"web-3"}, []
    current = begun(coming_up, move_open=True)
    assert current == before
    assert crew.migrated == []
    assert "web-1" in crew.running


def test_a_fresh_start_fails_when_a_node_does_not_start(coming_up: BringingUp, crew: FakeCrew) -> None:
    crew.broken = {"web-1"}
    with pytest.raises(TenfoldError, match="web-1 does not start"):
        begun(coming_up)


def test_a_lost_map_is_not_taken_for_the_first_step(coming_up: BringingUp, place: Place) -> None:
    place.write_wants(Wants("postgres"))
    with pytest.raises(SpecError, match="is lost"):
        begun(coming_up)


def resumed(coming_up: BringingUp, *, move_open: bool = False) -> Map | None:
    return asyncio.run(coming_up.resume(move_open=move_open))


def test_nothing_is_resumed_where_no_web_server_runs(coming_up: BringingUp, crew: FakeCrew, place: Place) -> None:
    assert resumed(coming_up) is None
    three(place, begun(coming_up))
    crew.running = ["balancer-1"]
    assert resumed(coming_up) is None


def test_what_is_missing_is_started_and_what_is_too_much_is_stopped(
    coming_up: BringingUp, crew: FakeCrew, place: Place
) -> None:
    three(place, begun(coming_up))
    crew.running = ["web-1", "web-7", "balancer-1", "balancer-3", "mover"]
    assert resumed(coming_up) == place.read_map()
    assert sorted(crew.running) == ["balancer-1", "balancer-2", "mover", "web-1", "web-3"]
    assert sorted(crew.stopped) == ["balancer-3", "web-7"]


def test_a_server_that_does_not_get_ready_stops_nobody_while_another_one_serves(
    coming_up: BringingUp, crew: FakeCrew, place: Place
) -> None:
    three(place, begun(coming_up))
    crew.broken = {"web-3"}
    assert resumed(coming_up) is not None
    crew.broken = {"web-1", "web-3"}
    with pytest.raises(TenfoldError, match="does not start"):
        resumed(coming_up)


def test_without_haproxy_what_serves_goes_on_and_a_fresh_start_says_why_it_cannot(
    coming_up: BringingUp, crew: FakeCrew, place: Place
) -> None:
    three(place, begun(coming_up))
    crew.broken = {"door"}
    assert resumed(coming_up) is not None
    assert sorted(crew.running) == ["web-1", "web-3"]
    crew.running = []
    with pytest.raises(TenfoldError, match="There is no HAProxy"):
        begun(coming_up)


def test_while_a_move_is_open_only_those_with_clients_are_started_and_nobody_is_stopped(
    coming_up: BringingUp, crew: FakeCrew, place: Place
) -> None:
    three(place, begun(coming_up), off="web-3")
    crew.running, crew.started = ["web-1", "web-9"], []
    resumed(coming_up, move_open=True)
    assert crew.running == ["web-1", "web-9"]


def test_a_deploy_finds_the_code_that_runs_and_code_that_was_kept(place: Place, coming_up: BringingUp) -> None:
    current, coding = begun(coming_up), Coding(place, ManualClock())
    assert asyncio.run(coding.of(None, current)) == ("v1", False)
    (place.root / "a.py").write_text("b = 2\n")
    assert asyncio.run(coding.name_of(None, current)) == "v2"
    assert asyncio.run(coding.of(None, current)) == ("v2", True)
    assert asyncio.run(coding.of(None, current)) == ("v2", False)
    with pytest.raises(UsageError, match="No version is kept from before v1"):
        asyncio.run(coding.chosen("", current))
    assert asyncio.run(coding.chosen("v2", current)) == "v2"
    with pytest.raises(UsageError, match="There is no version v9"):
        asyncio.run(coding.chosen("v9", current))
    listed = asyncio.run(coding.list(current))
    assert [(version["id"], version["runs"]) for version in listed] == [("v1", ["web-1"]), ("v2", [])]
    with_worker = msgspec.structs.replace(current, nodes=(*current.nodes, NodeMap("worker-1", "worker", version="v2")))
    assert asyncio.run(coding.list(with_worker))[1]["runs"] == ["worker-1"]


def test_a_folder_that_cannot_be_a_version_runs_as_it_is(place: Place, coming_up: BringingUp, crew: FakeCrew) -> None:
    (place.root / "outside").symlink_to("/etc")
    assert named(begun(coming_up)) == [("web-1", "", "on")]
    assert crew.migrated == [""]
