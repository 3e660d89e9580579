"""`fold`, `history`, `next_act` and the invariants, record by record; and the plan is what is applied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from move_model import ModelJournal, Shape, World, converge, hands, move_of, run_once

from tenfold.core.clock import ManualClock
from tenfold.core.errors import StorageFull
from tenfold.core.journal import Fenced, Journal, Record
from tenfold.moves.base import Act, Kind, State, apply, fold, history, next_act
from tenfold.moves.driver import opening, say, walk

SHAPE = Shape((1, 1, 1), decides=1, hold=0, release=2)


def begun() -> State:
    return apply(State(), Kind.BEGIN, opening(move_of(SHAPE, World()), "m-1"), 1000)


def after(*records: tuple[str, str], start: State | None = None) -> State:
    state = start or begun()
    for number, (kind, stage) in enumerate(records):
        state = apply(state, kind, {"stage": stage, "result": stage, "reason": stage}, 2000 + number * 1000)
    return state


TO_THE_DECISION = ((Kind.INTENT, "s0"), (Kind.DONE, "s0"), (Kind.INTENT, "s1"))


@pytest.mark.parametrize(
    ("records", "act"),
    [
        ((), (Act.DO, "s0")),
        (((Kind.INTENT, "s0"),), (Act.DO, "s0")),
        (((Kind.INTENT, "s0"), (Kind.TERM, "")), (Act.CHECK, "s0")),
        (((Kind.INTENT, "s0"), (Kind.TERM, ""), (Kind.MISSING, "s0")), (Act.DO, "s0")),
        (((Kind.INTENT, "s0"), (Kind.TERM, ""), (Kind.DONE, "s0")), (Act.DO, "s1")),
        (((Kind.INTENT, "s0"), (Kind.BACK, "why")), (Act.UNDO, "s0")),
        (((Kind.INTENT, "s0"), (Kind.BACK, "why"), (Kind.TERM, "")), (Act.UNDO, "s0")),
        (((Kind.INTENT, "s0"), (Kind.BACK, "why"), (Kind.UNDONE, "s0")), (Act.UNDONE, "")),
        (((Kind.BACK, "why"),), (Act.UNDONE, "")),
        ((*TO_THE_DECISION, (Kind.BACK, "why")), (Act.CHECK, "s1")),
        ((*TO_THE_DECISION, (Kind.BACK, "why"), (Kind.TERM, "")), (Act.CHECK, "s1")),
        ((*TO_THE_DECISION, (Kind.BACK, "why"), (Kind.MISSING, "s1")), (Act.UNDO, "s1")),
        ((*TO_THE_DECISION, (Kind.BACK, "why"), (Kind.DONE, "s1")), (Act.DO, "s2")),
        ((*TO_THE_DECISION, (Kind.DONE, "s1"), (Kind.INTENT, "s2"), (Kind.FAILED, "s2")), (Act.CHECK, "s2")),
        ((*TO_THE_DECISION, (Kind.DONE, "s1"), (Kind.INTENT, "s2"), (Kind.DONE, "s2")), (Act.FINISHED, "")),
    ],
)
def test_what_comes_next(records: tuple[tuple[str, str], ...], act: tuple[Act, str]) -> None:
    assert next_act(after(*records)) == act


@pytest.mark.parametrize(
    "records",
    [
        ((Kind.INTENT, "s1"),),
        ((Kind.INTENT, "s0"), (Kind.INTENT, "s1")),
        ((Kind.DONE, "s0"),),
        ((Kind.UNDONE, "s0"),),
        ((Kind.BACK, "why"), (Kind.INTENT, "s0")),
        ((Kind.END, "finished"),),
        ((Kind.INTENT, "s0"), (Kind.BACK, "why"), (Kind.END, "undone")),
        ((*TO_THE_DECISION, (Kind.DONE, "s1"), (Kind.BACK, "why"))),
    ],
)
def test_what_must_not_happen_is_noticed(records: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(AssertionError):
        after(*records)


def test_writes_are_held_from_the_first_intent_to_the_last_end() -> None:
    state = after(*TO_THE_DECISION, (Kind.DONE, "s1"), (Kind.INTENT, "s2"), (Kind.DONE, "s2"))
    assert (state.held_us, state.held_since_us) == (5000, 0)
    undone = after((Kind.INTENT, "s0"), (Kind.BACK, "why"), (Kind.UNDONE, "s0"))
    assert (undone.held_us, undone.held_since_us) == (2000, 0)


def test_a_history_has_every_move_and_the_last_one_is_the_state() -> None:
    journal = converge(SHAPE, {})[2]
    again = [Record(9, n + 1, r.at_us, r.kind, {**r.data, "id": "m-2"}) for n, r in enumerate(journal.records)]
    found = history([*journal.records, *again[:3]])
    assert [(state.id, state.result) for state in found] == [("m-1", "finished"), ("m-2", "")]
    assert fold([*journal.records, *again[:3]]) == found[-1]
    assert fold([]) == State()
    assert history([]) == []


def test_a_plan_has_the_lines_that_are_applied_and_touches_nothing() -> None:
    world = World()
    move = move_of(SHAPE, world)
    lines = run_once(say(move))
    assert [line.stage for line in lines] == ["s0", "s1", "s2"]
    assert [line.decides for line in lines] == [False, True, False]
    assert [line.final for line in lines] == [False, False, True]
    assert (world.points, world.effects) == (0, set())
    _, applied, _ = converge(SHAPE, {})
    done = [point.split("'")[1] for point in applied.trail if point.startswith("did")]
    assert done == [line.stage for line in lines]


def journal_of(path: Path) -> Journal:
    return Journal(path / "moves.jsonl", ManualClock())


def test_a_real_journal_tells_the_same_story(tmp_path: Path) -> None:
    world = World()
    model = ModelJournal(world)
    journal = journal_of(tmp_path)
    move = move_of(SHAPE, world)
    term = journal.claim(Kind.BEGIN, opening(move, "m-1"), after=0).epoch
    doing = hands(world, journal, term)  # type: ignore[arg-type]
    closed = run_once(walk(move, fold(journal.records), doing))
    assert closed.result == "finished"
    assert fold(journal_of(tmp_path).records) == closed
    assert model.records == []


def test_a_claim_needs_the_epoch_that_was_seen(tmp_path: Path) -> None:
    first, second = journal_of(tmp_path), journal_of(tmp_path)
    assert first.claim(Kind.TERM, {}, after=0).epoch == 1
    with pytest.raises(Fenced):
        second.claim(Kind.TERM, {}, after=0)
    assert second.refresh() == 1
    assert second.claim(Kind.TERM, {}, after=1).epoch == 2
    with pytest.raises(Fenced):
        first.append(Kind.DONE, {"stage": "s0"}, 1)


def test_a_full_disk_is_waited_out_and_nothing_happens_unrecorded() -> None:
    class Full(ModelJournal):
        refused = 3

        def append(self, kind: str, data: Any, epoch: int) -> Record:
            if self.refused:
                self.refused -= 1
                raise StorageFull("The disk is full.")
            return super().append(kind, data, epoch)

    world = World()
    journal = Full(world)
    move = move_of(SHAPE, world)
    state = apply(State(), Kind.BEGIN, opening(move, "m-1"))
    assert run_once(walk(move, state, hands(world, journal, 1))).result == "finished"
    assert world.trail[:3] == ["rest", "rest", "rest"]
