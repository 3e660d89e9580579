"""What the events block decides, without a database."""

from __future__ import annotations

import itertools
import random

import pytest

from tenfold.blocks.events import policy
from tenfold.blocks.events.policy import LEASE_S, STREAK, Cursor, Grace, Sighting


def test_names_are_words_with_dots_or_hyphens() -> None:
    for name in ("a", "link.made", "link-made.v2", "a_b", "x1"):
        assert policy.is_name(name, 100), name
    for name in ("", "A", "1a", "a.", ".a", "a..b", "a b", "a/b", "é", "a\n", "a\x00", None, 3, "a" * 101):
        assert not policy.is_name(name, 100), name


class Database:
    """A model of PostgreSQL: transactions get an id, draw numbers, and commit or roll back in any order."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.next_id, self.next_number = 10, 1
        self.running: dict[int, list[int]] = {}
        self.committed: set[int] = set()

    def step(self) -> None:
        choice = self.random.random()
        if choice < 0.3 or not self.running:
            self.running[self.next_id] = []
            self.next_id += 1
        elif choice < 0.7:
            self.running[self.random.choice(list(self.running))].append(self.next_number)
            self.next_number += 1
        else:
            numbers = self.running.pop(self.random.choice(list(self.running)))
            if self.random.random() < 0.8:
                self.committed.update(numbers)

    def look(self, grace: Grace) -> Grace:
        newest = max(self.committed, default=0)
        return policy.looked(grace, newest, min(self.running, default=self.next_id), self.next_id)


@pytest.mark.parametrize("seed", range(40))
def test_nothing_appears_at_or_below_what_was_called_settled(seed: int) -> None:
    database, grace, delivered = Database(seed), Grace(), set[int]()
    for _ in range(400):
        before = set(database.committed)
        database.step()
        late = database.committed - before
        assert all(number > grace.settled for number in late), "it would have been skipped"
        if database.random.random() < 0.5:
            grace = database.look(grace)
            delivered = {number for number in database.committed if number <= grace.settled}
    while database.running:
        database.step()
        if len(database.running) > 3:
            database.running.pop(min(database.running))
    grace = database.look(database.look(grace))
    assert {number for number in database.committed if number <= grace.settled} == database.committed >= delivered


def test_with_one_writer_at_a_time_all_that_is_there_is_settled() -> None:
    assert policy.looked(Grace(), 7, 0, 0).settled == 7


def test_a_long_transaction_holds_back_only_until_it_ends() -> None:
    grace = policy.looked(Grace(), 5, 100, 103)
    assert grace.settled == 0
    grace = policy.looked(grace, 9, 100, 110)
    assert (grace.settled, grace.newest, grace.horizon) == (0, 5, 103)
    grace = policy.looked(grace, 12, 104, 120)
    assert (grace.settled, grace.newest, grace.horizon) == (5, 12, 120), "and the next wait has begun"
    assert policy.looked(grace, 12, 121, 121).settled == 12


def test_leases_end_by_silence_not_by_clocks() -> None:
    seen = policy.sighted(None, 3, 7, 100.0)
    assert not policy.may_take("other", seen, 100.0 + LEASE_S - 0.1)
    assert policy.may_take("other", seen, 100.0 + LEASE_S)
    assert policy.sighted(seen, 3, 8, 105.0) == Sighting(3, 8, 105.0), "a heartbeat begins it anew"
    assert policy.sighted(seen, 4, 7, 105.0).since == 105.0, "so does another holder"
    assert policy.sighted(seen, 3, 7, 105.0) is seen
    assert policy.may_take("", seen, 100.0), "one that was given back is free"


CURSOR = Cursor("s", 10, 10, ("a",))


def test_a_batch_keeps_its_name_until_it_is_done() -> None:
    claimed = policy.claimed(CURSOR, 20, ("a",))
    assert claimed.claimed
    assert claimed.scope_key == policy.failed(claimed, "x", 3, counts=True).scope_key
    done = policy.done(claimed)
    assert (done.position, done.claimed, done.attempts) == (20, False, 0)
    assert policy.claimed(done, 30, ("a",)).scope_key != claimed.scope_key


def test_verdicts() -> None:
    for failures, count, limit, committed, reduced, streak in itertools.product(
        range(5), (1, 2, 100), (None, 1, 3), (False, True), (False, True), (0, STREAK)
    ):
        cursor = Cursor("s", 10, 20, ("a",), until=30 if reduced else 0, attempts=failures + 1, streak=streak)
        found = policy.verdict(cursor, count, limit, committed=committed)
        whole = count == 1 or committed
        if limit is None:
            wanted = "run"
        elif whole:
            wanted = "park" if failures >= limit and streak < STREAK else "run"
        else:
            wanted = "halve" if failures >= (1 if reduced else limit) else "run"
        assert found == wanted, (cursor, count, limit, committed)


def test_halving_ends_at_one_event_and_is_over_at_the_end_of_the_batch() -> None:
    cursor, sizes = policy.claimed(CURSOR, 26, ("a",)), []
    count = 16
    while count > 1:
        cursor = policy.halved(cursor, count)
        sizes.append(cursor.size)
        count = cursor.size
        cursor = policy.claimed(cursor, cursor.position + count, ("a",))
    assert sizes == [8, 4, 2, 1]
    cursor = policy.parked(cursor)
    assert (cursor.position, cursor.size, cursor.until, cursor.streak) == (11, 1, 26, 1)
    while cursor.position < 26:
        assert cursor.size == 1
        cursor = policy.done(policy.claimed(cursor, cursor.position + 1, ("a",)))
    assert (cursor.size, cursor.until, cursor.streak) == (0, 0, 0)


def test_what_was_away_does_not_count_as_a_failure() -> None:
    claimed = policy.claimed(CURSOR, 20, ("a",))
    assert policy.failed(claimed, "away", 0, counts=False).attempts == 1
    assert policy.failed(claimed, "bug\0", 0, counts=True).attempts == 2
    assert "\0" not in policy.failed(claimed, "bug\0" + "x" * 9999, 0, counts=True).error


def test_the_newest_event_is_never_pruned() -> None:
    assert policy.cut([], 9) == 8
    assert policy.cut([policy.last_of(5), policy.last_of(7)], 9) == 5
    assert policy.cut([policy.last_of(5) - 1], 9) == 4, "an event of row 5 is still to come"
    assert policy.cut([policy.last_of(9)], 9) == 8
    assert policy.cut([], 0) == -1
