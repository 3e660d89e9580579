"""Any number of processes that take leases, die, come back late or pause: together they never spend more than one
process with the whole limit could, and at most what they hold goes unused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.blocks.limits.leasing import SPAN_NS, Ask, Back, Grant, Row, lease
from tenfold.blocks.limits.policy import NS, Terms

TERMS = st.builds(Terms, st.integers(10**6, 2 * NS), st.integers(1, 40))
WHO = st.integers(0, 4)
PAUSES = st.integers(0, 4 * SPAN_NS) | st.sampled_from([1, SPAN_NS // 2, SPAN_NS, 2 * SPAN_NS - 1, 2 * SPAN_NS])
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), WHO, st.integers(1, 10)),
        st.tuples(st.just("spend"), WHO, st.integers(1, 10)),
        st.tuples(st.sampled_from(["take", "waste"]), WHO, st.integers(1, 10)),
        st.tuples(st.just("die"), WHO, st.just(0)),
        st.tuples(st.just("back"), WHO, st.just(0)),
        st.tuples(st.just("pass"), WHO, PAUSES),
    ),
    max_size=60,
)


@dataclass
class Process:
    """What one process holds."""

    grant: Grant | None = None
    left: int = 0
    until_ns: int = 0
    spare: int = 0
    since_ns: int = 0

    def give_up(self) -> Back:
        span, leased = (self.grant.span, self.grant.leased) if self.grant else (-1, 0)
        back = Back(span, leased, self.left, self.spare, self.since_ns)
        self.grant, self.left, self.spare = None, 0, 0
        return back


@dataclass
class World:
    """One row, five processes, one clock."""

    terms: Terms
    now_ns: int = 10**15
    row: Row | None = None
    processes: list[Process] = field(default_factory=lambda: [Process() for _ in range(5)])
    spent: list[tuple[int, int]] = field(default_factory=list)

    def do(self, what: str, who: int, number: int) -> None:
        process = self.processes[who]
        if what == "pass":
            self.now_ns += number
        elif what == "die":
            self.processes[who] = Process()
        elif what == "spend":
            if process.left >= number and self.now_ns < process.until_ns:
                process.left -= number
                self.spent.append((self.now_ns, number))
        else:
            need = number if what == "ask" else 0
            if what in ("take", "waste"):
                self._take(what, process, number)
                return
            self.row, grant = lease(self.row, self.now_ns, self.terms, Ask(need, 0, 2 * need, process.give_up()))
            if grant.tokens:
                self.processes[who] = Process(grant, grant.tokens, self.now_ns + grant.valid_ns)

    def _take(self, what: str, process: Process, number: int) -> None:
        """Tokens that are spent at once, or not wanted any more when they come."""
        self.row, grant = lease(self.row, self.now_ns, self.terms, Ask(number, number))
        if grant.tokens and what == "take":
            self.spent.append((self.now_ns, number))
        elif grant.tokens:
            process.since_ns = min(process.since_ns, grant.at_ns) if process.spare else grant.at_ns
            process.spare += number

    def most_in_a_stretch(self) -> int:
        """By how many nanoseconds of tokens the worst stretch of time is over the limit; at most 0 when all is well."""
        worst = -self.terms.tolerance_ns
        for first, (from_ns, _) in enumerate(self.spent):
            tokens = 0
            for at_ns, cost in self.spent[first:]:
                tokens += cost
                worst = max(worst, tokens * self.terms.interval_ns - self.terms.tolerance_ns - (at_ns - from_ns))
        return worst


@settings(max_examples=400)
@given(TERMS, ACTIONS)
def test_no_stretch_of_time_sees_more_than_the_limit(terms: Terms, actions: list[tuple[Any, int, int]]) -> None:
    world = World(terms)
    for what, who, number in actions:
        world.do(what, who, number)
    assert world.most_in_a_stretch() <= 0


def test_tokens_that_wait_in_a_lease_count_when_they_are_spent() -> None:
    terms = Terms(NS // 10, 10)
    world = World(terms)
    for who in range(5):
        world.do("ask", who, 1)  # two tokens each: the bucket is empty
    world.do("pass", 0, SPAN_NS)  # and would be full again
    for who in range(5):
        world.do("spend", who, 2)
    for _ in range(10):
        world.do("ask", 0, 1)
        world.do("spend", 0, 1)
    assert len(world.spent) == 5
    assert world.most_in_a_stretch() <= 0


def test_what_comes_back_after_the_bucket_was_full_has_come_back_already() -> None:
    terms = Terms(NS // 10, 10)
    for wasted in ("ask", "waste"):
        world = World(terms)
        world.do(wasted, 0, 5)
        world.do("pass", 0, 5 * SPAN_NS)
        world.do("take", 1, 8)
        world.do("back", 0, 0)
        world.do("take", 1, 3)
        assert [cost for _, cost in world.spent] == [8]
        world.do("take", 1, 2)
        assert world.most_in_a_stretch() == 0


def test_what_was_not_wanted_comes_back() -> None:
    world = World(Terms(NS // 10, 10))
    world.do("take", 1, 2)
    world.do("waste", 0, 8)
    world.do("take", 1, 1)
    world.do("back", 0, 0)
    world.do("take", 1, 8)
    assert [cost for _, cost in world.spent] == [2, 8]


def test_a_lease_that_was_spent_at_its_last_moment_and_never_given_back_counts_from_that_moment() -> None:
    terms = Terms(NS // 10, 10)
    world = World(terms)
    world.do("ask", 0, 5)
    world.do("pass", 0, world.processes[0].until_ns - 1 - world.now_ns)
    world.do("spend", 0, 10)
    world.do("die", 0, 0)
    world.do("pass", 0, 1)
    for _ in range(10):
        world.do("ask", 1, 1)
        world.do("spend", 1, 1)
    assert world.spent == [(world.now_ns - 1, 10)]
    world.do("pass", 0, NS // 10)
    world.do("ask", 1, 1)
    world.do("spend", 1, 1)
    assert len(world.spent) == 2, "one has come back"
    assert world.most_in_a_stretch() <= 0


@given(TERMS, st.integers(1, 8), st.integers(0, 10 * SPAN_NS))
def test_leases_of_processes_that_died_come_back_within_two_spans(terms: Terms, dead: int, later_ns: int) -> None:
    world = World(terms)
    for number in range(dead):
        world.do("ask", number % 5, 1)
        world.do("die", number % 5, 0)
    world.do("pass", 0, 2 * SPAN_NS + terms.tolerance_ns + later_ns)
    _, grant = lease(world.row, world.now_ns, terms, Ask(terms.burst, terms.burst))
    assert grant.tokens == terms.burst, "the whole bucket is there again"


@given(TERMS, st.integers(1, 40), st.integers(1, 3600 * NS))
def test_a_clock_that_is_set_back_locks_nobody_out_and_gives_nothing_away(
    terms: Terms, cost: int, back_ns: int
) -> None:
    cost = min(cost, terms.burst)
    now_ns = 10**15
    row, grant = lease(None, now_ns, terms, Ask(cost, cost))
    assert grant.tokens == cost
    row, after = lease(row, now_ns - back_ns, terms, Ask())
    assert after.room == terms.burst - cost, "neither more nor less than before"
    row, _ = lease(row, now_ns - back_ns + terms.tolerance_ns + 4 * SPAN_NS, terms, Ask())
    _, whole = lease(row, row.at_ns, terms, Ask(terms.burst, terms.burst))
    assert whole.tokens == terms.burst


@given(TERMS, TERMS, st.integers(1, 40))
def test_other_terms_keep_what_was_charged(was: Terms, becomes: Terms, cost: int) -> None:
    cost = min(cost, was.burst)
    row, _ = lease(None, 10**15, was, Ask(cost, cost))
    _, after = lease(row, 10**15, becomes, Ask())
    assert after.room <= max(0, becomes.burst - cost)


def test_what_a_process_owed_before_it_shared_counts_once() -> None:
    terms = Terms(NS, 10)
    row, _ = lease(None, 10**15, terms, Ask(owed_ns=4 * NS))
    row, _ = lease(row, 10**15, terms, Ask(owed_ns=4 * NS))
    _, grant = lease(row, 10**15, terms, Ask(1, 20))
    assert grant.tokens == 6


def test_a_refusal_says_when_there_is_enough() -> None:
    terms = Terms(NS, 5)
    row, _ = lease(None, 10**15, terms, Ask(5, 5))
    row, grant = lease(row, 10**15, terms, Ask(2, 2))
    assert (grant.tokens, grant.wait_ns) == (0, 2 * NS)
    assert lease(row, 10**15 + 2 * NS - 1, terms, Ask(2, 2))[1].tokens == 0
    assert lease(row, 10**15 + 2 * NS, terms, Ask(2, 2))[1].tokens == 2
