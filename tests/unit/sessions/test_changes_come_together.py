"""What changes do to values, what a session may hold, when it ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.blocks.sessions.policy import (
    ABSENT,
    BYTES_MAX,
    GRACE_US,
    TOUCH_US,
    Add,
    Append,
    Change,
    Most,
    Put,
    Remove,
    Rules,
    SessionRefused,
    behind,
    changed,
    check_key,
    check_user,
    encoded,
    expired,
    in_grace,
    joined,
    number,
    patched,
    plain,
    touch_due,
)
from tenfold.core.errors import Conflict

KEEP = 1_000
NUMBERS = st.integers(-100, 100)
OF_NUMBERS = st.one_of(st.builds(Put, NUMBERS), st.just(Remove()), st.builds(Add, NUMBERS), st.builds(Most, NUMBERS))
OF_LISTS = st.one_of(
    st.builds(Put, st.lists(NUMBERS, max_size=3)),
    st.just(Remove()),
    st.builds(lambda items: Append(tuple(items), 4), st.lists(NUMBERS, min_size=1, max_size=3)),
)


def one_by_one(value: Any, changes: list[Change]) -> Any:
    for change in changes:
        value = changed("k", value, change)
    return value


@pytest.mark.parametrize("changes", [OF_NUMBERS, OF_LISTS])
def test_joined_changes_do_what_they_did_one_by_one(changes: Any) -> None:
    @given(st.lists(changes, max_size=8), st.booleans())
    def holds(made: list[Change], there: bool) -> None:
        together: tuple[Change, ...] = ()
        for change in made:
            together = joined(together, change)
        start = (7 if changes is OF_NUMBERS else [7]) if there else ABSENT
        assert one_by_one(start, list(together)) == one_by_one(start, made)

    holds()


@given(st.dictionaries(st.sampled_from("abcd"), NUMBERS), st.data())
def test_patches_of_different_keys_come_together_in_any_order(values: dict[str, int], data: st.DataObject) -> None:
    one = {key: (data.draw(OF_NUMBERS),) for key in "ab"}
    other = {key: (data.draw(OF_NUMBERS),) for key in "cd"}
    assert patched(patched(values, one), other) == patched(patched(values, other), one)


@given(st.lists(NUMBERS), st.integers(0, 50))
def test_sums_and_maxima_of_one_key_come_together_in_any_order(amounts: list[int], start: int) -> None:
    for make in (Add, Most):
        forwards = one_by_one(start, [make(amount) for amount in amounts])
        assert forwards == one_by_one(start, [make(amount) for amount in reversed(amounts)])


def test_a_loop_over_incr_is_one_change() -> None:
    made: tuple[Change, ...] = ()
    for _ in range(1_000):
        made = joined(joined(made, Add(2)), Add(-1))
    assert made == (Add(1_000),)
    assert joined(made, Put(1)) == (Put(1),)
    assert joined((Append((1,), 2),), Append((2,), 3)) == (Append((1,), 2), Append((2,), 3))


@pytest.mark.parametrize("value", ["text", True, None, [1], {"a": 1}])
def test_what_is_no_number_does_not_grow(value: Any) -> None:
    for change in (Add(1), Most(1)):
        with pytest.raises(Conflict) as refused:
            changed("k", value, change)
        assert refused.value.code == "TF-SESSION-KIND"


def test_what_is_no_list_is_not_appended_to() -> None:
    with pytest.raises(Conflict):
        changed("k", "text", Append((1,), KEEP))
    assert changed("k", [1, 2, 3], Append((4,), 2)) == [3, 4]


def test_values_are_not_shared_with_who_set_them() -> None:
    cart = [{"id": 1}]
    copy = plain(cart)
    cart[0]["id"] = 2
    assert copy == [{"id": 1}]


@pytest.mark.parametrize(
    "value",
    [
        (1, 2), {1: 2}, {1, 2}, b"x", math.nan, math.inf, object(), datetime(2026, 1, 1, tzinfo=UTC), "\ud800",
        lambda: None, [[(1,)]], 1j,
    ],
)  # fmt: skip
def test_what_json_does_not_keep_is_refused(value: Any) -> None:
    with pytest.raises(SessionRefused) as refused:
        plain(value)
    assert (refused.value.status, refused.value.code) == (422, "TF-SESSION-VALUE")


def test_what_is_nested_without_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(SessionRefused):
        plain(endless)


@pytest.mark.parametrize(
    "value", [None, True, 0, -(2**63), 2**63 - 1, 1.5, "", "ä\x00\n", [], {}, {"a": [None, {"b": 1}]}]
)
def test_what_json_keeps_is_taken(value: Any) -> None:
    assert plain(value) == value
    assert type(plain(value)) is type(value)


@pytest.mark.parametrize("key", ["", "a" * 65, "a\nb", "\x00", "\x7f", "\x9f", "\ud800", 1, None, b"a"])
def test_a_key_with_control_characters_or_too_long_is_refused(key: Any) -> None:
    with pytest.raises(SessionRefused) as refused:
        check_key(key)
    assert refused.value.code == "TF-SESSION-KEY"


@pytest.mark.parametrize("user", ["", "a" * 201, "a\nb", "\x00", 17, None])
def test_a_user_is_text_without_control_characters(user: Any) -> None:
    with pytest.raises(SessionRefused):
        check_user(user)
    assert check_user("ada@example.com") == "ada@example.com"


@pytest.mark.parametrize("value", [True, "1", None, math.nan, [1], 1j])
def test_only_numbers_are_added(value: Any) -> None:
    with pytest.raises(SessionRefused):
        number(value)


def test_a_session_has_so_many_keys_and_bytes_and_no_more() -> None:
    encoded({f"k{number}": number for number in range(64)})
    overhead = len('{"k":""}')
    encoded({"k": "x" * (BYTES_MAX - overhead)})
    refusals: list[Callable[[], object]] = [
        lambda: encoded({f"k{number}": number for number in range(65)}),
        lambda: encoded({"k": "x" * (BYTES_MAX - overhead + 1)}),
        lambda: encoded({"k": "ä" * (BYTES_MAX // 2)}),
        lambda: plain("x" * BYTES_MAX),
    ]
    for refusal in refusals:
        with pytest.raises(SessionRefused) as refused:
            refusal()
        assert refused.value.code == "TF-SESSION-SIZE"
    for beyond in (2**63, -(2**63) - 1, math.inf, -math.inf):
        with pytest.raises(SessionRefused):
            encoded({"k": beyond})


def test_a_session_ends_when_it_is_idle_or_old_and_not_before() -> None:
    rules = Rules(idle_s=10, lifetime_s=100)
    assert not expired(0, 0, 10_000_000, rules)
    assert expired(0, 0, 10_000_001, rules)
    assert not expired(0, 95_000_000, 100_000_000, rules)
    assert expired(0, 95_000_000, 100_000_001, rules)
    assert not expired(50_000_000, 50_000_000, 0, rules), "the clock stepped back"


def test_use_is_written_down_once_a_minute_and_a_wrong_clock_is_corrected() -> None:
    assert not touch_due(0, TOUCH_US - 1)
    assert touch_due(0, TOUCH_US)
    assert not touch_due(TOUCH_US - 1, 0)
    assert touch_due(TOUCH_US, 0)


def test_the_grace_has_an_end_in_both_directions_of_the_clock() -> None:
    assert in_grace(0, GRACE_US)
    assert not in_grace(0, GRACE_US + 1)
    assert not in_grace(GRACE_US + 1, 0)


@pytest.mark.parametrize(
    ("version", "wanted", "is_behind"),
    [(1, 1, False), (1, 2, True), (2, 1, False), (2**32, 1, True), (2**32 + 5, 5, False), (2**32 - 1, 0, True)],
)
def test_a_copy_is_behind_a_cookie_that_has_seen_more(version: int, wanted: int, is_behind: bool) -> None:
    assert behind(version, wanted) is is_behind
