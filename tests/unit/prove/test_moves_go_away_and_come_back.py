"""Which move comes next in a run, and what a mover that is killed, a move that is undone or a row of moves means."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator

import pytest

from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.errors import Unavailable, UsageError
from tenfold.prove import moves as module
from tenfold.prove.moves import CHANGES, DEPLOY, MOVE, MOVE_KILLED, SCALE, MoveFacts, Mover, beside, refuse_gap
from tenfold.topology.map import map_of
from tenfold.topology.spec import parse_spec
from tenfold.topology.targets import wanted_map
from tenfold.topology.wants import Wants


@pytest.mark.parametrize(
    ("home", "highest", "other"),
    [(1, 2, 2), (1, 3, 2), (2, 3, 3), (2, 2, 1), (3, 3, 2), (1, 1, 2), (3, 2, 2)],
)
def test_a_run_moves_to_the_step_beside_its_own_and_up_where_it_can(home: int, highest: int, other: int) -> None:
    assert beside(home, highest) == other


class Fake:
    """A deployment whose moves have these stages; each look at it goes one on."""

    def __init__(self, step: int = 2, highest: int = 3, *, outcome: str = "finished", pid: int = 0) -> None:
        self._step, self._highest, self._outcome, self._pid = step, highest, outcome, pid
        self.asked: list[tuple[object, ...]] = []
        self.looks: list[MoveFacts] = []
        self.stages = ("prepare", "switch", "leave")

    def step(self) -> int:
        return self._step

    def highest(self) -> int:
        return self._highest

    def begin_move(self, step: int) -> None:
        self.asked.append((MOVE, step))
        if self._outcome == "finished":
            self._step = step
        self._begin()

    def begin_change(self, kind: str, *, back: bool) -> None:
        self.asked.append((kind, back))
        self._begin()

    def _begin(self) -> None:
        between = MoveFacts(True, "", 0, "")  # one is finished, and the next has not begun
        work = [MoveFacts(True, stage, self._pid, "") for stage in self.stages]
        self.looks = [*work, between, *work, MoveFacts(False, "leave", 0, self._outcome)]

    def move_facts(self) -> MoveFacts:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.0)


def make(fake: Fake, *kinds: str, target: str = "") -> list[module.Made]:
    async def work() -> list[module.Made]:
        mover = Mover(fake, SYSTEM_CLOCK)
        return [await mover.make(kind, target) for kind in kinds]

    return asyncio.run(work())


def test_moves_go_there_and_back_in_turn() -> None:
    fake = Fake()
    assert all(made.effect for made in make(fake, MOVE, MOVE, MOVE, MOVE))
    assert fake.asked == [(MOVE, 3), (MOVE, 2), (MOVE, 3), (MOVE, 2)]


def test_changes_go_there_and_back_each_by_itself() -> None:
    fake = Fake(step=3)
    assert all(made.effect for made in make(fake, SCALE, DEPLOY, SCALE, DEPLOY, SCALE))
    assert fake.asked == [(SCALE, False), (DEPLOY, False), (SCALE, True), (DEPLOY, True), (SCALE, False)]


def test_a_row_of_moves_is_waited_for_to_its_end() -> None:
    fake = Fake()
    make(fake, MOVE)
    assert len(fake.looks) == 1, "also while one was finished and the next had not begun"


@pytest.mark.parametrize("kind", [MOVE, *CHANGES])
def test_what_was_undone_is_no_success(kind: str) -> None:
    fake = Fake(outcome="undone web-3 did not get ready")
    with pytest.raises(Unavailable, match="web-3 did not get ready"):
        make(fake, kind)


def test_after_a_change_that_was_undone_the_next_one_goes_away_again() -> None:
    fake = Fake(step=3, outcome="undone")

    async def work() -> None:
        mover = Mover(fake, SYSTEM_CLOCK)
        for _ in range(2):
            with pytest.raises(Unavailable):
                await mover.make(SCALE, "")

    asyncio.run(work())
    assert fake.asked == [(SCALE, False), (SCALE, False)]


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["/bin/sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_a_mover_is_killed_in_the_stage_of_that_number(victim: subprocess.Popen[bytes]) -> None:
    made = make(Fake(pid=victim.pid), MOVE_KILLED, target="2")
    assert made[0].effect
    assert "switch" in made[0].detail
    assert victim.wait(5) == -9


def test_a_mover_that_ended_before_was_not_killed(victim: subprocess.Popen[bytes]) -> None:
    made = make(Fake(pid=victim.pid), MOVE_KILLED, target="9")
    assert not made[0].effect
    assert victim.poll() is None


def test_a_step_that_was_taken_alone_is_no_place_to_move_from() -> None:
    one = map_of(parse_spec('[service]\nname = "shop"\napp = "a:b"\n'), root="/s", state="/s/.t", previous=None)
    alone = wanted_map(one, Wants(balancers=2))
    with pytest.raises(
        UsageError, match=r"has step 3 \(load balancer\) without step 2 \(separate database\)"
    ) as caught:
        refuse_gap(alone)
    assert "tenfold climb 2" in caught.value.hint
    for whole in (one, wanted_map(one, Wants("postgres")), wanted_map(one, Wants("postgres", balancers=2))):
        refuse_gap(whole)
