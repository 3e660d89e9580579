"""One history made by hand for each anomaly: the checker names it, and shows the operations that prove it."""

from __future__ import annotations

from typing import Any

import pytest
from histories import named, op

from tenfold.prove.checkers import (
    availability,
    bank,
    clients,
    counter,
    holding,
    jobs,
    register,
    sessions,
    set_full,
    staleness,
    unique_ids,
)
from tenfold.prove.history import Operation, Status, Window
from tenfold.prove.verdict import Findings

UNKNOWN, FAIL = Status.UNKNOWN, Status.FAIL
OPENING = {"a": 5, "b": 5}


def transfer(one: str, other: str, amount: int, sent: int, end: int, status: Status = Status.OK) -> Operation:
    return op("transfer", {"from": one, "to": other, "amount": amount}, sent, end, status)


def proves(found: Findings, name: str, *evidence: tuple[str, Any]) -> None:
    """Exactly one anomaly, with exactly that evidence."""
    assert found.anomalies == {name: 1}
    assert named(found) == {name: [list(evidence)]}
    assert found.evidence[0].sentence


# --- sets


def test_an_acknowledged_element_that_is_gone_is_lost() -> None:
    found = set_full.check(
        [op("add", 1, 0, 1), op("add", 2, 2, 3), op("read_all", [1, 2], 4, 5), op("read_all", [2], 6, 7)]
    )
    proves(found, "lost", ("add", 1), ("read_all", [2]))


def test_an_acknowledged_element_that_no_read_ever_shows_is_lost() -> None:
    proves(set_full.check([op("add", 1, 0, 1), op("read_all", [], 2, 3)]), "lost", ("add", 1), ("read_all", []))


def test_an_unknown_element_that_was_seen_and_is_gone_is_lost() -> None:
    history = [op("add", 1, 0, 1, UNKNOWN), op("read_all", [1], 4, 5), op("read_all", [], 6, 7)]
    proves(set_full.check(history), "lost", ("add", 1), ("read_all", []))


def test_an_element_that_was_missing_and_came_back_is_stale() -> None:
    history = [op("add", 1, 0, 1), op("read_all", [], 4, 5), op("read_all", [1], 6, 7)]
    proves(set_full.check(history), "stale", ("add", 1), ("read_all", []), ("read_all", [1]))
    assert set_full.check(history).figures["stalest_us"] == 3
    allowed = set_full.check(history, linearizable=False)
    assert allowed.clean
    assert allowed.figures["stale"] == 1


def test_an_element_that_nobody_added_is_unexpected() -> None:
    proves(set_full.check([op("add", 1, 0, 1), op("read_all", [1, 2], 2, 3)]), "unexpected", ("read_all", [1, 2]))


def test_an_element_whose_add_failed_is_unexpected() -> None:
    history = [op("add", 1, 0, 1, FAIL), op("read_all", [1], 2, 3)]
    proves(set_full.check(history), "unexpected", ("add", 1), ("read_all", [1]))


def test_an_element_that_is_read_before_it_is_added_is_unexpected() -> None:
    history = [op("read_all", [1], 0, 1), op("add", 1, 2, 3), op("read_all", [1], 4, 5)]
    proves(set_full.check(history), "unexpected", ("read_all", [1]), ("add", 1))


def test_an_element_twice_in_a_read_is_duplicated() -> None:
    proves(set_full.check([op("add", 1, 0, 1), op("read_all", [1, 1], 2, 3)]), "duplicated", ("read_all", [1, 1]))


def test_an_element_that_two_operations_added_is_the_workloads_fault() -> None:
    history = [op("add", 1, 0, 1), op("add", 1, 2, 3), op("read_all", [1], 4, 5)]
    proves(set_full.check(history), "added-twice", ("add", 1), ("add", 1))


def test_an_unknown_element_may_stay_away_or_appear_late_and_counts_as_recovered() -> None:
    away = [op("add", 1, 0, 1, UNKNOWN), op("add", 2, 0, 1), op("read_all", [2], 4, 5)]
    late = [*away, op("read_all", [1, 2], 6, 7), op("read_all", [1, 2], 8, 9)]
    assert set_full.check(away).clean
    assert set_full.check(late).clean
    assert (set_full.check(away).figures["recovered"], set_full.check(late).figures["recovered"]) == (0, 1)


