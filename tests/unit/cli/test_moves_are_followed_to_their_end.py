"""Commands that need several moves, over a controller of the test: what is planned, offered, begun, followed, told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenfold.cli import main as cli
from tenfold.cli import moving
from tenfold.control import installing
from tenfold.core.errors import TenfoldError
from tenfold.hosts import wire

Facts = dict[str, Any]


def move(name: str, number: int, *, result: str = "finished", is_open: bool = False, **more: Any) -> Facts:
    """A move as the controller tells it."""
    facts = {"held_ms": 0.0, **more.pop("facts", {})}
    told = {"id": f"{name}-{number}", "move": name, "open": is_open, "result": "" if is_open else result}
    return {
        **told,
        "stage": "start",
        "back": False,
        "reason": "",
        "took_s": 1.0,
        "facts": facts,
        "progress": {},
        **more,
    }


STAGE = {"stage": "start", "says": "Starts it.", "holds_writes": False, "decides": True}


class Controller:
    """Answers as the controller would. `looks` are the answers to `move`, one after the other; the last one stays."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Facts]] = []
        self.looks: list[Facts | TenfoldError] = []
        self.history: list[Facts] = []
        self.moves = ["change_nodes"]
        self.plans: list[Facts | TenfoldError] = []
        self.first = move("change_nodes", 1, is_open=True)

    def plan(self, **more: Any) -> Facts:
        moves = [{"name": name, "title": "x", "facts": {}, "stages": [STAGE]} for name in self.moves]
        told = {"service": "shop", "step": 1, "to_step": 1, "changes": [], "moves": moves, "open": None}
        return {**told, "empty": not moves, "version": "", "same": False, **more}

    def ask(self, _place: object, op: str, _timeout_s: float = 1.0, **fields: Any) -> Facts:
        self.asked.append((op, fields))
        if op == "plan":
            answer = self.plans.pop(0) if self.plans else self.plan()
            if isinstance(answer, TenfoldError):
                raise answer
            return answer
        if op == "moves":
            return {"moves": self.history}
        if op == "move":
            if not any(asked in moving.LEADS for asked, _ in self.asked) and not self.joins:
                return {"move": None, "then": [], "error": None}
            look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
            if isinstance(look, TenfoldError):
                raise look
            return {"then": [], "error": None, **look}
        return {"move": self.first}

    joins = False

    @property
    def begun(self) -> list[tuple[str, Facts]]:
        return [(op, fields) for op, fields in self.asked if op in moving.LEADS]


@pytest.fixture
def controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Controller]:
    (tmp_path / "tenfold.toml").touch()
    monkeypatch.chdir(tmp_path)
    made = Controller()
    monkeypatch.setattr(moving, "ask", made.ask)
    monkeypatch.setattr(moving.time, "sleep", lambda _s: None)
    return made


