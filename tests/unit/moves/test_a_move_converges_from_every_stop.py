"""Stops are enumerated: a move is stopped, fails or is aborted at every point, and again during what follows; what is
left is the old world or the new one, and never a closed gate."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from move_model import NO_GATE, ModelJournal, Shape, World, check, converge, live, shapes

from tenfold.core.journal import Fenced
from tenfold.moves.base import Kind
from tenfold.moves.driver import MAX_LIVES

LONG = Shape((2, 1, 2, 1, 1, 1, 2, 1), decides=5, hold=3, release=6)
"""Eight stages, like the copy to PostgreSQL: some of several effects, the gate closed over the point of no return."""
SHORT = Shape((2, 1, 1, 1), decides=2, hold=1, release=3)


def points(shape: Shape, at: dict[int, str] | None = None) -> int:
    """How many points a run passes."""
    return converge(shape, at or {})[1].points


@pytest.mark.parametrize("length", range(1, 9))
def test_an_undisturbed_move_of_every_shape_finishes(length: int) -> None:
    for shape in shapes(length):
        state, world, journal = converge(shape, {})
        assert state.result == "finished"
        check(shape, state, world, journal)


@pytest.mark.parametrize("what", ["crash", "fail", "late", "abort"])
@pytest.mark.parametrize("length", range(1, 6))
def test_of_every_shape_disturbed_once_at_every_point(length: int, what: str) -> None:
    for shape in shapes(length):
        for point in range(1, points(shape) + 1):
            check(shape, *converge(shape, {point: what}))


@pytest.mark.parametrize("pair", list(itertools.product(["crash", "fail", "abort"], repeat=2)), ids="-".join)
def test_of_a_long_move_disturbed_at_every_point_and_again_during_what_follows(pair: tuple[str, str]) -> None:
    first, second = pair
    for one in range(1, points(LONG) + 1):
        for other in range(one + 1, points(LONG, {one: first}) + 1):
            check(LONG, *converge(LONG, {one: first, other: second}))


def test_of_a_short_move_stopped_three_times() -> None:
    for one in range(1, points(SHORT) + 1):
        for two in range(one + 1, points(SHORT, {one: "crash"}) + 1):
            for three in range(two + 1, points(SHORT, {one: "crash", two: "crash"}) + 1):
                check(SHORT, *converge(SHORT, {one: "crash", two: "crash", three: "crash"}))


def decided(shape: Shape, point: int) -> bool:
    """Whether the effect that decides was there when an undisturbed run passed the point."""
    return f"did ('s{shape.decides}', 0)" in converge(shape, {})[1].trail[:point]


@pytest.mark.parametrize("shape", [LONG, SHORT])
@pytest.mark.parametrize("what", ["fail", "abort"])
def test_before_the_decision_everything_is_undone_and_after_it_nothing(shape: Shape, what: str) -> None:
    trail = converge(shape, {})[1].trail
    for point in range(1, points(shape) + 1):
        state, _, _ = converge(shape, {point: what})
        stage = trail[point - 1]
        own = stage.startswith(("do", "did", "check"))
        if decided(shape, point):
            assert state.result == "finished", stage
        elif (what == "fail" and own) or (what == "abort" and not own and f"s{shape.decides}" not in stage):
            assert state.result == "undone", stage


def test_a_crash_alone_never_undoes_anything() -> None:
    for point in range(1, points(LONG) + 1):
        assert converge(LONG, {point: "crash"})[0].result == "finished"


def test_an_abort_during_the_decision_waits_for_it() -> None:
    trail = converge(SHORT, {})[1].trail
    begun = trail.index(f"after {Kind.INTENT} s2") + 1
    state, world, _ = converge(SHORT, {begun + 1: "abort"})
    assert state.result == "finished"
    assert world.aborted


def test_a_mover_that_keeps_dying_before_the_decision_gives_up_and_undoes() -> None:
    # Each life writes its term (two points) and dies at the third.
    died = dict.fromkeys(range(6, 6 + 3 * MAX_LIVES, 3), "crash")
    state, world, journal = converge(SHORT, died)
    assert state.result == "undone"
    assert "The mover died" in state.reason
    check(SHORT, state, world, journal)


def test_failures_after_the_decision_are_tried_again_and_only_some_are_written_down() -> None:
    start = converge(SHORT, {})[1].trail.index("do ('s3', 0)") + 1
    state, world, journal = converge(SHORT, dict.fromkeys(range(start, start + 400), "fail"))
    assert state.result == "finished"
    check(SHORT, state, world, journal)
    failures = [record.data["failures"] for record in journal.records if record.kind == Kind.FAILED]
    assert failures == [2**n for n in range(len(failures))]
    assert len(failures) > 4


def test_a_look_between_two_failures_does_not_begin_their_row_anew() -> None:
    """The rest before the next try would never grow, and the journal would become a log."""
    trail = converge(SHORT, {})[1].trail
    start = trail.index("do ('s3', 0)") + 1
    at = {start: "fail"}
    for _ in range(20):
        seen = converge(SHORT, at)[1].trail
        at[len(seen) - seen[::-1].index("do ('s3', 0)")] = "fail"
    _, world, journal = converge(SHORT, at)
    assert world.trail.count("rest") == 21
    assert [record.data["failures"] for record in journal.records if record.kind == Kind.FAILED] == [1, 2, 4, 8, 16]


def test_an_older_mover_is_refused_at_its_next_record_and_changes_nothing() -> None:
    for point in range(1, points(SHORT) + 1):
        world = World({point: "crash"})
        journal = ModelJournal(world)
        if live(SHORT, world, journal) is not None or not journal.records:
            continue
        old = journal.epoch
        live(SHORT, world, journal)
        before = (list(journal.records), set(world.effects))
        with pytest.raises(Fenced):
            journal.append(Kind.DONE, {"stage": "s0"}, old)
        assert (journal.records, world.effects) == before


@st.composite
def any_shape(draw: st.DrawFn) -> Shape:
    length = draw(st.integers(1, 6))
    parts = tuple(draw(st.lists(st.integers(0, 3), min_size=length, max_size=length)))
    decides = draw(st.integers(0, length - 1))
    if decides == length - 1:
        return Shape(parts, decides, NO_GATE, NO_GATE)
    return Shape(parts, decides, draw(st.integers(0, decides)), draw(st.integers(decides + 1, length - 1)))


@given(
    shape=any_shape(),
    at=st.dictionaries(st.integers(1, 120), st.sampled_from(["crash", "fail", "late", "abort"]), max_size=8),
)
@settings(deadline=None, max_examples=400)
def test_any_move_converges_from_any_sequence_of_disturbances(shape: Shape, at: dict[int, str]) -> None:
    check(shape, *converge(shape, at))
