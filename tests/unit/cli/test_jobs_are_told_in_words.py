"""`tenfold jobs` over processes of the test: who is asked, and what a person sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenfold.cli import main as cli
from tenfold.control import jobs
from tenfold.control.place import Place
from tenfold.hosts import wire
from tenfold.topology.map import NodeMap

SPEC = '[service]\nname = "small"\napp = "a:b"\n'
QUEUE = {"ready": 1200, "running": 2, "scheduled": 0, "dead": 1, "unknown": 0, "done": 0, "oldest_due_us": 1_000_000}
LETTER = {
    "id": "j-1", "name": "mail", "queue": "default", "state": "dead", "attempt": 5, "crashes": 2,
    "error": "ValueError: no such address",
}  # fmt: skip
Facts = dict[str, Any]


class Nodes:
    """Answers for the nodes; `away` are those that do not run."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Facts]] = []
        self.away: set[str] = set()
        self.answers: list[Facts] = []

    def call(self, path: Path, request: Facts, _limit_s: float) -> Facts:
        name = path.name.removesuffix(".sock")
        if name in self.away:
            raise wire.NotRunning(f"{name} does not run.")
        if request["op"] == "status":
            return {"ready": True}
        self.asked.append((name, request))
        return self.answers.pop(0)


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    (tmp_path / "tenfold.toml").write_text(SPEC)
    place = Place(tmp_path)
    place.prepare()
    made = place.wanted(place.read_spec(), None)
    more = (NodeMap("worker-1", "worker"), NodeMap("worker-2", "worker", traffic="off"))
    place.write_map(msgspec.structs.replace(made, nodes=(*made.nodes, *more)))
    monkeypatch.chdir(tmp_path)
    found = Nodes()
    monkeypatch.setattr(jobs.wire, "call", found.call)
    return found


def test_a_worker_is_asked_first_then_a_web_server_then_one_that_leaves(
    nodes: Nodes, capsys: pytest.CaptureFixture[str]
) -> None:
    for away, asked in (((), "worker-1"), (("worker-1",), "web-1"), (("worker-1", "web-1"), "worker-2")):
        nodes.away, nodes.answers = set(away), [{"queues": []}]
        assert cli.run(["jobs"]) == 0
        assert nodes.asked[-1] == (asked, {"op": "jobs", "do": "counts"})
        assert capsys.readouterr().out == "There are no jobs.\n"
    nodes.away = {"worker-1", "worker-2", "web-1"}
    assert cli.run(["jobs"]) == 3
    assert "No process of the service runs." in capsys.readouterr().err


def test_queues_are_told(nodes: Nodes, capsys: pytest.CaptureFixture[str]) -> None:
    nodes.answers = [{"queues": [{"queue": "default", **QUEUE}]}] * 2
    assert cli.run(["jobs"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1].split()[:7] == ["default", "1,200", "0", "2", "1", "0", "0"]
    assert said[1].endswith("min")
    assert cli.run(["jobs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["ready"] == 1200


def test_dead_letters_come_page_by_page(nodes: Nodes, capsys: pytest.CaptureFixture[str]) -> None:
    second = {**LETTER, "id": "j-2", "error": "", "crashes": 0, "attempt": 1}
    nodes.answers = [{"jobs": [LETTER], "more": True}, {"jobs": [second], "more": False}]
    assert cli.run(["jobs", "--dead"]) == 0
    assert [request["after"] for _, request in nodes.asked] == ["", "j-1"]
    assert capsys.readouterr().out.splitlines()[:3] == [
        "j-1  mail (queue default), 5 attempts, 2 of them killed their process",
        "    ValueError: no such address",
        "j-2  mail (queue default), 1 attempt",
    ]
    nodes.answers = [{"jobs": [], "more": False}]
    assert cli.run(["jobs", "--dead"]) == 0
    assert "no dead letters" in capsys.readouterr().out


def test_one_job_is_shown(nodes: Nodes, capsys: pytest.CaptureFixture[str]) -> None:
    job = {**LETTER, "progress": 0.4, "text": "half", "payload": '{"n":1}', "result": "3", "error": "one\ntwo"}
    nodes.answers = [{"job": job}]
    assert cli.run(["jobs", "show", "j-1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "j-1: mail (queue default), dead, 5 attempts, 2 of them killed their process",
        "  progress   40% half",
        '  arguments  {"n":1}',
        "  result     3",
        "  one",
        "  two",
    ]


@pytest.mark.parametrize("words", [["jobs", "--dead"], ["jobs", "show", "j-1"]])
def test_what_clients_sent_does_not_reach_the_terminal(
    nodes: Nodes, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    said = "\x1b]0;owned\x07\x9b2J"
    job = {**LETTER, "progress": None, "text": said, "payload": said, "result": said, "error": f"one\nKeyError: {said}"}
    nodes.answers = [{"jobs": [job], "more": False, "job": job}]
    assert cli.run(words) == 0
    printed = capsys.readouterr().out
    assert r"KeyError: \x1b]0;owned\x07\x9b2J" in printed
    assert all(line.isprintable() for line in printed.splitlines())


@pytest.mark.parametrize(
    ("words", "request_", "answer", "says"),
    [
        (["replay", "j-1"], {"do": "replay", "id": "j-1"}, {"replayed": 1}, "1 job will run again."),
        (["replay", "--task", "mail"], {"do": "replay", "task": "mail"}, {"replayed": 7}, "7 jobs will run again."),
        (["cancel", "j-1"], {"do": "cancel", "id": "j-1"}, {"cancelled": "cancelled"}, "it had not begun"),
        (["cancel", "j-1"], {"do": "cancel", "id": "j-1"}, {"cancelled": "asked"}, "was asked to end"),
    ],
)
def test_jobs_are_changed(
    nodes: Nodes, capsys: pytest.CaptureFixture[str], words: list[str], request_: Facts, answer: Facts, says: str
) -> None:
    nodes.answers = [answer]
    assert cli.run(["jobs", *words]) == 0
    assert nodes.asked == [("worker-1", {"op": "jobs", **request_})]
    assert says in capsys.readouterr().out


@pytest.mark.parametrize("words", [["replay"], ["replay", "j-1", "--task", "mail"], ["show"], ["cancel"], ["explode"]])
def test_words_that_make_no_sense_ask_nobody(nodes: Nodes, words: list[str]) -> None:
    assert cli.run(["jobs", *words]) == 2
    assert nodes.asked == []
