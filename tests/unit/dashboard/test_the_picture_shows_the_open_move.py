"""The open move on the picture: stages, how far, how long writes wait, on the way forward and back."""

from __future__ import annotations

from typing import Any

import pytest
from pictures import AT_US, STAGES, a_map, a_move, facts_of

from tenfold.dashboard.picture.drawing import draw
from tenfold.dashboard.picture.under_way import move_now


def states(**more: Any) -> list[str]:
    move = move_now(a_move(**more), AT_US)
    assert move is not None
    return [stage.state for stage in move.stages]


def test_stages_are_done_under_way_or_to_come() -> None:
    assert states(stage="copy") == ["done", "done", "now", "to come", "to come", "to come", "to come"]
    move = move_now(a_move("copy"), AT_US)
    assert move is not None
    assert [stage.name for stage in move.stages if stage.holds] == ["hold", "open", "flip"]
    assert [stage.name for stage in move.stages if stage.decides] == ["open"]
    assert move.stages[0].says == "Does preflight."
    assert (move.id, move.name, move.title[:13], move.back, move.decided) == (
        "m-2",
        "copy_to_postgres",
        "Move the data",
        False,
        False,
    )


def test_on_the_way_back_what_is_undone_is_to_come_again() -> None:
    back = states(stage="hold", back=True, begun=["preflight", "server", "copy", "hold"], undone=["hold"])
    assert back == ["done", "done", "done", "now", "to come", "to come", "to come"]


def test_a_closed_move_is_not_shown() -> None:
    assert move_now(a_move(open=False), AT_US) is None
    assert move_now(None, AT_US) is None
    current = a_map("web-1")
    assert draw(current, facts_of(current), None, a_move(open=False), at_us=AT_US).move is None


def test_the_move_comes_from_the_facts_when_nobody_gives_it() -> None:
    current = a_map("web-1")
    found = draw(current, facts_of(current, move=a_move()), at_us=AT_US).move
    assert found is not None
    assert found.name == "copy_to_postgres"


def test_writes_that_wait_are_counted_until_now() -> None:
    held = move_now(a_move("open", held_since_us=AT_US - 120_000), AT_US)
    assert held is not None
    assert held.held_ms == pytest.approx(120.0)
    after = move_now(a_move("settle", facts={"held_ms": 131.5}), AT_US)
    assert after is not None
    assert (after.held_ms, after.decided) == (131.5, True)
    early = move_now(a_move("open", held_since_us=AT_US + 5_000_000), AT_US)
    assert early is not None
    assert early.held_ms == 0.0, "a clock that was set back holds nobody for a negative time"


def test_progress_is_told_as_far_as_there_is_any() -> None:
    progress = {"doing": "Copies links", "done": 10, "total": 40, "unit": "rows", "rate": 5.0, "left_s": 6.0}
    move = move_now(a_move(progress=progress), AT_US)
    assert move is not None
    assert (move.doing, move.done, move.total, move.unit, move.rate, move.left_s) == (
        "Copies links",
        10.0,
        40.0,
        "rows",
        5.0,
        6.0,
    )
    bare = move_now(a_move(progress=None), AT_US)
    assert bare is not None
    assert (bare.doing, bare.total, bare.left_s) == ("", 0.0, None)


def test_why_it_goes_back_or_stands_is_told() -> None:
    assert _reason(back=True, reason="The disk is full.") == "The disk is full."
    assert _reason(problem={"message": "Its mover was killed."}) == "Its mover was killed."


def _reason(**more: Any) -> str:
    move = move_now(a_move(**more), AT_US)
    assert move is not None
    return move.reason


def test_a_move_of_an_older_version_has_no_words_for_its_stages() -> None:
    old = a_move()
    del old["title"], old["says"], old["held_since_us"]
    move = move_now(old, AT_US)
    assert move is not None
    assert move.title == "copy to postgres"
    assert {stage.says for stage in move.stages} == {""}
    assert tuple(stage.name for stage in move.stages) == STAGES