def test_a_set_without_a_read_after_its_adds_judges_nothing() -> None:
    found = set_full.check([op("read_all", [], 0, 1), op("add", 1, 2, 3), op("read_all", [], 3, 9)])
    assert (found.n, found.figures["never_read"], found.clean) == (0, 1, True)


def test_sets_of_different_keys_are_different_sets() -> None:
    history = [op("add", 1, 0, 1, key="x"), op("read_all", [], 2, 3, key="y"), op("read_all", [1], 2, 3, key="x")]
    assert set_full.check(history).clean


# --- registers


def test_a_read_of_a_replaced_value_is_a_stale_read() -> None:
    history = [op("write", "1-1", 0, 1), op("write", "1-2", 2, 3), op("read", "1-1", 4, 5)]
    proves(register.check(history), "stale-read", ("write", "1-1"), ("write", "1-2"), ("read", "1-1"))


def test_a_read_of_the_initial_value_after_a_write_is_a_stale_read() -> None:
    proves(
        register.check([op("write", "1-1", 0, 1), op("read", None, 4, 5)]),
        "stale-read",
        ("write", "1-1"),
        ("read", None),
    )
    assert register.check([op("write", "1-1", 0, 1), op("read", "0", 0, 5)], initial="0").clean


def test_reads_that_flip_between_concurrent_writes_are_a_stale_read() -> None:
    writes = [op("write", "1-1", 0, 9), op("write", "2-1", 0, 9)]
    reads = [op("read", "1-1", 1, 2), op("read", "2-1", 3, 4), op("read", "1-1", 5, 6)]
    assert register.check([*writes, *reads[:2]]).clean
    assert register.check([*writes, *reads]).anomalies == {"stale-read": 1}


def test_an_unknown_write_that_was_seen_and_is_gone_is_a_stale_read() -> None:
    history = [op("write", "1-1", 0, 1), op("write", "2-1", 2, 3, UNKNOWN)]
    seen = [op("read", "2-1", 8, 9), op("read", "1-1", 10, 11)]
    assert register.check([*history, op("read", "1-1", 4, 5), op("read", "2-1", 8, 9)]).clean
    found = register.check([*history, *seen])
    assert found.anomalies == {"stale-read": 1}
    assert ("read", "2-1") in named(found)["stale-read"][0]
    assert found.figures["recovered"] == 1


def test_a_value_that_nobody_wrote_is_told() -> None:
    proves(register.check([op("write", "1-1", 0, 1), op("read", "7-7", 2, 3)]), "unwritten-value", ("read", "7-7"))


def test_a_value_whose_write_failed_is_told() -> None:
    history = [op("write", "1-1", 0, 1, FAIL), op("read", "1-1", 2, 3)]
    proves(register.check(history), "failed-write-seen", ("write", "1-1"), ("read", "1-1"))


def test_a_value_that_is_read_before_it_was_written_is_told() -> None:
    history = [op("read", "1-1", 0, 1), op("write", "1-1", 2, 3)]
    proves(register.check(history), "read-before-write", ("read", "1-1"), ("write", "1-1"))


def test_a_value_that_was_written_twice_is_the_workloads_fault() -> None:
    history = [op("write", "1-1", 0, 1), op("write", "1-1", 2, 3), op("read", "1-1", 4, 5)]
    proves(register.check(history), "written-twice", ("write", "1-1"), ("write", "1-1"))


def test_reads_that_did_not_succeed_constrain_no_checker() -> None:
    for status in (UNKNOWN, FAIL):
        assert register.check([op("write", "1-1", 0, 1), op("read", "9", 2, 3, status)]).clean
        assert set_full.check([op("add", 1, 0, 1), op("read_all", [], 2, 3, status)]).clean
        assert counter.check([op("increment", 1, 0, 1), op("read", 0, 2, 3, status)]).clean
        assert bank.check([op("read_all", {}, 2, 3, status)], OPENING).clean
        assert sessions.check([op("write", 5, 0, 1), op("read", 1, 2, 3, status)]).clean
        assert staleness.check([op("write", 5, 0, 1), op("read", 1, 2, 3, status)]).clean
        assert unique_ids.check([op("draw", 5, 0, 1), op("draw", 5, 2, 3, status)]).clean


# --- counters


def test_a_missing_increment_is_too_low() -> None:
    history = [op("increment", 1, 0, 1), op("increment", 1, 2, 3), op("read", 1, 4, 5)]
    proves(counter.check(history), "too-low", ("increment", 1), ("read", 1))


