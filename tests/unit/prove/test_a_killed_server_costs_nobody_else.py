"""P3: what a kill behind balancers may cost, judged from histories; a kill that met nobody proves nothing."""

from __future__ import annotations

from typing import Any

import pytest
from histories import named, op

from tenfold.prove.checkers import killed
from tenfold.prove.excuses import SLACK_US
from tenfold.prove.history import Operation, Recording, Status, Window
from tenfold.prove.judging import judge_requests
from tenfold.prove.verdict import Outcome, Verdict

BLOW, FELL, WHOLE = 1_000_000, 1_010_000, 3_000_000
WAIT = 300_000


def kill(role: str, *, balanced: bool = True, effect: bool = True) -> Window:
    return Window("kill", role, BLOW, WHOLE, effect, fell_us=FELL, role=role, balanced=balanced)


def read(sent: int, end: int, status: Status = Status.OK, **more: Any) -> Operation:
    return op("read", None, sent, end, status, safe=True, workload="waiting", **more)


RUN_AGAIN = read(BLOW - 100_000, BLOW + WAIT + 5_000, own_us=WAIT, process=2)
"""It was 100 ms old when the server died, and took its whole time once more."""
ELSEWHERE = read(BLOW - 100_000, BLOW + WAIT - 100_000, own_us=WAIT, process=3)


def test_a_read_that_was_open_and_got_no_answer_is_named() -> None:
    lost = read(BLOW - 5, BLOW + 5, Status.UNKNOWN)
    found = killed.check([lost, RUN_AGAIN], [kill("web")])
    assert named(found) == {"failed": [[("read", None)]]}
    assert (found.n, found.figures["met"]) == (2, 1)


def test_a_keyed_write_that_its_client_had_to_send_again_has_failed() -> None:
    again = op("add", 1, BLOW - 5, BLOW + 900, keyed=True, attempts=2)
    assert killed.check([again], [kill("web")]).anomalies == {"failed": 1}
    assert killed.check([op("add", 1, BLOW - 5, BLOW + 900, keyed=True)], [kill("web")]).clean


@pytest.mark.parametrize(
    "allowed",
    [
        op("add", 1, BLOW - 5, BLOW + 5, Status.UNKNOWN),
        read(BLOW - 5, BLOW + 5, Status.UNKNOWN, begun=True),
        op("add", 1, BLOW - 5, BLOW + 5, Status.UNKNOWN, keyed=True, begun=True),
    ],
)
def test_what_had_begun_and_writes_without_a_key_may_be_lost_and_are_counted(allowed: Operation) -> None:
    found = killed.check([allowed], [kill("web")])
    assert found.clean
    assert (found.n, found.figures["cut_off"], found.figures["met"]) == (0, 1, 1)


def test_a_killed_balancer_loses_what_it_had_and_nothing_that_came_later() -> None:
    had = read(BLOW - 5, BLOW + 5, Status.UNKNOWN)
    later = read(FELL + SLACK_US + 1, WHOLE - 5, Status.UNKNOWN, process=4)
    found = killed.check([had, later], [kill("haproxy")])
    assert found.anomalies == {"failed": 1}
    assert found.evidence[0].operations == (later,)
    assert (found.n, found.figures["met"]) == (1, 1)


def test_the_process_beside_a_balancer_dies_without_any_effect() -> None:
    for lost in (read(BLOW - 5, BLOW + 5, Status.UNKNOWN), read(WHOLE - 5, WHOLE + 5, Status.UNKNOWN)):
        assert killed.check([lost], [kill("balancer")]).anomalies == {"failed": 1}
    assert killed.check([read(WHOLE + 1, WHOLE + 5, Status.UNKNOWN)], [kill("balancer")]).n == 0


def test_an_operation_that_two_kills_met_is_one_trial() -> None:
    slow = read(BLOW - 5, BLOW + 10, own_us=0)
    other = Window("kill", "web-2", BLOW + 1, WHOLE, True, fell_us=BLOW + 2, role="web", balanced=True)
    assert killed.check([slow], [kill("web"), other]).n == 1


def test_what_outlasts_one_kill_and_meets_the_next_is_judged_by_the_next() -> None:
    slow = op("add", 1, WHOLE - 500_000, WHOLE + 700_000, Status.UNKNOWN, workload="waiting")
    web = Window(
        "kill", "web", WHOLE + 690_000, WHOLE + 900_000, True, fell_us=WHOLE + 691_000, role="web", balanced=True
    )
    alone = killed.check([slow], [kill("balancer")])
    assert alone.anomalies == {"failed": 1}
    verdicts = judge_requests(Recording((slow, RUN_AGAIN), (kill("balancer"), web)), [])
    p3 = {each.workload: each for each in verdicts if each.id == "P3"}
    assert p3["requests while a balancer was killed"].verdict is Outcome.HOLDS
    assert p3["requests while a balancer was killed"].n == 1, "the one that the other kill explains is no trial"


def test_only_kills_behind_balancers_are_of_interest() -> None:
    windows = [kill("web"), kill("web", balanced=False), kill("database"), kill("haproxy"), kill("balancer")]
    paused = Window("pause", "web-1", 0, 1, True, role="web", balanced=True)
    assert killed.of_interest([*windows, paused]) == [windows[0], windows[3], windows[4]]


def p3(operations: list[Operation], *windows: Window) -> Verdict:
    verdicts = judge_requests(Recording(tuple(operations), windows), [])
    found = [verdict for verdict in verdicts if verdict.id == "P3"]
    assert len(found) == 1
    return found[0]


def test_a_kill_that_met_a_request_holds() -> None:
    verdict = p3([RUN_AGAIN, ELSEWHERE], kill("web"))
    assert (verdict.verdict, verdict.n) == (Outcome.HOLDS, 2)


def test_a_kill_that_met_nobody_is_vacuous() -> None:
    assert p3([ELSEWHERE], kill("web")).verdict is Outcome.VACUOUS
    assert p3([read(FELL + SLACK_US + 5, WHOLE)], kill("haproxy")).verdict is Outcome.VACUOUS


def test_a_kill_without_effect_is_vacuous_and_one_of_the_process_beside_a_balancer_needs_no_victim() -> None:
    assert p3([RUN_AGAIN], kill("web", effect=False)).verdict is Outcome.VACUOUS
    assert p3([RUN_AGAIN], kill("balancer")).verdict is Outcome.HOLDS
    assert p3([RUN_AGAIN], kill("balancer", effect=False)).verdict is Outcome.VACUOUS


def test_before_balancers_nothing_is_said_about_p3() -> None:
    verdicts = judge_requests(Recording((RUN_AGAIN,), (kill("web", balanced=False),)), [])
    assert {verdict.id for verdict in verdicts} == {"P1"}
