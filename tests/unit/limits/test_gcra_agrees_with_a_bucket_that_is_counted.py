"""GCRA against a token bucket counted in fractions, and against the definition: a look at every stretch of time."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tenfold.blocks.limits.memory import charge_one
from tenfold.blocks.limits.policy import Terms, arrive, converted, lease_size, retry_after_s, share
from tenfold.blocks.limits.rule import Rule
from tenfold.topology.limits import LimitMap

TERMS = st.builds(Terms, st.integers(1, 10**10), st.integers(1, 50))
STEPS = st.lists(st.tuples(st.integers(0, 10**11), st.integers(1, 60)), max_size=60)


class Bucket:
    """The naive model: a level that is filled up before each charge."""

    def __init__(self, terms: Terms, now_ns: int) -> None:
        self.terms, self.level, self.at_ns = terms, Fraction(terms.burst), now_ns

    def charge(self, now_ns: int, cost: int) -> bool:
        self.level = min(Fraction(self.terms.burst), self.level + Fraction(now_ns - self.at_ns, self.terms.interval_ns))
        self.at_ns = now_ns
        if self.level < cost:
            return False
        self.level -= cost
        return True


@given(TERMS, STEPS)
def test_every_decision_is_that_of_the_bucket(terms: Terms, steps: list[tuple[int, int]]) -> None:
    now_ns, tat_ns = 10**15, 0
    bucket = Bucket(terms, now_ns)
    for pause_ns, cost in steps:
        now_ns += pause_ns
        after_ns, over_ns = arrive(tat_ns, now_ns, cost, terms)
        assert (over_ns <= 0) == bucket.charge(now_ns, cost)
        if over_ns <= 0:
            tat_ns = after_ns
            assert -over_ns // terms.interval_ns == int(bucket.level), "what is left is what the bucket has"


@given(TERMS, STEPS)
def test_no_stretch_of_time_allows_more_than_the_burst_and_what_came_back(
    terms: Terms, steps: list[tuple[int, int]]
) -> None:
    now_ns, tat_ns, spent = 10**15, 0, list[tuple[int, int]]()
    for pause_ns, cost in steps:
        now_ns += pause_ns
        after_ns, over_ns = arrive(tat_ns, now_ns, cost, terms)
        if over_ns <= 0:
            tat_ns = after_ns
            spent.append((now_ns, cost))
    for first, (from_ns, _) in enumerate(spent):
        for last in range(first, len(spent)):
            tokens = sum(cost for _, cost in spent[first : last + 1])
            stretch_ns = spent[last][0] - from_ns
            assert tokens * terms.interval_ns <= terms.tolerance_ns + stretch_ns


@given(TERMS, STEPS)
def test_the_wait_that_is_told_is_exact(terms: Terms, steps: list[tuple[int, int]]) -> None:
    now_ns, tat_ns = 10**15, 0
    for pause_ns, cost in steps:
        now_ns += pause_ns
        after_ns, over_ns = arrive(tat_ns, now_ns, cost, terms)
        if over_ns <= 0:
            tat_ns = after_ns
        else:
            assert arrive(tat_ns, now_ns + over_ns, cost, terms)[1] <= 0 or cost > terms.burst
            assert arrive(tat_ns, now_ns + over_ns - 1, cost, terms)[1] > 0


@given(STEPS)
def test_the_fast_form_decides_as_the_policy_does(steps: list[tuple[int, int]]) -> None:
    rule = Rule(LimitMap("a", "7/second", burst=60))
    now_ns, tat_ns = 10**15, 0
    for pause_ns, cost in steps:
        now_ns += pause_ns
        after_ns, over_ns = arrive(tat_ns, now_ns, cost, rule.terms)
        assert charge_one(rule, "k", cost, now_ns).over_ns == over_ns
        tat_ns = after_ns if over_ns <= 0 else tat_ns


@given(TERMS, TERMS, st.integers(0, 10**13))
def test_other_terms_keep_what_was_charged(was: Terms, becomes: Terms, owed_ns: int) -> None:
    now_ns = 10**15
    after_ns = converted(now_ns + owed_ns, now_ns, was, becomes)
    tokens = min(owed_ns // was.interval_ns, becomes.burst)
    assert (after_ns - now_ns) // becomes.interval_ns >= min(tokens, becomes.burst)
    assert after_ns - now_ns <= becomes.tolerance_ns
    assert converted(now_ns - owed_ns, now_ns, was, becomes) == now_ns, "a full bucket stays full"


@given(st.floats(0.0, 10**6), st.floats(0.0, 1.0, exclude_max=True))
def test_retry_after_is_long_enough_and_at_most_a_tenth_longer(wait_s: float, drawn: float) -> None:
    told = retry_after_s(wait_s, drawn)
    assert told >= max(1, wait_s)
    assert told <= max(1, wait_s * 1.1 + 1)


@given(TERMS, st.integers(1, 64))
def test_shares_add_up_to_no_more_than_the_limit_unless_it_is_smaller_than_the_number_of_processes(
    terms: Terms, processes: int
) -> None:
    part = share(terms, processes)
    assert part.burst * processes <= max(terms.burst, processes)
    assert part.interval_ns == terms.interval_ns * processes


@given(TERMS)
def test_a_lease_is_small(terms: Terms) -> None:
    size = lease_size(terms)
    assert size == 1 or (size * 50 <= terms.burst and size * terms.interval_ns <= 10**8)
