"""The bits of ids, the order of ticks, and which node a process may take."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.blocks.ids.policy import (
    BACK_STEP_MAX_MS,
    KEYED_NODE,
    NODES,
    SEQUENCE_KEYED,
    SNOWFLAKE_EPOCH_MS,
    NodeRow,
    Span,
    choose_node,
    keyed_digest,
    keyed_number,
    keyed_snowflake,
    longer,
    next_tick,
    snowflake,
    snowflake_ms,
    uuid7_int,
    uuid7_tick,
    uuid8_int,
)

NOW_US = 1_800_000_000_000_000
NOW_MS = snowflake_ms(NOW_US)
TTL_MS = 30_000


def test_the_example_of_rfc_9562_appendix_a_6() -> None:
    made = UUID(int=uuid7_int((0x017F22E279B0 << 12) | 0xCC3, 0x18C4DC0C0C07398F))
    assert str(made) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(wall_us=st.integers(0, 2**57), random=st.integers(0, 2**62 - 1))
def test_a_uuid7_carries_its_time_its_version_and_all_random_bits(wall_us: int, random: int) -> None:
    made = UUID(int=uuid7_int(uuid7_tick(wall_us), random))
    assert (made.version, made.variant) == (7, RFC_4122)
    assert made.int >> 80 == wall_us // 1000
    assert ((made.int >> 64) & 0xFFF) == wall_us % 1000 * 4096 // 1000
    assert made.int & (2**62 - 1) == random


@given(clock=st.lists(st.integers(0, 50) | st.integers(0, 2**40), min_size=2))
def test_ticks_grow_whatever_the_clock_does_and_follow_it_when_it_grows(clock: list[int]) -> None:
    last = -1
    for now in clock:
        tick = next_tick(now, last)
        assert tick > last
        assert tick == now or now <= last
        last = tick


@given(tick=st.integers(0, 2**53 - 1), node=st.integers(0, 1023))
def test_a_snowflake_is_41_bits_of_time_10_of_node_and_12_of_count(tick: int, node: int) -> None:
    made = snowflake(tick, node)
    assert 0 <= made < 2**63
    assert (made >> 22, (made >> 12) & 0x3FF, made & 0xFFF) == (tick >> 12, node, tick & 0xFFF)


def test_the_epoch_is_new_year_2024() -> None:
    assert datetime.fromtimestamp(SNOWFLAKE_EPOCH_MS / 1000, UTC) == datetime(2024, 1, 1, tzinfo=UTC)
    assert snowflake_ms(SNOWFLAKE_EPOCH_MS * 1000) == 0


@given(digest=st.binary(min_size=16, max_size=16))
def test_keyed_ids_keep_to_the_parts_of_the_range_that_nothing_else_uses(digest: bytes) -> None:
    assert (keyed_snowflake(digest) >> 12) & 0x3FF == KEYED_NODE
    assert 0 <= keyed_snowflake(digest) < 2**63
    assert KEYED_NODE not in NODES
    assert SEQUENCE_KEYED <= keyed_number(digest) < 2**42
    made = UUID(int=uuid8_int(digest))
    assert (made.version, made.variant) == (8, RFC_4122)


def test_keyed_ids_use_every_bit_of_the_hash_that_they_can() -> None:
    for make, bits in ((uuid8_int, 122), (keyed_snowflake, 53), (keyed_number, 41)):
        seen = [make(keyed_digest(str(number), "x", 0)) for number in range(400)]
        ones, zeros = 0, 0
        for value in seen:
            ones, zeros = ones | value, zeros | ~value
        assert (ones & zeros).bit_count() == bits


@given(
    left=st.tuples(st.text(max_size=4), st.text(max_size=4), st.integers(0, 20)),
    right=st.tuples(st.text(max_size=4), st.text(max_size=4), st.integers(0, 20)),
)
def test_a_digest_names_exactly_one_draw(left: tuple[str, str, int], right: tuple[str, str, int]) -> None:
    assert (keyed_digest(*left) == keyed_digest(*right)) is (left == right)


def row(node: int, expires_in_ms: int, last_in_ms: int, epoch: int = 4) -> NodeRow:
    return NodeRow(node, "somebody", epoch, NOW_US + expires_in_ms * 1000, NOW_MS + last_in_ms)


def test_the_first_process_takes_node_0_from_now_on() -> None:
    assert choose_node([], NOW_US, TTL_MS) == Span(0, 1, NOW_MS - 1, NOW_MS + TTL_MS)


def test_an_expired_node_is_taken_before_a_new_one_and_goes_on_after_its_last_holder() -> None:
    rows = [row(0, 5_000, 5_000), row(1, -1, -1), row(2, -9_000, -9_000)]
    assert choose_node(rows, NOW_US, TTL_MS) == Span(1, 5, NOW_MS - 1, NOW_MS + TTL_MS)


@pytest.mark.parametrize("last_in_ms", [0, 1, 3_600_000])
def test_a_node_whose_holder_is_not_in_the_past_is_left_for_a_new_one(last_in_ms: int) -> None:
    assert choose_node([row(0, -1, last_in_ms)], NOW_US, TTL_MS) == Span(1, 1, NOW_MS - 1, NOW_MS + TTL_MS)


def test_without_a_new_node_the_nearest_is_taken_but_only_within_the_allowed_step() -> None:
    rows = [row(node, -1, 4_000 - 2 * node) for node in NODES]
    assert min(one.last_ms for one in rows) == NOW_MS + 1_956
    assert choose_node(rows, NOW_US, TTL_MS) is None
    near = [*rows[:-1], row(1022, -1, BACK_STEP_MAX_MS - 1)]
    last_ms = NOW_MS + BACK_STEP_MAX_MS - 1
    assert choose_node(near, NOW_US, TTL_MS) == Span(1022, 5, last_ms, last_ms + TTL_MS)


def test_nothing_is_taken_while_all_are_held() -> None:
    assert choose_node([row(node, 1, -100) for node in NODES], NOW_US, TTL_MS) is None


@given(step_ms=st.integers(-10_000_000, 10_000_000))
def test_a_renewed_span_never_shrinks(step_ms: int) -> None:
    span = Span(3, 2, NOW_MS - 1, NOW_MS + TTL_MS)
    renewed = longer(span, NOW_US + step_ms * 1000, TTL_MS)
    assert renewed.until_ms == max(span.until_ms, NOW_MS + step_ms + TTL_MS)
    assert (renewed.node, renewed.epoch, renewed.after_ms) == (3, 2, NOW_MS - 1)
