"""Each fast checker against its definition, computed the slow way, on thousands of small random histories."""

from __future__ import annotations

from collections import Counter

import histories
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.prove.checkers import bank, counter, register, sessions, set_full, staleness, unique_ids
from tenfold.prove.history import Operation, Status

most = settings(max_examples=2_000, deadline=None)
many = settings(max_examples=1_000, deadline=None)


@most
@given(histories.registers())
def test_zones_agree_with_the_search_for_an_order(operations: list[Operation]) -> None:
    assert register.check(operations).clean == histories.linearizable(operations)


@most
@given(histories.sets())
def test_set_full_names_the_elements_of_its_definition(operations: list[Operation]) -> None:
    wanted = {name: len(values) for name, values in histories.set_by_definition(operations).items() if values}
    found = Counter(set_full.check(operations).anomalies)
    # An element that is twice in several reads is told for each of them.
    assert bool(found.pop("duplicated", 0)) == bool(wanted.pop("duplicated", 0))
    assert found == wanted


@many
@given(histories.counters())
def test_a_counter_is_within_bounds_exactly_when_some_choice_of_increments_explains_it(
    operations: list[Operation],
) -> None:
    changes = [(each, each.value) for each in operations if each.function == "increment"]
    reads = [each for each in operations if each.function == "read"]
    impossible = sum(not histories.sum_is_possible(changes, read, 0, read.value) for read in reads)
    rising = all(amount > 0 for _, amount in changes)
    back = sum(
        any(histories.precedes(one, read) and one.value > read.value for one in reads) for read in reads if rising
    )
    found = counter.check(operations).anomalies
    assert found.get("too-low", 0) + found.get("too-high", 0) == impossible
    assert found.get("went-backwards", 0) == back


@many
@given(histories.banks())
def test_a_bank_is_sound_exactly_when_totals_hold_and_transfers_explain_each_balance(
    operations: list[Operation],
) -> None:
    opening = dict.fromkeys("abc", 2)
    transfers = [each for each in operations if each.function == "transfer"]
    wanted: Counter[str] = Counter()
    for read in (each for each in operations if each.function == "read_all"):
        wanted["total-changed"] += sum(read.value.values()) != 6
        for account, balance in read.value.items():
            changes = [(each, (each.value["to"] == account) - (each.value["from"] == account)) for each in transfers]
            wanted["negative-balance"] += balance < 0
            wanted["balance-unexplained"] += not histories.sum_is_possible(changes, read, 2, balance)
    assert bank.check(operations, opening).anomalies == {name: count for name, count in wanted.items() if count}


@many
@given(histories.versions())
def test_session_guarantees_agree_with_all_pairs(operations: list[Operation]) -> None:
    assert sessions.check(operations).anomalies == histories.session_violations(operations)


@many
@given(histories.versions(), st.integers(0, 3), st.integers(0, 3))
def test_staleness_agrees_with_all_pairs(operations: list[Operation], same_us: int, more_us: int) -> None:
    others_us = same_us + more_us
    found = staleness.check(operations, same_us=same_us, others_us=others_us).anomalies
    assert found.get("stale", 0) == histories.stale_reads(operations, same_us, others_us)


@many
@given(
    st.lists(
        st.tuples(
            histories.spans(),
            st.lists(st.integers(0, 9), min_size=1, max_size=2),
            st.sampled_from(["web-1", "web-2"]),
            st.booleans(),
        ),
        max_size=6,
    )
)
def test_ids_agree_with_all_pairs(rows: list[tuple[tuple[int, int], list[int], str, bool]]) -> None:
    operations = [histories.op("draw", ids, *span, node=node, keyed=keyed) for span, ids, node, keyed in rows]
    every = [value for each in operations for value in each.value]
    disordered = 0
    for each in operations:
        if not each.keyed:
            disordered += len(each.value) == 2 and each.value[1] <= each.value[0]
            before = [one for one in operations if not one.keyed and one.node == each.node]
            tops = [one.value[-1] for one in before if histories.precedes(one, each)]
            disordered += bool(tops) and each.value[0] <= max(tops)
    found = unique_ids.check(operations).anomalies
    assert found.get("id-twice", 0) == len(every) - len(set(every))
    assert found.get("id-out-of-order", 0) == disordered


@many
@given(histories.registers(), st.integers(0, 6))
def test_what_is_unknown_constrains_no_more_than_what_was_left_out(operations: list[Operation], place: int) -> None:
    """A write whose value nobody read may turn from unknown into never sent, and the other way round."""
    read = {each.value for each in operations if each.function == "read"}
    unread = [each for each in operations if each.status is Status.UNKNOWN and each.value not in read]
    kept = [each for each in operations if each not in unread[place:]]
    assert register.check(operations).anomalies == register.check(kept).anomalies
