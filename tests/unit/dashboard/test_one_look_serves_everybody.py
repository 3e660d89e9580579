"""The collector: what it publishes of what was seen, how often it measures, and what it says when it is blind."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tenfold.control.figures.store import FigureStore
from tenfold.control.place import Place
from tenfold.control.standing import Heard, facts_from
from tenfold.core.clock import ManualClock
from tenfold.core.errors import SpecError
from tenfold.core.secrets import Secrets
from tenfold.dashboard import collector as module
from tenfold.dashboard.collector import Collector
from tenfold.dashboard.feed import Feed
from tenfold.dashboard.gathering import Seen
from tenfold.dashboard.redacting import Redactor
from tenfold.topology.map import map_of
from tenfold.topology.spec import parse_spec

CURRENT = map_of(
    parse_spec('[service]\nname = "shop"\napp = "shop:app"\n'), root="/s", state="/s/.tenfold", previous=None
)


def move(name: str, *, still: bool) -> dict[str, Any]:
    return {
        "id": name, "move": "change_nodes", "open": still, "stages": [], "says": [], "holds": [], "no_return": "",
        "begun": [], "done": [], "undone": [], "stage": "", "back": False, "decided": False, "reason": "", "facts": {},
    }  # fmt: skip


class FakeGathering:
    """Sees what a test says."""

    def __init__(self, place: Place) -> None:
        facts = facts_from(place, CURRENT, Heard(keeper={"pid": 1, "host": "", "port": 1, "stopping": False}))
        self.seen: Seen | Exception = Seen(CURRENT, facts, None, None)
        self.looks = 0

    async def look(self) -> Seen:
        self.looks += 1
        if isinstance(self.seen, Exception):
            raise self.seen
        return self.seen

    def with_move(self, name: str, *, still: bool) -> None:
        assert isinstance(self.seen, Seen)
        self.seen = Seen(self.seen.current, self.seen.facts, move(name, still=still), None)


class Scene:
    """A collector over a folder in which nothing runs."""

    def __init__(self, folder: Path) -> None:
        self.place = Place(folder)
        self.place.run.mkdir(parents=True)
        self.clock, self.feed = ManualClock(), Feed()
        self.gathering, self.store = FakeGathering(self.place), FigureStore(folder / "figures.db", clock=self.clock)
        self.collector = Collector(
            self.place,
            self.clock,
            self.feed,
            self.gathering,  # type: ignore[arg-type]
            self.store,
            redactor=Redactor(self.place.state / "secrets"),
        )

    def look(self, advance_s: float = 1.0) -> dict[str, Any]:
        """One look; the picture that is there then."""
        self.clock.advance(advance_s)
        asyncio.run(self.collector._look())
        return json.loads(self.feed.picture)

    def moves(self) -> list[tuple[str, bool]]:
        told = [json.loads(facts)["move"] for _number, facts in self.feed._moves]
        return [(each["id"], each["open"]) for each in told]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_what_was_seen_becomes_the_picture(scene: Scene) -> None:
    picture = scene.look()
    assert (picture["service"], picture["step"], picture["at_us"]) == ("shop", 1, scene.clock.wall_us())
    assert scene.look()["at_us"] == picture["at_us"] + 1_000_000


def test_viewers_hear_of_moves_that_begin_and_end_and_of_none_before(scene: Scene) -> None:
    scene.gathering.with_move("old", still=False)
    scene.look()
    assert scene.moves() == [], "one that was over before anybody looked"
    scene.gathering.with_move("one", still=True)
    scene.look()
    scene.look()
    scene.gathering.with_move("one", still=False)
    scene.look()
    scene.gathering.with_move("two", still=False)
    scene.look()
    assert scene.moves() == [("one", True), ("one", False), ("two", False)], "also one that nobody saw open"


def test_a_move_that_is_open_already_is_told(scene: Scene) -> None:
    scene.gathering.with_move("one", still=True)
    scene.look()
    assert scene.moves() == [("one", True)]


def test_a_map_that_cannot_be_read_is_said_on_the_picture(scene: Scene) -> None:
    scene.look()
    scene.gathering.seen = SpecError("map.json is not a map.", hint="Put it back.")
    picture = scene.look()
    assert (picture["service"], picture["state"], picture["tiers"]) == ("shop", "degraded", [])
    assert picture["says"] == ["map.json is not a map. Put it back."]


def test_a_secret_in_what_a_process_says_is_masked_on_the_picture(scene: Scene) -> None:
    secret = Secrets(scene.place.state / "secrets").ensure("door")
    error = {
        "code": "X",
        "message": f"No way to postgresql://me:hunter2@db/ with {secret}.",
        "hint": "password=hunter2",
    }
    fact = {"node": "web-1", "pid": None, "state": "failed", "restarts": 9, "crash_loop": True, "exit_code": 3,
            "report": {"error": error}}  # fmt: skip
    controller = {"pid": 1, "state": "running", "doing": "", "error": None, "move": None}
    keeper = {"pid": 1, "host": "", "port": 1, "stopping": False}
    facts = facts_from(scene.place, CURRENT, Heard(keeper, [fact], controller=controller))
    scene.gathering.seen = Seen(CURRENT, facts, {**move("one", still=True), "reason": f"no {secret}"}, None)
    picture = scene.look()
    masked = "No way to postgresql://me:***@db/ with ***."
    assert picture["says"] == [f"{masked} password=***"]
    assert [node["says"] for tier in picture["tiers"] for node in tier["nodes"] if node["name"] == "web-1"] == [masked]
    assert picture["move"]["reason"] == "no ***"


def test_a_look_that_fails_leaves_the_last_picture_and_the_next_may_see(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_AGAIN_S", 0.0)
    before, seen = scene.look(), scene.gathering.seen
    scene.gathering.seen = ZeroDivisionError("a bug")
    assert scene.look() == before, "its age says that it is old"
    assert "a bug" in caplog.text
    scene.gathering.seen = seen
    assert scene.look()["at_us"] > before["at_us"]


def test_who_asks_again_and_again_is_served_by_few_looks(scene: Scene) -> None:
    async def play() -> float:
        loop = asyncio.get_running_loop()
        began, until = loop.time(), loop.time() + 0.3
        await scene.collector.start()
        while loop.time() < until:
            await asyncio.gather(*(scene.feed.next(5.0) for _ in range(20)))
        await scene.collector.stop()
        return loop.time() - began

    took_s = asyncio.run(play())
    assert 2 <= scene.gathering.looks <= took_s / module.LEAST_S + 2


def test_it_measures_once_a_second_however_often_it_looks(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    measure = scene.collector._sampler.look

    async def counted() -> Any:
        looks.append(scene.clock.monotonic())
        return await measure()

    monkeypatch.setattr(scene.collector._sampler, "look", counted)
    for _ in range(12):
        scene.look(0.25)
    assert len(looks) == 3
    assert [scene.look()["window_s"] for _ in range(3)][-1] == 2.0


def test_the_last_hours_are_kept_in_steps_of_five_seconds(scene: Scene) -> None:
    for _ in range(22):
        scene.look()
    assert len(scene.store.series("machine", 1.0)["at_us"]) == 4
