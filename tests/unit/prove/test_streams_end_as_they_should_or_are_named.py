"""The checker of WebSockets and event streams: one history for each anomaly, and what is none."""

from __future__ import annotations

from typing import Any

import pytest
from histories import named, op

from tenfold.prove.checkers import streams
from tenfold.prove.checkers.streams import CUT, WHOLE
from tenfold.prove.history import Operation, Recording, Status, Window
from tenfold.prove.judging import judge_requests
from tenfold.prove.verdict import Outcome

UNKNOWN, FAIL = Status.UNKNOWN, Status.FAIL


def line(*steps: tuple[Any, ...]) -> list[Operation]:
    """(function, value[, status]) one after the other."""
    return [op(step[0], step[1], 10 * at, 10 * at + 5, *step[2:]) for at, step in enumerate(steps)]


def echo(text: str) -> tuple[str, list[str]]:
    return "echo", [text, text]


CONNECT = ("connect", None)
PROPER = line(CONNECT, echo("a"), ("end", 1012), CONNECT, echo("b"), ("end", 1001), CONNECT)
NUMBERED = line(("event", 1), ("event", 2), ("end", WHOLE), CONNECT, ("event", 3))


def test_proper_ends_with_continuity_are_clean_and_counted() -> None:
    found = streams.check([*PROPER, *(op("event", number, 5, 6, key="e") for number in (1,))])
    assert found.clean
    assert (found.n, found.figures) == (5, {"ends": 2, "cut_off": 0, "streams": 2})
    assert streams.check(NUMBERED).clean


@pytest.mark.parametrize(
    ("steps", "name", "evidence"),
    [
        ([echo("a"), ("end", CUT, UNKNOWN)], "cut", ("end", CUT)),
        ([("end", 1000)], "wrong-close", ("end", 1000)),
        ([("end", 1006)], "wrong-close", ("end", 1006)),
        ([("echo", ["a", "b"])], "wrong-echo", ("echo", ["a", "b"])),
        ([("echo", ["a", None], UNKNOWN)], "silent", ("echo", ["a", None])),
        ([("event", None, UNKNOWN)], "silent", ("event", None)),
        ([("connect", None, UNKNOWN)], "not-connected", ("connect", None)),
        ([("connect", None, FAIL)], "not-connected", ("connect", None)),
        ([("event", 1), ("event", 3)], "gap", ("event", 3)),
        ([("event", 2)], "gap", ("event", 2)),
        ([("event", 1), ("end", WHOLE), ("event", 1)], "repeat", ("event", 1)),
        ([("event", 1), ("event", 2), ("event", 1), ("event", 3)], "repeat", ("event", 1)),
    ],
)
def test_every_anomaly_is_named(steps: list[tuple[Any, ...]], name: str, evidence: tuple[str, Any]) -> None:
    found = streams.check(line(*steps))
    assert found.anomalies == {name: 1}
    assert named(found) == {name: [[evidence]]}


@pytest.mark.parametrize("step", [("end", CUT, UNKNOWN), ("echo", ["a", None], UNKNOWN), ("connect", None, UNKNOWN)])
def test_what_a_fault_explains_is_counted_and_no_anomaly_but_never_a_gap(step: tuple[Any, ...]) -> None:
    found = streams.check(line(("event", 1), step, ("event", 3)), excused=lambda each: each.status is UNKNOWN)
    assert found.anomalies == {"gap": 1}
    assert found.figures["cut_off"] == 1


def test_a_run_is_judged_by_it_and_a_kill_explains_a_cut_at_that_moment_only() -> None:
    def verdict(cut_us: int) -> Outcome:
        end = op("end", CUT, cut_us - 50, cut_us, UNKNOWN, workload="websocket", safe=True, begun=True)
        kill = Window("kill", "web", 1_000_000, 3_000_000, True, fell_us=1_001_000, role="web", balanced=True)
        waiting = op(
            "read", None, 900_000, 1_400_000, workload="waiting", safe=True, own_us=300_000, process=2, key="w"
        )
        judged = judge_requests(Recording((end, waiting), (kill,)), [])
        return next(each.verdict for each in judged if each.workload == "websocket")

    assert verdict(1_000_500) is Outcome.HOLDS
    assert verdict(900_000) is Outcome.BROKEN
    assert verdict(2_900_000) is Outcome.BROKEN
