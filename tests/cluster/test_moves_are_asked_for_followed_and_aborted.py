"""Moves through the real command line, controller, keeper and mover: what is printed, refused, followed and left."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deployed import COMMAND, Deployed, deployed
from fake_moves import HERE, Faked

from tenfold.core.journal import read_journal
from tenfold.hosts import wire
from tenfold.moves.base import Kind, fold


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployed, Faked]]:
    with deployed(tmp_path_factory.mktemp("moves") / "svc") as small:
        fake = Faked(small.root)
        fake.up()
        yield small, fake


@pytest.fixture
def small(running: tuple[Deployed, Faked]) -> Iterator[Deployed]:
    yield running[0]
    fake = running[1]
    for file in fake.root.glob("*-at-*"):
        file.unlink()
    until(lambda: not fold(read_journal(fake.place.moves_file)).open)
    fake.clean()


@pytest.fixture
def fake(running: tuple[Deployed, Faked]) -> Faked:
    return running[1]


def until(look: Callable[[], Any], limit_s: float = 30.0) -> Any:
    deadline = time.monotonic() + limit_s
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def at(fake: Faked, stage: str) -> bool:
    """Whether the move is in a stage."""
    state = fold(read_journal(fake.place.moves_file))
    return state.open and state.stage == stage and stage in state.begun


def follows(process: subprocess.Popen[str]) -> str:
    """What a command says until it shows progress."""
    assert process.stderr is not None
    said = ""
    while "waiting for the test" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def moves(small: Deployed) -> list[dict[str, Any]]:
    return small.tenfold("moves", "--json").facts()["moves"]


def epoch_served(small: Deployed) -> int:
    return small.status()["nodes"][0]["epoch"]


def test_a_plan_says_everything_and_changes_nothing(small: Deployed, fake: Faked) -> None:
    before = (fake.place.map_file.read_bytes(), len(moves(small)))
    said = small.tenfold("plan", "2")
    assert said.code == 0
    for words in ("small is on step 1.", "copy_to_postgres: Leave two files.", "1  mark", "[writes wait]",
                  "the point of no return", "7 rows, 4KB", "Writes wait from hold to flip, about 5 ms"):  # fmt: skip
        assert words in said.out
    facts = small.tenfold("plan", "2", "--json").facts()
    assert [stage["stage"] for stage in facts["moves"][0]["stages"]] == ["mark", "hold", "decide", "flip"]
    assert facts["empty"] is False
    assert small.tenfold("plan", "--json").facts()["empty"] is True
    assert (fake.place.map_file.read_bytes(), len(moves(small))) == before


def test_a_climb_is_applied_as_planned_and_leaves_a_record(small: Deployed, fake: Faked) -> None:
    number = len(moves(small))
    said = small.tenfold("climb", "2", "--yes")
    assert said.code == 0, said
    assert "The move copy_to_postgres is finished" in said.out
    assert fake.left() == {"marked", "decided", "flipped"}
    (record,) = moves(small)[number:]
    assert (record["result"], record["done"]) == ("finished", ["mark", "hold", "decide", "flip"])
    assert record["facts"]["rows"] == 7
    assert 0 < record["facts"]["held_ms"] < 5000
    assert record["facts"]["mark"] is True
    assert epoch_served(small) == fake.place.read_map().epoch
    assert "copy_to_postgres" in small.tenfold("moves").out


def test_without_somebody_to_ask_nothing_begins(small: Deployed, fake: Faked) -> None:
    said = small.tenfold("climb", "2")
    assert said.code == 1
    assert "add --yes" in said.err
    assert fake.left() == set()


def test_a_step_that_does_not_exist_and_one_that_is_there(small: Deployed) -> None:
    said = small.tenfold("climb", "4", "--yes")
    assert (said.code, "Step 4 (database replication) does not exist yet" in said.err) == (1, True)
    for words in (("climb", "1"), ("descend",), ("finalize",)):
        said = small.tenfold(*words, "--yes")
        assert (said.code, "Nothing is to do." in said.out) == (0, True), said


def test_a_failure_before_the_point_of_no_return_undoes_everything_and_says_why(small: Deployed, fake: Faked) -> None:
    for stage in ("mark", "hold", "decide"):
        fake.tell(f"fail-at-{stage}")
        said = small.tenfold("climb", "2", "--yes")
        assert said.code == 1
        assert "was undone after" in said.err
        assert f"The fake fails at {stage}." in said.err
        assert fake.left() == set()
        assert epoch_served(small) == fake.place.read_map().epoch
        (small.root / f"fail-at-{stage}").unlink()
        assert small.tenfold("plan", "--json").facts()["empty"] is True


def test_a_failure_after_it_is_tried_again_until_it_is_put_right(small: Deployed, fake: Faked) -> None:
    blocker = fake.tell("fail-at-flip")
    process = small.start("climb", "2", "--yes")
    until(lambda: any(record.kind == Kind.FAILED for record in read_journal(fake.place.moves_file)))
    said = small.tenfold("abort")
    assert (said.code, "has passed its point of no return" in said.err) == (1, True)
    assert "The fake fails at flip." in small.tenfold("status").out
    blocker.unlink()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)
    assert fake.left() == {"marked", "decided", "flipped"}


@pytest.mark.parametrize("stage", ["mark", "hold"])
def test_an_abort_undoes_what_was_begun(small: Deployed, fake: Faked, stage: str) -> None:
    fake.tell(f"wait-at-{stage}")
    process = small.start("climb", "2", "--yes")
    until(lambda: at(fake, stage))
    said = small.tenfold("abort")
    assert said.code == 0, said
    assert "It was aborted." in said.out
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert fake.left() == set()
    assert small.tenfold("abort").code == 1


def test_while_a_move_is_open_nothing_else_changes(small: Deployed, fake: Faked) -> None:
    wait = fake.tell("wait-at-mark")
    process = small.start("climb", "2", "--yes")
    until(lambda: at(fake, "mark"))
    number = len(moves(small))
    for words in (("descend", "--yes"), ("finalize", "--yes"), ("migrate",)):
        said = small.tenfold(*words)
        assert said.code == 1, words
        assert "The move copy_to_postgres is open" in said.err
    small.spec("[settings]\nx = 1\n")
    try:
        said = small.tenfold("up")
        assert (said.code, "nothing else is changed meanwhile" in said.err) == (1, True)
    finally:
        small.spec()
    assert small.tenfold("up").code == 0
    drawn = small.tenfold("status").out
    assert "Leave two files  copy_to_postgres" in drawn
    assert re.search(r"^ +\W*mark\b.*hold.*decide.*flip", drawn, re.MULTILINE), drawn
    facts = small.tenfold("plan", "--json").facts()
    assert (facts["empty"], facts["open"]["move"]) == (False, "copy_to_postgres")
    with pytest.raises(Exception, match="open"):
        wire.call(fake.place.run / "controller.sock", {"op": "climb", "step": "2"}, 30.0)
    wait.unlink()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(moves(small)) == number


def test_ctrl_c_and_a_killed_command_change_nothing_and_the_same_command_follows_again(
    small: Deployed, fake: Faked
) -> None:
    wait = fake.tell("wait-at-mark")
    process = small.start("climb", "2", "--yes")
    until(lambda: at(fake, "mark"))
    follows(process)
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "The move goes on without this command" in err
    second = small.start("climb", "2", "--yes")
    assert "Following it" in follows(second)
    second.kill()
    second.communicate()
    third = small.start("climb", "2", "--yes")
    assert "rows of 1,000 rows" in follows(third)
    assert at(fake, "mark")
    wait.unlink()
    out, _err = third.communicate(timeout=60)
    assert third.returncode == 0
    assert "is finished" in out


def test_what_keeps_a_move_from_beginning_is_told_and_leaves_no_record(small: Deployed, fake: Faked) -> None:
    number = len(moves(small))
    file = fake.tell("no-begin")
    try:
        for words in (("plan", "2"), ("climb", "2", "--yes")):
            said = small.tenfold(*words)
            assert (said.code, said.err.splitlines()[-2:]) == (
                1,
                ["Error: The fake does not begin.", "Remove no-begin."],
            )
    finally:
        file.unlink()
    assert len(moves(small)) == number
    assert small.tenfold("plan", "--json").facts()["empty"] is True


def mover(fake: Faked, *words: str) -> subprocess.Popen[str]:
    """A mover that nobody but the test started."""
    environment = {**os.environ, "TENFOLD_MAP": str(fake.place.map_file), "PYTHONPATH": str(fake.root)}
    argv = [sys.executable, str(HERE), "mover", "--root", str(fake.root), *words]
    return subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def test_a_mover_that_was_paused_is_refused_when_it_wakes_after_its_successor(small: Deployed, fake: Faked) -> None:
    wait = fake.tell("wait-at-mark")
    process = small.start("climb", "2", "--yes")
    until(lambda: at(fake, "mark"))
    old = json.loads((fake.place.run / "mover.json").read_text())["process"]["pid"]
    with fake.place.moves_file.open("rb") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)  # asleep in the middle of a record it would keep everybody from writing
        os.kill(old, signal.SIGSTOP)
    successor = mover(fake)
    try:
        until(lambda: any(record.kind == Kind.TERM for record in read_journal(fake.place.moves_file)))
        wait.unlink()
        out, err = successor.communicate(timeout=60)
        assert successor.returncode == 0, err
        assert json.loads(out)["result"] == "finished"
        records = read_journal(fake.place.moves_file)
        current = fake.place.map_file.read_bytes()
    finally:
        os.kill(old, signal.SIGCONT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert read_journal(fake.place.moves_file) == records, "the one that woke up has written nothing"
    assert fake.place.map_file.read_bytes() == current
    until(lambda: "TF-FENCED" in (fake.place.logs / "mover.log").read_text())


def test_a_second_mover_for_another_move_is_refused(small: Deployed, fake: Faked) -> None:
    wait = fake.tell("wait-at-mark")
    process = small.start("climb", "2", "--yes")
    until(lambda: at(fake, "mark"))
    second = mover(fake, "--moves", "copy_to_postgres", "--wants", '{"database": "postgres"}')
    _out, err = second.communicate(timeout=60)
    assert second.returncode == 1
    assert json.loads(err.splitlines()[-1])["error"]["code"] == "TF-MOVE-OPEN"
    wait.unlink()
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_down_and_up_in_the_middle_of_a_move(small: Deployed, fake: Faked) -> None:
    wait = fake.tell("wait-at-hold")
    process = small.start("climb", "2", "--yes")
    until(lambda: at(fake, "hold"))
    process.kill()
    process.communicate()
    said = small.tenfold("down")
    assert (said.code, "is open (stage hold); it goes on with the next `tenfold up`" in said.err) == (0, True)
    wait.unlink()
    fake.up()
    until(lambda: not fold(read_journal(fake.place.moves_file)).open)
    assert fake.left() == {"marked", "decided", "flipped"}
    assert small.status()["state"] == "running"


def test_help_teaches() -> None:
    for command in ("plan", "climb", "descend", "abort", "finalize", "moves"):
        done = subprocess.run([*COMMAND, command, "--help"], capture_output=True, text=True, check=True)
        assert len(done.stdout.splitlines()) > 8, command
        assert "--json" in done.stdout


def test_a_lost_map_is_not_taken_for_the_first_step(tmp_path: Path) -> None:
    with deployed(tmp_path / "svc") as small:
        small.up()
        small.tenfold("down")
        (small.state / "map.json").unlink()
        (small.state / "wants.json").write_text('{"database": "postgres"}')
        said = small.tenfold("up")
        assert said.code == 1
        assert "is lost, and the data of this service is on a database server" in said.err
        assert small.processes() == []
        (small.state / "wants.json").unlink()
        small.up()
