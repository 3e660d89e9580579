"""Ladder, logs, requests, proofs, the page's files: what is read, and what is not."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import msgspec
import pytest

from tenfold.control.advice.phrases import say
from tenfold.control.page import is_wanted, page_launch
from tenfold.control.place import Place
from tenfold.control.words import page_words
from tenfold.core.errors import NotFound
from tenfold.core.secrets import Secrets
from tenfold.dashboard.collector import ALONE_S, MOVING_S, WATCHED_S, pause_s
from tenfold.dashboard.ladder import brought
from tenfold.dashboard.pages import LANGUAGES, Pages, language_of
from tenfold.dashboard.reading import LINE_MAX, Logs, Proofs, history_of, merged, steps_of
from tenfold.dashboard.redacting import Redactor
from tenfold.topology.dashboard import DashboardMap
from tenfold.topology.map import Map, NodeMap, map_of
from tenfold.topology.spec import parse_spec
from tenfold.topology.steps import STEPS

FIRST = map_of(
    parse_spec('[service]\nname = "shop"\napp = "shop:app"\n'), root="/s", state="/s/.tenfold", previous=None
)


def states(current: Map | None) -> list[str]:
    return [str(step["state"]) for step in steps_of(current)]


def test_the_ladder_shows_where_we_are_and_what_comes_next() -> None:
    assert states(FIRST) == ["taken", "next", *["later"] * 9]
    database = msgspec.structs.replace(FIRST.database, backend="postgres")
    second = msgspec.structs.replace(FIRST, step=2, database=database)
    assert states(second)[:4] == ["taken", "taken", "next", "later"]
    top = msgspec.structs.replace(FIRST, step=max(step.number for step in STEPS if step.exists))
    assert "next" not in states(top), "nothing is offered that this version cannot do"
    assert states(None)[0] == "next"


def test_the_next_two_steps_say_what_they_would_bring_in_words_of_every_language() -> None:
    told = brought(FIRST, [], data_bytes=2_000_000)
    assert list(told) == [2, 3]
    assert [each["sentence"] for each in told[2]][-1] == "2 MB of data would move."
    assert all(say(each["words"], language) for each in told[3] for language in LANGUAGES)
    top = msgspec.structs.replace(FIRST, step=max(step.number for step in STEPS if step.exists))
    assert brought(top, []) == {}


def test_a_step_above_a_gap_stands_alone() -> None:
    nodes = (*FIRST.nodes, NodeMap("cache-1", "cache"))
    assert states(msgspec.structs.replace(FIRST, nodes=nodes))[4] == "alone"


def test_the_history_begins_with_the_newest_and_says_for_how_long_writes_were_held() -> None:
    told = history_of([{"id": "a", "facts": {"held_ms": 12.5}}, {"id": "b", "facts": {}}])
    assert [(move["id"], move["held_ms"]) for move in told] == [("b", 0.0), ("a", 12.5)]


def test_requests_of_several_web_servers_become_one_list() -> None:
    one = {"slow": [{"took_ms": 5, "ended_us": 1}], "failed": [{"took_ms": 1, "ended_us": 3}]}
    two = {"slow": [{"took_ms": 9, "ended_us": 2}], "failed": [{"took_ms": 1, "ended_us": 7}]}
    said = merged([one, two, {}])
    assert [each["took_ms"] for each in said["slow"]] == [9, 5]
    assert [each["ended_us"] for each in said["failed"]] == [7, 3]
    many = merged([{"slow": [{"took_ms": n, "ended_us": n} for n in range(500)]}])
    assert len(many["slow"]) == 50


# Logs


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.logs.mkdir(parents=True)
    return made


def test_a_log_is_read_from_its_end_without_secrets(place: Place) -> None:
    secret = Secrets(place.state / "secrets").ensure("door")
    (place.logs / "web-1.log").write_text(f"one\ntwo {secret}\n{'x' * (LINE_MAX + 9)}\n")
    lines = asyncio.run(Logs(place, Redactor(place.state / "secrets")).last("web-1", 2))
    assert lines == ["two ***", "x" * LINE_MAX]


def test_a_secret_at_the_end_of_what_is_shown_is_not_shown_in_part(place: Place) -> None:
    secret = Secrets(place.state / "secrets").ensure("door")
    (place.logs / "web-1.log").write_text(f"{'x ' * (LINE_MAX // 2 - 5)}{secret}\n")
    [line] = asyncio.run(Logs(place, Redactor(place.state / "secrets")).last("web-1", 1))
    assert line.endswith("x ***")


@pytest.mark.parametrize("node", ["", "..", "../secrets/door", "web-1.log", "/etc/passwd", "web-2", "WEB-1"])
def test_only_logs_of_nodes_are_read(place: Place, node: str) -> None:
    (place.logs / "web-1.log").write_text("one\n")
    (place.state / "secrets").mkdir()
    (place.state / "secrets" / "door").write_text("hidden")
    with pytest.raises(NotFound):
        asyncio.run(Logs(place, Redactor(place.state / "secrets")).last(node, 5))


# Proofs


def proof(place: Place, name: str, *verdicts: str, at: int) -> None:
    folder = place.state / "proofs" / name
    folder.mkdir(parents=True)
    said = [{"id": f"P{number}", "verdict": verdict} for number, verdict in enumerate(verdicts, 1)]
    (folder / "verdicts.json").write_text(json.dumps({"verdicts": said, "seed": 7}))
    (folder / "report.html").write_text("<p>report")
    os.utime(folder / "verdicts.json", (at, at))


def test_proofs_are_told_newest_first_and_passed_only_when_nothing_is_broken_or_vacuous(place: Place) -> None:
    proof(place, "1", "holds", "broken", at=100)
    proof(place, "2", "holds", "not run", at=300)
    proof(place, "3", "vacuous", at=200)
    (place.state / "proofs" / "half").mkdir()
    (place.state / "proofs" / "half" / "verdicts.json").write_text('{"verdicts"')
    told = asyncio.run(Proofs(place).all())
    assert [(each["name"], each["passed"], each["at_us"]) for each in told] == [
        ("2", True, 300_000_000),
        ("3", False, 200_000_000),
        ("1", False, 100_000_000),
    ]


def test_a_report_is_one_of_a_proof_and_nothing_else(place: Place) -> None:
    proof(place, "20260101-7", "holds", at=1)
    assert Proofs(place).report("20260101-7").read_text() == "<p>report"
    (place.state / "report.html").write_text("not a proof's")
    for name in ("..", ".", "", "none", "20260101-7/../../", "-rf"):
        with pytest.raises(NotFound):
            Proofs(place).report(name)


# The page's files


def test_the_page_has_everything_that_its_index_names() -> None:
    pages = Pages()
    index = bytes(pages.index(csrf='"><script>', mode="full", lang="ko").body).decode()
    assert "{{" not in index
    assert '"><script>' not in index, "what is put in is escaped"
    named = [part.split('"')[0] for part in index.split(f"/static/{pages.stamp}/")[1:]]
    assert named
    for path in named:
        answer = pages.static(pages.stamp, path)
        assert answer.headers["cache-control"].endswith("immutable")
        assert answer.body
    assert pages.static("older", named[0]).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["", "../pages.py", "nothing.js", "index.html/", "/etc/passwd", "words"])
def test_only_files_of_the_page_are_served(path: str) -> None:
    with pytest.raises(NotFound):
        Pages().static("x", path)


def test_the_words_of_the_page_and_of_the_advice_are_one_catalogue() -> None:
    for language in LANGUAGES:
        words = json.loads(bytes(Pages().words(language).body))
        assert any(name.startswith("advice.") for name in words)
        assert "picture" in words
    with pytest.raises(NotFound):
        Pages().words("../en")


@pytest.mark.parametrize(
    ("accept", "language"),
    [("", "en"), ("ko", "ko"), ("ko-KR,ko;q=0.9,en;q=0.8", "ko"), ("en-US,ko;q=0.9", "en"), ("de,ko;q=0.1", "ko"),
     ("fr", "en"), ("en;q=0.2,ko;q=0.7", "ko"), ("ko;q=x,en", "en"), ("*", "en")],
)  # fmt: skip
def test_the_language_is_the_one_that_the_browser_likes_best(accept: str, language: str) -> None:
    assert language_of(accept) == language


# The process


def test_it_looks_often_only_while_somebody_looks() -> None:
    assert pause_s(viewers=0, moving=False) == ALONE_S
    assert pause_s(viewers=0, moving=True) == ALONE_S
    assert pause_s(viewers=1, moving=False) == WATCHED_S
    assert pause_s(viewers=32, moving=True) == MOVING_S


@pytest.mark.parametrize(
    ("mode", "variable", "wanted"),
    [("full", "", True), ("read-only", "on", True), ("full", "off", False), ("full", "OFF", False), ("off", "", False),
     ("off", "on", False)],
)  # fmt: skip
def test_it_runs_where_it_is_wanted(mode: str, variable: str, wanted: bool) -> None:
    current = msgspec.structs.replace(FIRST, dashboard=DashboardMap(mode=mode))  # type: ignore[arg-type]
    assert is_wanted(current, {"TENFOLD_DASHBOARD": variable} if variable else {}) is wanted


def test_it_stops_before_what_serves_and_is_started_again(place: Place) -> None:
    launch = page_launch(place)
    assert launch.restart
    assert launch.stage == 0
    assert not launch.listener
    assert not launch.map, "a map is adopted without waiting for it"


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (None, ""),
        ({"state": "running", "address": "http://127.0.0.1:8001", "mode": "full"}, "http://127.0.0.1:8001"),
        ({"state": "running", "address": "http://x", "mode": "read-only"}, "http://x, read-only"),
        ({"state": "running", "address": "http://x", "token": True},
         "http://x, with the token in .tenfold/secrets/dashboard-token"),
        ({"state": "starting"}, "starts"),
        ({"state": "failed", "report": {"error": {"message": "No."}}}, "does not run: No."),
        ({"state": "waiting", "report": None}, "does not run: see `tenfold logs dashboard`"),
    ],
)  # fmt: skip
def test_where_it_is_is_told_in_words(page: dict[str, object] | None, said: str) -> None:
    assert page_words(page) == said
