"""A promise holds only when enough happened for it to have been broken."""

from __future__ import annotations

import json

import pytest
from histories import op

from tenfold.prove.checkers import (
    availability,
    bank,
    clients,
    counter,
    register,
    sessions,
    set_full,
    staleness,
    unique_ids,
)
from tenfold.prove.history import Window
from tenfold.prove.verdict import (
    Findings,
    Outcome,
    Sometimes,
    Verdict,
    as_json,
    combine,
    faults_took_effect,
    judge,
    not_run,
    passed,
    rule_of_three,
)

CLEAN = Findings("set-full", 300, "elements")
BROKEN = set_full.check([op("add", 1, 0, 1), op("read_all", [], 2, 3)])
VACUOUS = Findings("set-full", 0, "elements")


def test_clean_findings_hold_with_their_number_and_bound() -> None:
    verdict = judge("P1", CLEAN, workload="set")
    assert (verdict.verdict, verdict.n, verdict.bound) == (Outcome.HOLDS, 300, 0.01)
    assert verdict.detail == "0 violations in 300 elements"


@pytest.mark.parametrize(
    "check",
    [
        set_full.check,
        register.check,
        counter.check,
        lambda none: bank.check(none, {}),
        unique_ids.check,
        sessions.check,
        staleness.check,
        availability.check,
        clients.check,
    ],
)
def test_no_operations_are_vacuous_for_every_checker(check) -> None:
    verdict = judge("P1", check([]))
    assert (verdict.verdict, verdict.bound) == (Outcome.VACUOUS, None)
    assert verdict.detail.startswith("no ")


@pytest.mark.parametrize(
    ("check", "function", "value"),
    [
        (set_full.check, "add", 1),
        (register.check, "write", 1),
        (counter.check, "increment", 1),
        (sessions.check, "write", 1),
        (staleness.check, "write", 1),
    ],
)
def test_writes_that_nobody_read_are_vacuous(check, function: str, value: int) -> None:
    assert judge("P1", check([op(function, value, 0, 1)])).verdict is Outcome.VACUOUS


def test_a_fault_without_an_effect_is_vacuous_though_another_kind_had_one() -> None:
    windows = [
        Window("kill", "web-1", 0, 1, True),
        Window("kill", "web-1", 2, 3, False),
        Window("pause", "x", 4, 5, False),
    ]
    kill, pause = faults_took_effect(windows)
    assert judge("P1", CLEAN, sometimes=[kill]).verdict is Outcome.HOLDS
    verdict = judge("P1", CLEAN, sometimes=[kill, pause])
    assert verdict.verdict is Outcome.VACUOUS
    assert verdict.detail == "never happened: a fault 'pause' had an effect"


def test_what_must_happen_sometimes_and_never_did_is_vacuous() -> None:
    verdict = judge("P1", CLEAN, sometimes=[Sometimes("a retry", 3), Sometimes("a held request", 0)])
    assert (verdict.verdict, verdict.detail) == (Outcome.VACUOUS, "never happened: a held request")


def test_broken_outweighs_vacuous_and_shows_its_evidence() -> None:
    verdict = judge("P1", BROKEN, sometimes=[Sometimes("a held request", 0)])
    assert (verdict.verdict, verdict.detail, verdict.bound) == (Outcome.BROKEN, "1 lost in 1 elements", None)
    assert [each.value for each in verdict.evidence[0].operations] == [1, []]


@pytest.mark.parametrize(("n", "bound"), [(0, None), (1, 1.0), (3, 1.0), (300, 0.01), (30_000, 0.0001)])
def test_the_bound_is_three_in_n(n: int, bound: float | None) -> None:
    assert rule_of_three(n) == bound


HOLDS = judge("P1", CLEAN, workload="set")
NOT = not_run("P1", "needs root", workload="disk full")


@pytest.mark.parametrize(
    ("parts", "outcome", "may_pass"),
    [
        ([HOLDS, HOLDS], Outcome.HOLDS, True),
        ([HOLDS, NOT], Outcome.HOLDS, True),
        ([HOLDS, judge("P1", VACUOUS), NOT], Outcome.VACUOUS, False),
        ([judge("P1", VACUOUS), judge("P1", BROKEN), HOLDS], Outcome.BROKEN, False),
        ([NOT, NOT], Outcome.NOT_RUN, False),
        ([], None, False),
    ],
)
def test_the_worst_part_of_a_promise_counts(parts: list[Verdict], outcome: Outcome | None, may_pass: bool) -> None:
    combined = combine(parts)
    assert [each.verdict for each in combined] == ([outcome] if outcome else [])
    assert passed(combined) is may_pass


def test_a_part_that_was_not_run_is_named_beside_those_that_hold() -> None:
    (combined,) = combine([HOLDS, NOT, HOLDS])
    assert "disk full: not run: needs root" in combined.detail
    assert (combined.n, combined.unit, combined.bound, len(combined.parts)) == (300, "elements", 0.01, 3)


def test_a_run_may_pass_with_a_promise_that_was_openly_not_run() -> None:
    assert passed(combine([HOLDS, not_run("P6", "no worker exists yet")]))


def test_promises_come_in_the_order_of_their_numbers() -> None:
    made = [judge(promise, CLEAN) for promise in ("P10", "P2", "P9", "P1")]
    assert [each.id for each in combine(made)] == ["P1", "P2", "P9", "P10"]


def test_verdicts_are_json() -> None:
    (plain,) = json.loads(json.dumps(as_json(combine([judge("P1", BROKEN, workload="set")]))))
    assert (plain["id"], plain["verdict"], plain["n"], plain["anomalies"]) == ("P1", "broken", 1, {"lost": 1})
    assert plain["evidence"][0]["operations"][0]["function"] == "add"