def test_an_increment_applied_twice_is_too_high() -> None:
    proves(counter.check([op("increment", 1, 0, 1), op("read", 2, 4, 5)]), "too-high", ("read", 2))


def test_a_failed_increment_that_counts_is_too_high() -> None:
    proves(counter.check([op("increment", 1, 0, 1, FAIL), op("read", 1, 4, 5)]), "too-high", ("read", 1))


def test_a_counter_that_goes_backwards_within_its_bounds_is_told() -> None:
    history = [op("increment", 1, 0, 9), op("read", 1, 1, 2), op("read", 0, 3, 4)]
    proves(counter.check(history), "went-backwards", ("read", 1), ("read", 0))
    assert counter.check(history, linearizable=False).clean


def test_a_counter_that_shows_no_number_is_told() -> None:
    proves(counter.check([op("read", "1", 0, 1)]), "not-a-number", ("read", "1"))


def test_an_unknown_increment_may_count_from_its_start_on_or_never() -> None:
    unknown = op("increment", 1, 5, 6, UNKNOWN)
    assert counter.check([unknown, op("read", 0, 90, 99), op("read", 1, 190, 199)]).clean
    assert counter.check([unknown, op("read", 1, 90, 99), op("read", 0, 190, 199)]).anomalies == {"went-backwards": 1}
    assert counter.check([unknown, op("read", 1, 0, 4)]).anomalies == {"too-high": 1}
    assert counter.check([unknown, op("read", 2, 90, 99)]).anomalies == {"too-high": 1}
    assert counter.check([unknown]).figures["unknown"] == 1


# --- banks


def test_money_that_is_made_changes_the_total() -> None:
    found = bank.check([op("read_all", {"a": 5, "b": 6}, 0, 1)], OPENING)
    assert found.anomalies == {"total-changed": 1, "balance-unexplained": 1}
    assert named(found)["total-changed"] == [[("read_all", {"a": 5, "b": 6})]]


def test_half_a_transfer_changes_the_total() -> None:
    found = bank.check([transfer("a", "b", 2, 0, 9), op("read_all", {"a": 3, "b": 5}, 1, 2)], OPENING)
    assert found.anomalies == {"total-changed": 1}


def test_a_balance_below_zero_is_negative() -> None:
    history = [transfer("a", "b", 7, 0, 1), op("read_all", {"a": -2, "b": 12}, 2, 3)]
    proves(bank.check(history, OPENING), "negative-balance", ("read_all", {"a": -2, "b": 12}))
    assert bank.check(history, OPENING, overdraft=True).clean


def test_a_lost_transfer_leaves_balances_unexplained() -> None:
    found = bank.check([transfer("a", "b", 2, 0, 1), op("read_all", {"a": 5, "b": 5}, 2, 3)], OPENING)
    assert found.anomalies == {"balance-unexplained": 2}
    assert "account a is at 5; the transfers allow 3 to 3" in found.evidence[0].sentence


def test_a_transfer_applied_twice_leaves_balances_unexplained() -> None:
    found = bank.check([transfer("a", "b", 2, 0, 1), op("read_all", {"a": 1, "b": 9}, 2, 3)], OPENING)
    assert found.anomalies == {"balance-unexplained": 2}


def test_a_failed_transfer_that_moved_money_is_unexplained_and_an_unknown_one_may_have() -> None:
    read = op("read_all", {"a": 3, "b": 7}, 2, 3)
    assert bank.check([transfer("a", "b", 2, 0, 1, FAIL), read], OPENING).anomalies == {"balance-unexplained": 2}
    assert bank.check([transfer("a", "b", 2, 0, 1, UNKNOWN), read], OPENING).clean
    assert bank.check([transfer("a", "b", 2, 4, 5, UNKNOWN), read], OPENING).anomalies == {"balance-unexplained": 2}


@pytest.mark.parametrize("shown", [{"a": 10}, {"a": 5, "b": 5, "c": 0}, {"a": "5", "b": 5}, None, [5, 5]])
def test_a_read_that_shows_other_accounts_is_told(shown: Any) -> None:
    proves(bank.check([op("read_all", shown, 0, 1)], OPENING), "accounts-differ", ("read_all", shown))


# --- ids


def test_an_id_that_is_given_out_twice_is_told_whoever_drew_it() -> None:
    history = [op("draw", 7, 0, 9, node="web-1"), op("draw", 7, 0, 9, node="web-2", keyed=True)]
    proves(unique_ids.check(history), "id-twice", ("draw", 7), ("draw", 7))
    assert unique_ids.check([op("draw", 7, 0, 9), op("draw", 7, 0, 9, key="other kind")]).clean