def test_one_move_after_the_other_is_followed_and_told(
    controller: Controller, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["copy_to_postgres", "put_balancers", "change_nodes"]
    controller.moves = names
    done = [move(name, at) for at, name in enumerate(names, 1)]
    controller.first = {**done[0], "open": True}
    controller.history = done
    controller.looks = [
        {"move": {**done[0], "open": True, "result": ""}, "then": names[1:]},
        {"move": done[0], "then": names[1:]},
        {"move": done[0], "then": names[1:]},  # the next one has not begun yet
        {"move": {**done[1], "open": True, "result": ""}},
        {"move": {**done[2], "open": True, "result": ""}},  # one was so quick that nobody saw its end
        {"move": {**done[2], "open": True, "result": ""}},
        {"move": done[2]},
    ]
    assert cli.run(["climb", "3", "--yes"]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "is finished" in line]
    assert told == [f"The move {name} is finished: 1 s." for name in names]
    assert controller.begun == [("climb", {"step": "3", "only": False})]


def test_a_row_that_is_undone_in_the_middle_ends_with_one_and_says_what_stays(
    controller: Controller, capsys: pytest.CaptureFixture[str]
) -> None:
    one = move("copy_to_postgres", 1)
    two = move("put_balancers", 2, result="undone", reason="Port 8443 is taken.")
    controller.first, controller.history = one, [one, two]
    controller.looks = [{"move": one, "then": ["put_balancers"]}, {"move": two}]
    assert cli.run(["climb", "3", "--yes"]) == 1
    said = capsys.readouterr().err
    assert "The move put_balancers was undone after 1 s" in said
    assert "Port 8443 is taken. What went before it stays: copy_to_postgres." in said


def test_what_keeps_the_next_move_from_beginning_is_told(
    controller: Controller, capsys: pytest.CaptureFixture[str]
) -> None:
    one = move("copy_to_postgres", 1)
    controller.first, controller.history = one, [one]
    error = {"code": "TF-HAPROXY-MISSING", "message": "HAProxy is not installed.", "hint": "Install it."}
    controller.looks = [{"move": one, "then": ["put_balancers"]}, {"move": one, "error": error}]
    assert cli.run(["climb", "3", "--yes"]) == 1
    said = capsys.readouterr().err
    assert "copy_to_postgres is finished: 1 s. What should follow could not begin: HAProxy is not installed." in said
    assert "Install it." in said


def test_a_controller_that_is_away_for_a_moment_changes_nothing(
    controller: Controller, capsys: pytest.CaptureFixture[str]
) -> None:
    one = move("change_nodes", 1)
    controller.first, controller.history = one, [one]
    controller.looks = [
        wire.NotRunning("gone"),
        wire.NoAnswer("silent"),
        {"move": one},
        wire.NotRunning("x"),
        {"move": one},
    ]
    assert cli.run(["scale", "web=3", "--yes"]) == 0
    assert controller.begun == [("scale", {"web": 3})]


# Joining what is open


@pytest.mark.parametrize(
    ("words", "open_move", "joins"),
    [
        (["climb", "2", "--yes"], "copy_to_postgres", True),
        (["climb", "3", "--yes"], "change_nodes", True),
        (["climb", "2", "--yes"], "return_to_sqlite", False),
        (["descend", "1", "--yes"], "take_balancers", True),
        (["descend", "1", "--yes"], "copy_to_postgres", False),
        (["scale", "web=2", "--yes"], "change_nodes", True),
        (["scale", "web=2", "--yes"], "put_balancers", False),
        (["deploy", "--yes"], "change_nodes", True),
        (["rollback", "--yes"], "change_nodes", False),
        (["finalize", "--yes"], "change_nodes", False),
    ],
)
def test_an_open_move_is_followed_only_by_a_command_that_it_may_belong_to(
    controller: Controller, capsys: pytest.CaptureFixture[str], words: list[str], open_move: str, joins: bool
) -> None:
    begun = move(open_move, 1, is_open=True)
    controller.plans = [controller.plan(open=begun, moves=[]), controller.plan(moves=[], empty=True)]
    controller.joins, controller.looks = (
        True,
        [{"move": begun}, {"move": {**begun, "open": False, "result": "finished"}}],
    )
    assert cli.run(words) == (0 if joins else 1)
    assert ("Following it" in capsys.readouterr().err) is joins
    assert controller.begun == [], "nothing was left to do afterwards"


def test_a_command_with_an_end_of_its_own_goes_on_after_what_it_followed(controller: Controller) -> None:
    first, second = move("change_nodes", 1), move("change_nodes", 2)
    controller.plans = [controller.plan(open={**first, "open": True}, moves=[])]
    controller.joins, controller.first, controller.history = True, second, [first, second]
    controller.looks = [{"move": first}, {"move": first}, {"move": first}, {"move": second}]
    assert cli.run(["scale", "web=5", "--yes"]) == 0
    assert controller.begun == [("scale", {"web": 5})]


def test_one_without_does_not(controller: Controller) -> None:
    """`descend` again would be another step down."""
    first = move("take_balancers", 1)
    controller.plans = [controller.plan(open={**first, "open": True}, moves=[])]
    controller.joins, controller.history, controller.looks = True, [first], [{"move": first}]
    assert cli.run(["descend", "--yes"]) == 0
    assert [op for op, _ in controller.asked].count("plan") == 1


# What is missing


@pytest.mark.parametrize("missing", moving.MISSING)
def test_a_program_that_is_missing_is_installed_once_asked_and_then_it_is_planned_again(
    controller: Controller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    lacks = TenfoldError("It is not installed.", code=missing)
    installed: list[str] = []
    monkeypatch.setattr(installing, "install_offer", lambda code: installing.Offer(code, "Install it?", ()))
    monkeypatch.setattr(installing, "install", lambda offer: installed.append(offer.missing))
    one = move("change_nodes", 1)
    controller.first, controller.history, controller.looks = one, [one], [{"move": one}]
    controller.plans = [lacks]
    assert cli.run(["climb", "3"]) == 1, "nobody is there to ask"
    assert (installed, controller.begun) == ([], [])
    controller.plans = [lacks, lacks]
    assert cli.run(["climb", "3", "--yes"]) == 1, "installing it did not help"
    assert (installed, controller.begun) == ([missing], [])
    controller.plans = [lacks]
    assert cli.run(["climb", "3", "--yes"]) == 0
    assert installed == [missing, missing]
    controller.plans = [lacks]
    assert cli.run(["climb", "3", "--yes", "--json"]) == 1, "a program is not asked"
    assert "It is not installed." in capsys.readouterr().err


def test_on_both_programs_missing_both_are_offered(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []
    monkeypatch.setattr(installing, "install_offer", lambda code: installing.Offer(code, "Install it?", ()))
    monkeypatch.setattr(installing, "install", lambda offer: installed.append(offer.missing))
    one = move("copy_to_postgres", 1)
    controller.first, controller.history, controller.looks = one, [one], [{"move": one}]
    controller.plans = [TenfoldError("x", code=code) for code in moving.MISSING]
    assert cli.run(["climb", "3", "--yes"]) == 0
    assert installed == list(moving.MISSING)


# Questions


def test_what_is_planned_is_the_question_of_the_other_command(
    controller: Controller, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = {
        (): {"to": "", "step": None},
        ("3",): {"to": "", "step": "3"},
        ("climb",): {"to": "climb", "step": None},
        ("descend", "2"): {"to": "descend", "step": "2"},
        ("scale", "web=4"): {"to": "scale", "web": 4},
        ("deploy",): {"to": "deploy", "source": None},
        ("deploy", "new"): {"to": "deploy", "source": str(tmp_path / "new")},
        ("rollback",): {"to": "rollback", "version": None},
        ("rollback", "v3"): {"to": "rollback", "version": "v3"},
    }
    for words, fields in wanted.items():
        assert cli.run(["plan", *words]) == 0
        assert controller.asked[-1] == ("plan", fields), words
    capsys.readouterr()
    for words in (["scale"], ["3", "4"], ["deploy", "a", "b"], ["scale", "web"], ["scale", "web=x"]):
        assert cli.run(["plan", *words]) == 2, words
    assert "tenfold plan scale web=4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Missing argument"),
        (["4"], "'4' is no size. What can be scaled: web, worker, as in web=4."),
        (["db=2"], "'db=2' is no size"),
        (["web="], "has no number"),
        (["web=2.5"], "has no number"),
        (["web=²"], "has no number"),
        (["web=2", "web=3"], "web is there twice"),
    ],
)
def test_a_size_that_is_none_is_told_and_nobody_is_asked(
    controller: Controller, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert cli.run(["scale", *words]) == 2
    assert says in capsys.readouterr().err
    assert controller.asked == []


def test_numbers_that_cannot_be_are_the_controllers_to_refuse(controller: Controller) -> None:
    for number in (0, -1, 10000):
        controller.moves = []
        assert cli.run(["scale", "--yes", "--", f"web={number}"]) == 0
        assert controller.asked[-1][1] == {"to": "scale", "web": number}


def test_a_deploy_says_what_runs_then_and_the_same_code_says_so(
    controller: Controller, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = move("change_nodes", 1, facts={"version": "v7"})
    controller.first, controller.history, controller.looks = one, [one], [{"move": one}]
    controller.plans = [controller.plan(version="v7")]
    assert cli.run(["deploy", "other/code", "--yes"]) == 0
    said = capsys.readouterr().out
    assert "Then version v7 of its code runs." in said
    assert said.endswith("Version v7 runs.\n")
    assert controller.begun == [("deploy", {"source": str(tmp_path / "other/code")})]
    controller.moves = []
    controller.plans = [controller.plan(version="v7", same=True)]
    assert cli.run(["deploy", "--yes"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-2:] == ["This code is version v7, which runs already.", "Nothing is to do."]


def test_what_went_wrong_after_the_point_of_no_return_is_told_with_the_end(
    controller: Controller, capsys: pytest.CaptureFixture[str]
) -> None:
    one = move("change_nodes", 1, facts={"migration_left": "Revision 0003 failed. `tenfold migrate` applies it later."})
    controller.first, controller.history, controller.looks = one, [one], [{"move": one}]
    assert cli.run(["deploy", "--yes"]) == 0
    assert "A migration is left to do: Revision 0003 failed." in capsys.readouterr().out


def test_the_result_is_json_when_it_is_asked_for(controller: Controller, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["put_balancers", "change_nodes"]
    done = [move(name, at) for at, name in enumerate(names, 1)]
    controller.first, controller.history = done[0], done
    controller.looks = [{"move": done[0], "then": names[1:]}, {"move": done[1]}]
    assert cli.run(["climb", "3", "--yes", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [each["move"] for each in said["moves"]] == names
    assert said["move"] == said["moves"][-1]


@pytest.mark.parametrize(
    "command", ["climb", "descend", "scale", "deploy", "rollback", "versions", "plan", "moves", "status"]
)
def test_help_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) > 10
    assert "--json" in said
