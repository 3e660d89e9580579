"""Which failures a fault explains: for every kind of fault, every role, and every moment a request can have."""

from __future__ import annotations

import itertools

import pytest
from histories import op

from tenfold.prove.excuses import SLACK_US, Cost, cost_of, excused, repeatable, role_of
from tenfold.prove.faults import KINDS
from tenfold.prove.history import Operation, Status, Window
from tenfold.prove.moves import KINDS as MOVES

BLOW, FELL, WHOLE = 1_000_000, 1_200_000, 3_000_000
ROLES = ("web", "haproxy", "balancer", "keeper", "controller", "database")


def window(kind: str, role: str, *, balanced: bool = False) -> Window:
    return Window(kind, f"{role}-1", BLOW, WHOLE, True, fell_us=FELL, role=role, balanced=balanced)


def lost(sent: int, end: int, **more: object) -> Operation:
    return op("x", None, sent, end, Status.UNKNOWN, **more)


IN_FLIGHT = lost(BLOW - 10, BLOW + 10)


def test_the_whole_table_of_costs() -> None:
    costs = {
        (kind, role, balanced): cost_of(window(kind, role, balanced=balanced))
        for kind, role, balanced in itertools.product((*KINDS, *MOVES), ROLES, (False, True))
    }
    expected = dict.fromkeys(costs, Cost.NOTHING)
    for balanced in (False, True):
        expected["kill", "haproxy", balanced] = Cost.OPEN
        expected["pause", "haproxy", balanced] = Cost.CONNECTIONS
        for role in ROLES:
            expected["disk-full", role, balanced] = Cost.ALL
            expected["clock-step", role, balanced] = Cost.IDS
    expected["kill", "web", False] = Cost.OPEN
    expected["kill", "web", True] = Cost.UNREPEATABLE
    assert costs == expected


@pytest.mark.parametrize(
    ("target", "role"),
    [("web", "web"), ("web-12", "web"), ("db-1", "database"), ("primary", "database"), ("haproxy-2", "haproxy")],
)
def test_an_old_history_tells_the_role_by_the_target(target: str, role: str) -> None:
    assert role_of(Window("kill", target, 0, 1, True)) == role


@pytest.mark.parametrize(
    ("sent", "end", "open_"),
    [
        (BLOW - 10, BLOW - 1, False),
        (BLOW - 10, BLOW, True),
        (BLOW + 5, FELL - 5, True),
        (FELL + SLACK_US, WHOLE, True),
        (FELL + SLACK_US + 1, WHOLE, False),
        (WHOLE + 1, WHOLE + 2, False),
    ],
)
def test_a_kill_explains_only_what_was_open_when_its_victim_died(sent: int, end: int, open_: bool) -> None:
    for role in ("web", "haproxy"):
        assert excused(lost(sent, end), window("kill", role)) is open_
    for role in ("balancer", "keeper", "controller", "database"):
        assert not excused(lost(sent, end), window("kill", role))


@pytest.mark.parametrize(
    ("facts", "explained"),
    [
        ({}, True),
        ({"safe": True}, False),
        ({"keyed": True}, False),
        ({"safe": True, "begun": True}, True),
        ({"keyed": True, "begun": True}, True),
    ],
)
def test_behind_balancers_a_killed_web_server_explains_no_read_and_no_keyed_write(
    facts: dict[str, bool], explained: bool
) -> None:
    request = lost(IN_FLIGHT.sent_us, IN_FLIGHT.end_us, **facts)
    assert excused(request, window("kill", "web", balanced=True)) is explained
    assert repeatable(request) is not explained
    assert excused(request, window("kill", "web"))
    assert excused(request, window("kill", "haproxy", balanced=True)), "what hung on a balancer is gone"


def test_a_balancer_that_stands_still_explains_only_what_hangs_on_connections_that_it_had() -> None:
    paused = window("pause", "haproxy", balanced=True)
    during = (BLOW + 100, WHOLE - 100)
    assert excused(lost(*during, opened_us=BLOW - 5), paused)
    assert excused(lost(*during, opened_us=BLOW + SLACK_US), paused)
    assert not excused(lost(*during, opened_us=BLOW + SLACK_US + 1), paused), "a new connection goes to the other one"
    assert not excused(lost(*during), paused), "nobody knows when it was opened"
    assert not excused(lost(WHOLE + 1, WHOLE + 2, opened_us=BLOW - 5), paused)


def test_a_clock_that_stands_back_explains_refused_ids_and_a_full_disk_everything_while_it_lasts() -> None:
    ids, other = lost(BLOW, FELL, workload="ids"), lost(BLOW, FELL, workload="set")
    assert [excused(each, window("clock-step", "web")) for each in (ids, other)] == [True, False]
    assert [excused(each, window("disk-full", "web")) for each in (ids, other)] == [True, True]
    assert not excused(lost(WHOLE + 1, WHOLE + 2), window("disk-full", "web"))