def test_an_id_below_an_earlier_one_of_its_process_is_out_of_order() -> None:
    history = [op("draw", 7, 0, 1, node="web-1"), op("draw", 6, 2, 3, node="web-1")]
    proves(unique_ids.check(history), "id-out-of-order", ("draw", 7), ("draw", 6))


def test_ids_are_out_of_order_only_within_one_process_in_sequence_and_without_a_key() -> None:
    assert unique_ids.check([op("draw", 7, 0, 1, node="web-1"), op("draw", 6, 2, 3, node="web-2")]).clean
    assert unique_ids.check([op("draw", 7, 0, 2, node="web-1"), op("draw", 6, 2, 3, node="web-1")]).clean
    assert unique_ids.check([op("draw", 7, 0, 1), op("draw", 6, 2, 3, keyed=True)]).clean
    assert unique_ids.check([op("draw", 7, 0, 1), op("draw", 6, 2, 3)], ordered_by=None).clean


def test_ids_that_one_request_drew_are_judged_in_their_order() -> None:
    proves(unique_ids.check([op("draw", ["b", "a"], 0, 1)]), "id-out-of-order", ("draw", ["b", "a"]))
    assert unique_ids.check([op("draw", ["a", "b"], 0, 1)]).n == 2


def test_what_is_no_id_is_told() -> None:
    proves(unique_ids.check([op("draw", None, 0, 1)]), "not-an-id", ("draw", None))


# --- sessions


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("read-your-writes", ("write", 3), ("read", 2)),
        ("read-your-writes", ("write", 3), ("read", None)),
        ("monotonic-reads", ("read", 3), ("read", 2)),
        ("monotonic-reads", ("read", 3), ("read", None)),
        ("monotonic-writes", ("write", 3), ("write", 3)),
        ("writes-follow-reads", ("read", 3), ("write", 3)),
    ],
)
def test_a_session_that_sees_the_past_is_told(name: str, first: tuple[str, Any], second: tuple[str, Any]) -> None:
    history = [op(*first, 0, 1), op(*second, 2, 3)]
    proves(sessions.check(history), name, first, second)
    assert sessions.check([history[0], op(*second, 1, 3)]).clean, "they overlap, so neither binds the other"
    assert sessions.check([history[0], op(*second, 2, 3, process=1)]).clean, "another session"
    assert sessions.check([history[0], op(*second, 2, 3, key="other")]).clean, "another key"
    assert sessions.check([op(*first, 0, 1, UNKNOWN), history[1]]).clean, "the first carries no version"


def test_a_session_may_be_more_than_one_client() -> None:
    history = [op("write", 3, 0, 1, process=1, token="t"), op("read", 2, 2, 3, process=9, token="t")]
    assert sessions.check(history).clean
    found = sessions.check(history, session=lambda each: each.token)
    proves(found, "read-your-writes", ("write", 3), ("read", 2))


def test_an_answer_without_a_version_is_told() -> None:
    proves(sessions.check([op("write", None, 0, 1)]), "not-a-version", ("write", None))


# --- staleness


def test_a_stale_read_of_the_writing_node_is_told_at_once_and_of_another_after_the_allowance() -> None:
    write = op("write", 2, 0, 1_000, node="web-1")
    own, other = (op("read", 1, 1_001, 1_002, node=node) for node in ("web-1", "web-2"))
    first = op("write", 1, 0, 1)
    proves(staleness.check([first, write, own]), "stale", ("write", 2), ("read", 1))
    proves(staleness.check([first, write, op("read", 1, 1_001, 1_002)]), "stale", ("write", 2), ("read", 1))
    found = staleness.check([first, write, other])
    assert (found.clean, found.figures["stalest_us"], found.figures["stale_reads"]) == (True, 1, 1)
    late = op("read", 1, 11_001, 11_002, node="web-2")
    proves(staleness.check([first, write, late]), "stale", ("write", 2), ("read", 1))


def test_staleness_counts_from_the_first_newer_write_and_unknown_writes_replace_nothing() -> None:
    history = [op("write", 1, 0, 1), op("write", 2, 2, 10), op("write", 3, 12, 20), op("read", 1, 50, 60)]
    assert staleness.check(history).figures["stalest_us"] == 40
    assert staleness.check([op("write", 1, 0, 1), op("write", 2, 2, 10, UNKNOWN), op("read", 1, 50, 60)]).clean


