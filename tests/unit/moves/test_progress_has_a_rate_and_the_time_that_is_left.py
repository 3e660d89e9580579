"""The progress of a move in virtual time: rates, what is left, what is saved, and no secret."""

from __future__ import annotations

from typing import Any

from tenfold.core.clock import ManualClock
from tenfold.core.redact import Secret
from tenfold.moves.progress import Tracker


def test_a_rate_is_measured_when_none_is_told() -> None:
    clock = ManualClock()
    tracker = Tracker(clock)
    tracker.begin("copy", "Copies rows.")
    for done in range(0, 1001, 100):
        tracker.say("copying", done=done, total=2000, unit="rows")
        clock.advance(0.5)
    facts = tracker.facts()
    assert (facts["done"], facts["total"], facts["unit"]) == (1000, 2000, "rows")
    assert facts["rate"] == 200.0
    assert facts["left_s"] == 5.0
    assert facts["for_s"] == 5.5


def test_a_rate_that_is_told_counts() -> None:
    tracker = Tracker(ManualClock())
    tracker.say("copying", done=10, total=110, unit="rows", rate=50.0)
    assert (tracker.facts()["rate"], tracker.facts()["left_s"]) == (50.0, 2.0)


def test_only_the_last_seconds_count() -> None:
    clock = ManualClock()
    tracker = Tracker(clock)
    tracker.say("copying", done=0, total=10_000, unit="rows")
    clock.advance(100.0)
    tracker.say("copying", done=5000, total=10_000, unit="rows")
    assert tracker.facts()["rate"] == 0.0
    clock.advance(1.0)
    tracker.say("copying", done=5100, total=10_000, unit="rows")
    assert tracker.facts()["rate"] == 100.0


def test_without_a_rate_nobody_knows_what_is_left() -> None:
    tracker = Tracker(ManualClock())
    tracker.say("copying", done=1, total=2, unit="rows")
    assert tracker.facts()["left_s"] is None


def test_another_stage_begins_anew() -> None:
    clock = ManualClock()
    tracker = Tracker(clock)
    tracker.begin("copy", "Copies.")
    tracker.say("copying", done=5, total=9, unit="rows")
    tracker.fact("rows", 9)
    tracker.begin("verify", "Compares.")
    facts = tracker.facts()
    assert (facts["stage"], facts["doing"], facts["done"], facts["total"]) == ("verify", "Compares.", 0, 0)
    assert tracker.take_facts() == {}


def test_facts_are_taken_once_and_hold_no_secret() -> None:
    tracker = Tracker(ManualClock())
    tracker.fact("rows", 9)
    tracker.fact("server", "postgresql://me:hunter2@db/shop")
    tracker.fact("login", Secret("hunter2"))
    facts = tracker.take_facts()
    assert facts["rows"] == 9
    assert "hunter2" not in str(facts)
    assert tracker.take_facts() == {}


def test_it_is_saved_at_most_once_a_second() -> None:
    clock, saved = ManualClock(), list[dict[str, Any]]()
    tracker = Tracker(clock, saved.append)
    for done in range(40):
        tracker.say("copying", done=done, total=40, unit="rows")
        clock.advance(0.1)
    assert len(saved) == 4
