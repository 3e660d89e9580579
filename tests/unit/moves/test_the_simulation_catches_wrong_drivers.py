"""The simulation of moves must be able to fail: drivers with one rule less are caught by it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from move_model import Shape, check, converge

from tenfold.moves import base, driver
from tenfold.moves.base import Act, Kind, Stage, State

SHAPE = Shape((2, 1, 1, 1), decides=2, hold=1, release=3)


def turns_without_a_look(state: State, data: Mapping[str, Any], at_us: int) -> State:
    """Going back does not ask whether the point of no return was passed."""
    return replace(base._back(state, data, at_us), unsure="")


def takes_what_was_begun_for_done(state: State, data: Mapping[str, Any], at_us: int) -> State:
    """A mover that takes over believes that the stage that was cut off is done."""
    after = base._term(state, data, at_us)
    done = after.begun if not after.back else after.done
    return replace(after, done=done, unsure="")


def forgets_what_was_begun(state: State, data: Mapping[str, Any], at_us: int) -> State:
    """Only what is done is undone, not what was begun."""
    after = base._back(state, data, at_us)
    return replace(after, begun=after.done, unsure="")


CHANGED: list[tuple[str, Callable[..., State]]] = [
    (Kind.BACK, turns_without_a_look),
    (Kind.TERM, takes_what_was_begun_for_done),
    (Kind.BACK, forgets_what_was_begun),
]


def caught() -> bool:
    """Whether some disturbance shows that something is wrong."""
    for what, other in itertools.product(["crash", "fail", "abort"], repeat=2):
        for one in range(1, 60):
            for two in (one + 1, one + 3):
                try:
                    check(SHAPE, *converge(SHAPE, {one: what, two: other}))
                except Exception:
                    return True
    return False


def test_the_driver_as_it_is_passes() -> None:
    assert not caught()


@pytest.mark.parametrize(("kind", "change"), CHANGED, ids=lambda each: getattr(each, "__name__", ""))
def test_a_state_with_one_rule_less_is_caught(
    kind: str, change: Callable[..., State], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(base._CHANGES, kind, change)
    assert caught()


def test_undoing_in_the_order_of_doing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def forwards(state: State) -> tuple[Act, str]:
        act, name = base.next_act(state)
        return (act, state.begun[len(state.undone)]) if act is Act.UNDO else (act, name)

    monkeypatch.setattr(driver, "next_act", forwards)
    assert caught()


def test_an_effect_before_its_intent_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hasty(self: Any, stage: Stage) -> None:
        facts = await self._hands.do(stage, abortable=False)
        await self._note(Kind.INTENT, stage=stage.name)
        await self._note(Kind.DONE, stage=stage.name, facts=dict(facts))

    monkeypatch.setattr(driver._Walker, "_do", hasty)
    assert caught()