def test_a_version_that_nobody_wrote_is_told() -> None:
    proves(staleness.check([op("write", 1, 0, 1), op("read", 9, 2, 3)]), "unwritten-version", ("read", 9))
    assert staleness.check([op("write", 1, 0, 1), op("write", None, 0, 1, UNKNOWN), op("read", 2, 2, 3)]).clean


def test_a_version_whose_write_failed_is_told() -> None:
    history = [op("write", 1, 0, 1), op("write", 2, 2, 3, FAIL), op("read", 2, 4, 5)]
    proves(staleness.check(history), "failed-write-seen", ("write", 2), ("read", 2))


def test_reads_before_any_acknowledged_write_judge_nothing() -> None:
    assert staleness.check([op("read", None, 0, 1), op("write", 1, 2, 3)]).n == 0


# --- requests and clients


@pytest.mark.parametrize(
    ("status", "http", "name"),
    [(UNKNOWN, 0, "no-answer"), (FAIL, 0, "refused"), (UNKNOWN, 500, "server-error"), (FAIL, 503, "server-error")],
)
def test_a_failed_request_is_named_by_how_it_failed(status: Status, http: int, name: str) -> None:
    found = availability.check([op("read", None, 0, 1, status, http=http)])
    proves(found, name, ("read", None))
    assert found.figures["failed"] == 1


@pytest.mark.parametrize("http", [400, 404, 409, 422, 429])
def test_an_answer_that_says_no_is_an_answer(http: int) -> None:
    assert availability.check([op("write", 1, 0, 1, FAIL, http=http)]).clean


def test_what_a_fault_explains_is_counted_and_is_no_anomaly() -> None:
    before, open_then, later = (op("write", 1, sent, sent + 100, UNKNOWN) for sent in (800, 950, 200_000))
    found = availability.check([before, open_then, later], excused=lambda each: each is open_then)
    assert found.anomalies == {"no-answer": 2}
    assert found.figures["excused"] == 1


def test_a_request_that_is_held_too_long_counts_from_when_it_was_meant_to_be_sent() -> None:
    request = Operation(1, "read", "k", None, 0, 900, 1_100, Status.OK)
    proves(availability.check([request], max_hold_us=1_000), "held-too-long", ("read", None))
    found = availability.check([request])
    assert (found.figures["longest_hold_us"], found.figures["late_us"]) == (1_100, 900)


def test_quantiles_are_values_that_were_measured() -> None:
    ordered = list(range(1, 101))
    assert [availability.quantile(ordered, share) for share in (0.0, 0.5, 0.99, 0.999, 1.0)] == [1, 50, 99, 100, 100]
    assert availability.quantile([], 0.5) == 0


def test_a_client_that_does_two_things_at_a_time_is_told() -> None:
    history = [op("read", 1, 0, 5), op("read", 2, 4, 6)]
    proves(clients.check(history), "client-overlaps", ("read", 1), ("read", 2))


def test_a_client_that_goes_on_after_an_unknown_operation_is_told() -> None:
    history = [op("write", 1, 0, 5, UNKNOWN), op("read", 2, 7, 8)]
    proves(clients.check(history), "client-after-unknown", ("write", 1), ("read", 2))
    assert clients.check([history[0], op("read", 2, 7, 8, process=1)]).clean


def test_all_anomalies_are_counted_and_the_first_few_are_kept_short() -> None:
    many = [op("add", number, 0, 1) for number in range(40)]
    found = set_full.check([*many, op("read_all", list(range(100, 150)), 2, 3)])
    assert found.anomalies == {"lost": 40, "unexpected": 50}
    assert {name: len(each) for name, each in named(found).items()} == {"lost": 5, "unexpected": 5}
    assert named(found)["lost"][0][1] == ("read_all", "50 values")


# --- work held while a move passes


def test_a_request_that_fails_during_a_move_is_named() -> None:
    windows = [Window("move", "2", 10, 20, True)]
    before, open_then = op("write", 1, 0, 9, UNKNOWN), op("write", 2, 5, 12, UNKNOWN)
    found = holding.check([before, open_then], windows, limit_us=100)
    proves(found, "failed", ("write", 2))
    assert found.n == 1


