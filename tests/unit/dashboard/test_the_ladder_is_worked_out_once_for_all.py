"""The ladder beside the picture: however many look, the advice is worked out once in a while, and a controller that is
away holds nobody up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenfold.control.figures.store import FigureStore
from tenfold.core.clock import ManualClock
from tenfold.dashboard import ladder as module
from tenfold.dashboard.ladder import SAID_S, Ladder
from tenfold.dashboard.redacting import Redactor
from tenfold.topology.map import Map, map_of
from tenfold.topology.spec import parse_spec

FIRST = map_of(
    parse_spec('[service]\nname = "shop"\napp = "shop:app"\n'), root="/s", state="/s/.tenfold", previous=None
)


class Looking:
    """What the collector saw last."""

    current: Map | None = FIRST


class Asking:
    """A controller that answers, or is away."""

    away = False

    async def ask(self, _node: str, op: str) -> dict[str, Any] | None:
        if self.away:
            return None
        return {"moves": {"moves": [{"id": "m-1", "facts": {}}]}, "versions": {"versions": [{"version": "v1"}]}}[op]


class Scene:
    """A ladder over a store without figures; `worked` counts how often the advice was worked out."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.worked = 0
        self.looking, self.asking, self.clock = Looking(), Asking(), ManualClock(monotonic=100.0)
        store = FigureStore(folder / "figures.db", clock=self.clock)
        self.ladder = Ladder(
            self.looking,  # type: ignore[arg-type]
            self.asking,  # type: ignore[arg-type]
            store,
            "full",
            clock=self.clock,
            redactor=Redactor(folder / "secrets"),
        )
        real = module.advise

        def counted(*given: Any) -> Any:
            self.worked += 1
            return real(*given)

        monkeypatch.setattr(module, "advise", counted)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, monkeypatch)


def test_however_many_look_it_is_worked_out_once_in_a_while(scene: Scene) -> None:
    async def play() -> None:
        first, *others = await asyncio.gather(*(scene.ladder.facts() for _ in range(8)))
        assert scene.worked == 1
        assert first["advice"] is not None
        assert all(each == first for each in others)
        scene.clock.advance(SAID_S - 0.1)
        await scene.ladder.facts()
        assert scene.worked == 1
        scene.clock.advance(0.1)
        await scene.ladder.facts()
        assert scene.worked == 2

    asyncio.run(play())


def test_another_map_is_advised_on_at_once_and_none_is_not(scene: Scene) -> None:
    async def play() -> None:
        assert 2 in (await scene.ladder.said()).brings
        scene.looking.current = msgspec.structs.replace(FIRST, step=2)
        assert 2 not in (await scene.ladder.said()).brings
        assert scene.worked == 2
        scene.looking.current = None
        told = await scene.ladder.facts()
        assert (told["step"], told["advice"]) == (0, None)

    asyncio.run(play())


def test_a_controller_that_is_away_is_told_by_what_it_said_last(scene: Scene) -> None:
    async def play() -> None:
        scene.asking.away = True
        nothing = await scene.ladder.facts()
        assert (nothing["history"], nothing["versions"]) == ([], [])
        scene.asking.away = False
        there = await scene.ladder.facts()
        assert [move["id"] for move in there["history"]] == ["m-1"]
        scene.asking.away = True
        assert await scene.ladder.facts() == there

    asyncio.run(play())
