"""What the page sends: read strictly, turned into commands, and what those take away for good."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tenfold.control.crew import Crew
from tenfold.control.place import Place
from tenfold.core.clock import ManualClock
from tenfold.core.errors import NotFound, TenfoldError, UsageError
from tenfold.dashboard.actions import FAULT_MAX_S, TAKES_AWAY, Actions, Change, Fault, decoded, destroyed
from tenfold.dashboard.api import Load
from tenfold.dashboard.ended import sentence_of
from tenfold.dashboard.loading import RATE_MAX, SECONDS_MAX, check, load_now
from tenfold.hosts.records import Launch, Record, Records


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b'{"to": "climb"}', {}),
        (b'{"to": "climb", "step": 2}', {"step": "2"}),
        (b'{"to": "climb", "step": "load-balancer"}', {"step": "load-balancer"}),
        (b'{"to": "scale", "web": 3, "worker": 0}', {"web": 3, "worker": 0}),
        (b'{"to": "rollback", "version": "v2"}', {"version": "v2"}),
        (b'{"to": "finalize"}', {}),
    ],
)
def test_a_change_goes_to_the_controller_as_it_was_asked_for(body: bytes, fields: dict[str, Any]) -> None:
    assert decoded(body, Change).fields() == fields


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", Change),
        (b"[]", Change),
        (b"\xff", Change),
        (b'{"to": "explode"}', Change),
        (b'{"to": "deploy", "source": "/etc"}', Change),
        (b'{"to": "scale", "web": "3"}', Change),
        (b'{"to": "scale", "web": 3.5}', Change),
        (b"[" * 100_000, Change),
        (b'{"node": "web-1", "how": "sudo"}', Fault),
        (b'{"how": "kill"}', Fault),
        (b'{"rate": "many"}', Load),
        (b'{"rate": 1, "at": "http://elsewhere"}', Load),
    ],
)
def test_what_is_not_understood_is_refused_in_a_sentence(body: bytes, kind: type[Any]) -> None:
    with pytest.raises(UsageError, match="is not understood"):
        decoded(body, kind)


def actions(tmp_path: Path) -> Actions:
    place = Place(tmp_path)
    return Actions(place, Crew(place, ManualClock()), ManualClock())


@pytest.mark.parametrize("node", ["--yes", "../x", "", "web 1", "Web-1", "a" * 80])
def test_a_fault_names_a_node_and_no_option(tmp_path: Path, node: str) -> None:
    with pytest.raises(NotFound):
        asyncio.run(actions(tmp_path).break_(Fault(node)))


@pytest.mark.parametrize("for_s", [-1.0, FAULT_MAX_S + 1, float("nan"), float("inf")])
def test_a_fault_ends(tmp_path: Path, for_s: float) -> None:
    with pytest.raises(UsageError, match="seconds at most"):
        asyncio.run(actions(tmp_path).break_(Fault("web-1", "pause", for_s)))


def test_an_abort_has_no_plan(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no plan"):
        asyncio.run(actions(tmp_path).plan(Change("abort")))


def test_what_a_plan_takes_away_is_named_in_its_own_words() -> None:
    stages = [{"stage": "flip", "says": "Flips."}, {"stage": "settle", "says": "Empties the database."}]
    assert destroyed({"moves": [{"name": "return_to_sqlite", "stages": stages}]}) == [
        {"move": "return_to_sqlite", "stage": "settle", "says": "Empties the database."}
    ]
    assert destroyed({"moves": [{"name": "copy_to_postgres", "stages": stages}]}) == []
    assert destroyed({"moves": []}) == []


def test_every_stage_that_takes_something_away_exists() -> None:
    moves = Path(__file__).parents[3] / "src" / "tenfold" / "moves"
    text = {path.stem: path.read_text() for path in moves.rglob("*.py")}
    folders = {folder.name: "".join(path.read_text() for path in folder.glob("*.py")) for folder in moves.iterdir()
               if folder.is_dir()}  # fmt: skip
    for move, stage in TAKES_AWAY:
        assert f'Stage("{stage}"' in {**text, **folders}[move], (move, stage)


# Load


@pytest.mark.parametrize(
    ("rate", "seconds"),
    [(-1, 60), (RATE_MAX + 1, 60), (10, 0.5), (10, SECONDS_MAX + 1), (float("nan"), 60), (10, float("nan"))],
)
def test_more_load_than_the_page_may_make_is_refused(rate: float, seconds: float) -> None:
    with pytest.raises(UsageError):
        check(rate, seconds)


def test_load_within_its_bounds_is_sent() -> None:
    check(0, 1)
    check(RATE_MAX, SECONDS_MAX)


def test_the_load_that_runs_is_known_to_the_next_dashboard(tmp_path: Path) -> None:
    place, clock = Place(tmp_path), ManualClock()
    place.run.mkdir(parents=True)
    until_us = clock.wall_us() + 30_000_000
    launch = Launch("load", ("x",), "/", env={"TENFOLD_LOAD_RATE": "50", "TENFOLD_LOAD_UNTIL_US": str(until_us)})
    Records(place.run).write(Record(launch, None))
    runs = [{"node": "load", "state": "running"}]
    found = load_now(place, runs, clock)
    assert found is not None
    assert (found.rate, found.left_s) == (50.0, 30.0)
    clock.advance(60)
    late = load_now(place, runs, clock)
    assert late is not None
    assert late.left_s == 0.0
    assert load_now(place, [{"node": "load", "state": "ended"}], clock) is None
    assert load_now(place, [], clock) is None
    Records(place.run).write(Record(replace(launch, env={}), None))
    assert load_now(place, runs, clock) is None, "one that somebody else started under that name"


# How commands end


def test_the_sentence_of_a_command_is_told_with_its_hint() -> None:
    ended = {"tail": ["  pausing", "Error: There is no node 'x'.", "Running here: web-1."], "exit_code": 1}
    error = sentence_of("break", ended)
    assert (error.message, error.hint, error.status) == ("There is no node 'x'.", "Running here: web-1.", 400)


def test_a_command_that_died_is_told_with_its_last_lines() -> None:
    error = sentence_of("break", {"tail": ["Killed"], "exit_code": -9})
    assert isinstance(error, TenfoldError)
    assert "exit code -9" in error.message
    assert "Killed" in error.message