def test_a_request_held_longer_than_promised_is_named() -> None:
    windows = [Window("move", "2", 10, 20, True), Window("move", "1", 200, 210, True)]
    short, long = op("write", 1, 5, 12), op("write", 2, 30, 205)
    found = holding.check([short, long, op("write", 3, 100, 110)], windows, limit_us=100)
    proves(found, "held-too-long", ("write", 2))
    assert found.n == 2
    assert found.figures["longest_hold_us"] == 175


# --- jobs


def ran(effects: int, *starts: int) -> dict[str, Any]:
    """A job whose process died between any two of its starts."""
    return {"count": effects, "starts": [f"{crashes}.{at}" for crashes, at in enumerate(starts)]}


def test_an_acknowledged_job_without_effect_is_lost() -> None:
    orders = [op("enqueue", 20, 0, 1, key="a"), op("enqueue", 20, 0, 1, key="b")]
    reads = [op("done", None, 5, 6, FAIL, key="a"), op("done", ran(1, 2), 5, 6, key="b")]
    proves(jobs.check(orders + reads), "lost", ("enqueue", 20), ("done", None))


def test_a_job_that_was_waited_for_is_not_lost() -> None:
    reads = [op("done", None, 5, 6, FAIL), op("done", ran(1, 2), 7, 8)]
    assert jobs.check([op("enqueue", 20, 0, 1), *reads]).anomalies == {}


def test_a_job_with_two_effects_ran_twice_whatever_its_client_was_told() -> None:
    for status in (Status.OK, UNKNOWN):
        found = jobs.check([op("enqueue", 20, 0, 1, status), op("look", ran(2, 2, 9), 10, 11)])
        proves(found, "twice", ("enqueue", 20), ("look", ran(2, 2, 9)))


def test_a_refused_job_that_was_carried_out_is_a_ghost() -> None:
    found = jobs.check([op("enqueue", 20, 0, 1, FAIL), op("look", ran(1, 2), 10, 11)])
    proves(found, "ghost", ("enqueue", 20), ("look", ran(1, 2)))
    unknown = jobs.check([op("enqueue", 20, 0, 1, UNKNOWN), op("look", ran(1, 2), 10, 11)])
    assert unknown.anomalies == {}


def test_a_job_whose_worker_was_killed_has_to_begin_again_in_time() -> None:
    kill = Window("kill", "worker-1", 100, 300, True, fell_us=200)
    limit = jobs.LEASE_US + jobs.GRACE_US
    soon = op("done", ran(1, 150, 200 + limit), 0, 1)
    late = op("done", ran(1, 150, 201 + limit), 0, 1)
    assert jobs.check_again([soon], [kill]).n == 1
    assert jobs.check_again([soon], [kill]).anomalies == {}
    proves(jobs.check_again([late], [kill]), "late", ("done", late.value))


def test_a_job_that_did_not_run_when_somebody_died_says_nothing() -> None:
    kill = Window("kill", "worker-1", 100, 300, True, fell_us=200)
    after = op("done", ran(1, 100_000, 200_000), 0, 1)
    once = op("done", ran(1, 150), 0, 1)
    assert jobs.check_again([after, once], [kill]).n == 0


def test_a_job_that_met_two_deaths_is_timed_at_the_first() -> None:
    kills = [Window("kill", "web-1", at, at + 50, True, fell_us=at + 10) for at in (200, 400)]
    late = op("done", ran(1, 150, 300, 500 + jobs.LEASE_US + jobs.GRACE_US), 0, 1)
    found = jobs.check_again([late], kills)
    assert (found.n, found.anomalies, found.figures["suspects"]) == (1, {}, 1)


def test_what_the_starts_say_of_crashes_decides_and_not_how_many_there_are() -> None:
    second = 1_000_000
    kills = [Window("kill", "web-1", at, at + 50, True, fell_us=at) for at in (2 * second, 4 * second)]
    late_us = 5 * second + jobs.LEASE_US + jobs.GRACE_US

    def found(first: int, then: int) -> tuple[int, list[str], float]:
        value = {"count": 1, "starts": [f"{first}.{3 * second}", f"{then}.{late_us}"]}
        findings = jobs.check_again([op("enqueue", 20, second, second + 1), op("done", value, 0, 1)], kills)
        return findings.n, list(findings.anomalies), findings.figures["suspects"]

    assert found(0, 1) == (1, ["late"], 0)
    assert found(1, 2) == (0, [], 1), "it was taken, and its process died before it began"
    assert found(1, 1) == (0, [], 0), "somebody gave it back"
    assert found(2, 0) == (0, [], 0), "a dead letter that was replayed"
