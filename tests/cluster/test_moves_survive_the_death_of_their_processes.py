"""The mover, the controller and the keeper are killed at lines of the journal of a move: it converges, unasked."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections.abc import Iterator

import pytest
from deployed import Deployed, deployed
from fake_moves import LINES, STAGES, Faked

from tenfold.control.deployment import Deployment
from tenfold.core.journal import read_journal
from tenfold.moves.base import Kind, State, fold

FINISHED = {"marked", "decided", "flipped"}
BACK_LINES = 14
"""Lines of a move that fails where it is decided: begun, three stages, the turn, the look, three undone, the end."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployed, Faked]]:
    with deployed(tmp_path_factory.mktemp("deaths") / "svc") as small:
        fake = Faked(small.root)
        fake.up()
        yield small, fake


@pytest.fixture
def fake(running: tuple[Deployed, Faked]) -> Iterator[Faked]:
    yield running[1]
    closed(running[1])
    running[1].clean()


def state_of(fake: Faked) -> State:
    return fold(read_journal(fake.place.moves_file))


def closed(fake: Faked) -> State:
    """The move, once it is closed."""
    deadline = time.monotonic() + 60.0
    while (state := state_of(fake)).open:
        assert time.monotonic() < deadline, state
        time.sleep(0.02)
    return state


def killed(running: tuple[Deployed, Faked], at: int, when: str, victim: str) -> State:
    """The move of a climb during which the victim was killed there."""
    small, fake = running
    mark, number = fake.die(at, when, victim), len(read_journal(fake.place.moves_file))
    climb = small.start("climb", "2", "--yes")
    deadline = time.monotonic() + 30.0
    while mark.exists():
        assert time.monotonic() < deadline, "nobody was killed, so nothing was tested"
        time.sleep(0.01)
    out, err = climb.communicate(timeout=60)
    begun = (at, when) != (1, "before") or victim != "mover"
    assert climb.returncode == (0 if begun else 1), (out, err)
    state = closed(fake)
    Deployment(fake.place).bring_up(60.0)
    records = read_journal(fake.place.moves_file)[number:]
    if records:  # killed before its first line, a move was never begun
        assert (records[0].kind, records[-1].kind) == (Kind.BEGIN, Kind.END)
        assert sum(record.kind == Kind.END for record in records) == 1
    return state


CASES = [(1, "after"), (4, "before"), (6, "after"), (LINES, "before")]
ALL = [case for case in itertools.product(range(1, LINES + 1), ["before", "after"]) if case not in CASES]


def check(running: tuple[Deployed, Faked], at: int, when: str, victim: str) -> None:
    small, fake = running
    state = killed(running, at, when, victim)
    begun = (at, when) != (1, "before") or victim != "mover"
    assert fake.left() == (FINISHED if begun else set()), state
    facts = small.status()
    assert facts["state"] == "running"
    assert facts["move"] is None
    assert facts["controller"]["state"] == "running"
    assert [node["epoch"] for node in facts["nodes"]] == [facts["epoch"]]
    assert small.tenfold("plan", "--json").facts()["empty"] is True


@pytest.mark.parametrize(("at", "when"), CASES)
def test_the_mover_killed_at_some_lines(running: tuple[Deployed, Faked], fake: Faked, at: int, when: str) -> None:
    check(running, at, when, "mover")


@pytest.mark.parametrize(("at", "when"), CASES)
def test_the_controller_killed_at_some_lines(running: tuple[Deployed, Faked], fake: Faked, at: int, when: str) -> None:
    check(running, at, when, "controller")


@pytest.mark.long
@pytest.mark.parametrize(("at", "when"), ALL)
def test_the_mover_killed_at_every_line(running: tuple[Deployed, Faked], fake: Faked, at: int, when: str) -> None:
    check(running, at, when, "mover")


@pytest.mark.long
@pytest.mark.parametrize(("at", "when"), ALL)
def test_the_controller_killed_at_every_line(running: tuple[Deployed, Faked], fake: Faked, at: int, when: str) -> None:
    check(running, at, when, "controller")


@pytest.mark.long
@pytest.mark.parametrize("at", range(2, BACK_LINES + 1))
@pytest.mark.parametrize("victim", ["mover", "controller"])
def test_killed_at_every_line_of_a_move_that_is_undone(
    running: tuple[Deployed, Faked], fake: Faked, at: int, victim: str
) -> None:
    fake.tell("fail-at-decide")
    mark = fake.die(at, "before", victim)
    running[0].tenfold("climb", "2", "--yes")
    assert closed(fake).result == "undone"
    assert fake.left() == set()
    mark.unlink(missing_ok=True)


def killed_keeper(running: tuple[Deployed, Faked], at: int) -> None:
    small, fake = running
    waits = fake.tell(f"wait-at-{STAGES[at]}")
    before = state_of(fake).id  # the last move of another test may stand in the same stage
    climb = small.start("climb", "2", "--yes")
    deadline = time.monotonic() + 30.0
    while state_of(fake).id == before or STAGES[at] not in state_of(fake).begun:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(Deployment(fake.place).keeper.ask("hello")["pid"], signal.SIGKILL)
    waits.unlink()
    Deployment(fake.place).bring_up(60.0)
    out, err = climb.communicate(timeout=60)
    assert climb.returncode == 0, (out, err)
    assert fake.left() == FINISHED
    assert json.loads(fake.place.map_file.read_text())["epoch"] == small.status()["nodes"][0]["epoch"]


@pytest.mark.parametrize("at", range(len(STAGES)))
def test_the_keeper_killed_in_each_stage(running: tuple[Deployed, Faked], fake: Faked, at: int) -> None:
    killed_keeper(running, at)
