"""What ids keep on every database: unique over processes, increasing within one, whatever the clock does."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ids_backends import BACKENDS, PARAMETERS
from sqlalchemy import insert, update

from tenfold.blocks.database import Database
from tenfold.blocks.database.schema import tf_lease, tf_sequence
from tenfold.blocks.database.scope import RequestScope, enter_scope, leave_scope
from tenfold.blocks.ids import Ids
from tenfold.core.clock import ManualClock
from tenfold.core.errors import ContractError, Unavailable
from tenfold.core.randomness import SYSTEM_RANDOMNESS

Body = Callable[[Database], Coroutine[Any, Any, None]]
NOW_US = 1_800_000_000_000_000
TTL_S = 30.0
HOUR_S = 3600.0


@pytest.fixture(params=PARAMETERS)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Body], None]:
    """Runs a test's body on a fresh database."""

    def with_database(body: Body) -> None:
        open_database = BACKENDS[request.param](tmp_path)

        async def whole() -> None:
            async with open_database() as database:
                await asyncio.wait_for(body(database), 30)

        asyncio.run(whole())

    return with_database


def make(database: Database, clock: ManualClock | None = None) -> Ids:
    return Ids(database, clock or ManualClock(NOW_US), SYSTEM_RANDOMNESS, lease_ttl_s=TTL_S)


async def crash(ids: Ids) -> None:
    """The process is gone: nothing is renewed any more and nothing is given back."""
    task, ids.lease._task = ids.lease._task, None
    assert task is not None
    task.cancel()
    await asyncio.wait([task])


def node_of(value: int) -> int:
    return (value >> 12) & 0x3FF


def in_request(key: str | None, draw: Callable[[], Any]) -> Any:
    entered = enter_scope(RequestScope(idempotency_key=key))
    try:
        return draw()
    finally:
        leave_scope(entered)


def increasing(values: list[Any]) -> bool:
    return all(left < right for left, right in itertools.pairwise(values))


# -- UUIDs ------------------------------------------------------------------------------------------------------------


def test_uuids_need_no_start_and_increase_while_the_clock_stands_and_goes_back(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        clock = ManualClock(NOW_US)
        ids = make(database, clock)
        made = [ids.uuid7() for _ in range(5_000)]
        clock.step_wall(-HOUR_S)
        made += [ids.uuid7() for _ in range(5_000)]
        clock.step_wall(2 * HOUR_S)
        made += [ids.uuid7()]
        assert increasing(made)
        assert {one.version for one in made} == {7}
        assert made[-1].int >> 80 == clock.wall_us() // 1000

    run(body)


# -- snowflakes -------------------------------------------------------------------------------------------------------


def test_snowflakes_carry_their_time_and_increase_faster_than_the_clock(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        clock = ManualClock(NOW_US)
        ids = make(database, clock)
        await ids.start()
        made = [ids.snowflake() for _ in range(20_000)]
        assert increasing(made)
        assert node_of(made[0]) == 0
        assert (made[0] >> 22) + 1_704_067_200_000 == clock.wall_us() // 1000
        assert (made[-1] >> 22) - (made[0] >> 22) == 20_000 // 4096
        await ids.stop()

    run(body)


def test_a_small_step_back_costs_nothing_and_a_large_one_is_refused_until_it_is_made_up(
    run: Callable[[Body], None],
) -> None:
    async def body(database: Database) -> None:
        clock = ManualClock(NOW_US)
        ids = make(database, clock)
        await ids.start()
        made = [ids.snowflake()]
        clock.step_wall(-0.5)
        made.append(ids.snowflake())
        clock.step_wall(-0.2)
        for _ in range(3):
            with pytest.raises(Unavailable, match=r"TF-IDS-CLOCK.*the clock went back by 0\.7 s"):
                ids.snowflake()
        clock.advance(0.2)
        made.append(ids.snowflake())
        assert increasing(made)
        await ids.stop()

    run(body)


def test_a_clock_before_2024_is_refused(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        ids = make(database, ManualClock(NOW_US - 10 * 365 * 86_400 * 10**6))
        await ids.start()
        with pytest.raises(Unavailable, match=r"TF-IDS-CLOCK.*before 2024"):
            ids.snowflake()
        await ids.stop()

    run(body)


def test_without_a_lease_there_are_none_and_the_error_says_why(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        ids = make(database)
        with pytest.raises(Unavailable, match=r"TF-IDS-LEASE.*not started"):
            ids.snowflake()
        await ids.start()
        ids.snowflake()
        await ids.stop()
        await ids.stop()
        with pytest.raises(Unavailable, match="stopped"):
            ids.snowflake()

    run(body)


def test_processes_hold_different_nodes(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        clock = ManualClock(NOW_US)
        all_ids = [make(database, clock) for _ in range(4)]
        await asyncio.gather(*(ids.start() for ids in all_ids))
        made = [ids.snowflake() for ids in all_ids for _ in range(100)]
        assert len(set(made)) == 400
        assert {node_of(one) for one in made} == {0, 1, 2, 3}
        for ids in all_ids:
            await ids.stop()

    run(body)


def test_a_node_given_back_is_taken_at_once_and_goes_on_later(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        clock = ManualClock(NOW_US)
        first = make(database, clock)
        await first.start()
        made = [first.snowflake() for _ in range(10_000)]
        await first.stop()
        clock.advance(0.01)
        second = make(database, clock)
        await second.start()
        made += [second.snowflake()]
        assert increasing(made)
        assert node_of(made[-1]) == node_of(made[0])
        await second.stop()

    run(body)


def test_a_clock_step_between_the_lease_and_the_first_id_does_not_reach_into_the_past_of_the_node(
    run: Callable[[Body], None],
) -> None:
    async def body(database: Database) -> None:
        clock = ManualClock(NOW_US)
        first, second = make(database, clock), make(database, clock)
        await first.start()
        made = [first.snowflake() for _ in range(5)]
        await first.stop()
        clock.advance(0.01)
        await second.start()
        clock.step_wall(-0.3)
        made += [second.snowflake() for _ in range(5)]
        assert node_of(made[-1]) == node_of(made[0])
        assert increasing(made)
        await second.stop()

    run(body)


def test_a_change_to_a_lower_node_within_one_millisecond_still_increases(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        clock = ManualClock(NOW_US)
        low, high = make(database, clock), make(database, clock)
        await low.start()
        await high.start()
        await low.stop()
        clock.advance(0.01)
        before = high.snowflake()

        @database.transaction()
        async def rob(tx: Any) -> None:
            robbed = update(tf_lease).where(tf_lease.c.name == "snowflake/1")
            await tx.run(robbed.values(holder="another", epoch=99, expires_us=NOW_US * 2))

        await rob()
        await high.lease.renew()
        after = high.snowflake()
        assert (node_of(before), node_of(after)) == (1, 0)
        assert after > before
        await high.stop()

    run(body)


def test_a_paused_process_refuses_until_it_has_renewed(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        clock = ManualClock(NOW_US)
        ids = make(database, clock)
        await ids.start()
        before = ids.snowflake()
        clock.advance(TTL_S + 1)
        with pytest.raises(Unavailable, match="ran out and is being renewed"):
            ids.snowflake()
        after = await eventually(ids.snowflake)  # the refusal itself made it hurry
        assert after > before
        assert node_of(after) == node_of(before)
        await ids.stop()

    run(body)


async def eventually(draw: Callable[[], int]) -> int:
    async with asyncio.timeout(5):
        while True:
            try:
                return draw()
            except Unavailable:
                await asyncio.sleep(0.001)


def test_a_paused_process_whose_node_was_taken_gets_another_and_no_id_twice(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        slow_clock, clock = ManualClock(NOW_US), ManualClock(NOW_US)
        slow, other = make(database, slow_clock), make(database, clock)
        await slow.start()
        made = [slow.snowflake()]
        clock.advance(TTL_S + 1)
        await other.start()  # for it, the first one's lease is over
        taken = [other.snowflake() for _ in range(5)]
        assert node_of(taken[0]) == node_of(made[0])
        made.append(slow.snowflake())  # its own clock stands, and the span covers it
        slow_clock.advance(TTL_S + 1)
        made.append(await eventually(slow.snowflake))
        assert node_of(made[-1]) != node_of(made[0])
        assert increasing(made)
        assert not set(made) & set(taken)
        await slow.stop()
        await other.stop()

    run(body)


def test_a_restart_after_the_clock_went_back_an_hour_makes_no_id_twice(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        clock = ManualClock(NOW_US)
        made = []
        for _ in range(4):
            ids = make(database, clock)
            await ids.start()
            made += [ids.snowflake() for _ in range(5_000)]
            await crash(ids)
            clock.step_wall(-HOUR_S)
        assert len(set(made)) == 20_000

    run(body)


def test_when_all_nodes_are_held_the_error_says_so(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        clock = ManualClock(NOW_US)

        @database.transaction()
        async def hold_all(tx: Any) -> None:
            row = {"holder": "x", "epoch": 1, "expires_us": clock.wall_us() + 10**9, "data": '{"last_ms":1}'}
            await tx.run_many(insert(tf_lease), [{"name": f"snowflake/{node}", **row} for node in range(1023)])

        await hold_all()
        ids = make(database, clock)
        await ids.start()
        with pytest.raises(Unavailable, match="all 1023 node numbers are held"):
            ids.snowflake()
        clock.advance(2_000)
        await ids.lease.renew()
        assert node_of(ids.snowflake()) == 0
        await ids.stop()

    run(body)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["start", "renew", "stop", "crash"]), st.integers(0, 2)),
        st.tuples(st.just("draw"), st.integers(0, 2)),
        st.tuples(st.just("step clock"), st.integers(0, 2), st.sampled_from([-HOUR_S, -2.0, -0.3, 0.3, 40.0, HOUR_S])),
        st.tuples(st.just("time"), st.sampled_from([0.001, 0.4, 5.0, 31.0])),
    ),
    max_size=40,
)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(deadline=None, max_examples=60)
@given(steps=STEPS)
def test_no_sequence_of_clock_steps_pauses_and_crashes_makes_an_id_twice(
    backend: str, steps: list[tuple[Any, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    open_database = BACKENDS[backend](tmp_path_factory.mktemp("ids"))

    async def body() -> None:
        async with open_database() as database:
            await play(database, steps)

    asyncio.run(body())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", range(5))
def test_long_runs_of_such_steps_make_many_ids_and_none_twice(backend: str, seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    choices: list[Callable[[], tuple[Any, ...]]] = [
        lambda: ("start", draw.randrange(3)),
        lambda: ("start", draw.randrange(3)),
        lambda: ("renew", draw.randrange(3)),
        lambda: (draw.choice(["stop", "crash"]), draw.randrange(3)),
        lambda: ("draw", draw.randrange(3)),
        lambda: ("draw", draw.randrange(3)),
        lambda: ("step clock", draw.randrange(3), draw.choice([-HOUR_S, -2.0, -0.3, 0.3, 40.0, HOUR_S])),
        lambda: ("time", draw.choice([0.001, 0.4, 5.0, 31.0])),
    ]
    steps = [draw.choice(choices)() for _ in range(800)]
    open_database = BACKENDS[backend](tmp_path)

    async def body() -> None:
        async with open_database() as database:
            assert await play(database, steps) > 300

    asyncio.run(body())


async def play(database: Database, steps: list[tuple[Any, ...]]) -> int:
    """Three processes, each with a clock of its own that is stepped without regard to the others; how many ids."""
    clocks = [ManualClock(NOW_US) for _ in range(3)]
    running: dict[int, Ids] = {}
    lives: list[list[int]] = []
    made: dict[int, list[int]] = {}
    for step in [*steps, *(("crash", process) for process in range(3))]:
        match step:
            case ("start", process) if process not in running:
                running[process] = make(database, clocks[process])
                made[process] = []
                await running[process].start()
            case ("renew", process) if process in running:
                await running[process].lease.renew()
            case ("stop", process) if process in running:
                await running.pop(process).stop()
                lives.append(made.pop(process))
            case ("crash", process) if process in running:
                await crash(running.pop(process))
                lives.append(made.pop(process))
            case ("draw", process) if process in running:
                for _ in range(5):
                    try:
                        made[process].append(running[process].snowflake())
                    except Unavailable:
                        break
            case ("step clock", process, seconds):
                clocks[process].step_wall(seconds)
            case ("time", seconds):
                for clock in clocks:
                    clock.advance(seconds)
    everything = [one for life in lives for one in life]
    assert len(everything) == len(set(everything))
    assert all(map(increasing, lives))
    return len(everything)


# -- sequences --------------------------------------------------------------------------------------------------------


def test_a_sequence_counts_from_one_without_gaps_in_one_process(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        ids = make(database)
        assert [await ids.sequence("links") for _ in range(2_500)] == list(range(1, 2_501))
        assert await ids.sequence("other") == 1

    run(body)


def test_two_processes_draw_different_numbers_each_increasing(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        both = [make(database), make(database)]
        made: list[list[int]] = [[], []]
        for _ in range(3_000):
            for ids, mine in zip(both, made, strict=True):
                mine.append(await ids.sequence("links"))
        assert len(set(made[0]) | set(made[1])) == 6_000
        assert increasing(made[0])
        assert increasing(made[1])

    run(body)


def test_concurrent_draws_share_one_block(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        ids = make(database)
        made = await asyncio.gather(*(ids.sequence("links") for _ in range(2_200)))
        assert sorted(made) == list(range(1, 2_201))

    run(body)


def test_a_cancelled_draw_disturbs_nobody(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        ids = make(database)
        draws = [asyncio.create_task(ids.sequence("links")) for _ in range(10)]
        await asyncio.sleep(0)
        draws[0].cancel()
        made = await asyncio.gather(*draws, return_exceptions=True)
        assert isinstance(made[0], asyncio.CancelledError)
        assert len(set(made[1:])) == 9
        assert increasing(made[1:])

    run(body)


def test_a_restart_leaves_a_gap_and_repeats_nothing(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        assert await make(database).sequence("links") == 1
        assert await make(database).sequence("links") == 1_001

    run(body)


def test_a_sequence_ends_below_the_numbers_of_keyed_requests(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        ids = make(database)
        await ids.sequence("links")

        @database.transaction()
        async def near_the_end(tx: Any) -> None:
            await tx.run(update(tf_sequence).values(next=2**41 - 1_500))

        await near_the_end()
        again = make(database)
        assert await again.sequence("links") == 2**41 - 1_500
        for _ in range(999):
            await again.sequence("links")
        with pytest.raises(Unavailable, match="TF-IDS-USED-UP"):
            await again.sequence("links")

    run(body)


def test_a_draw_inside_a_transaction_is_refused_also_when_a_block_is_at_hand(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        ids = make(database)
        await ids.sequence("links")

        @database.transaction()
        async def draw(tx: Any) -> int:
            return await ids.sequence("links")

        with pytest.raises(ContractError, match="TF-IDS-TX"):
            await draw()

    run(body)


@pytest.mark.parametrize("name", ["", "Links", "1st", "a b", "x" * 101, "a\n", "ä"])
def test_a_wrong_name_is_refused(run: Callable[[Body], None], name: str) -> None:
    async def body(database: Database) -> None:
        with pytest.raises(ContractError, match="TF-IDS-NAME"):
            await make(database).sequence(name)

    run(body)


# -- keyed requests ---------------------------------------------------------------------------------------------------


async def draws_of_a_request(ids: Ids, key: str | None) -> list[Any]:
    entered = enter_scope(RequestScope(idempotency_key=key))
    try:
        made: list[Any] = []
        for _ in range(3):
            made += [ids.uuid7(), ids.snowflake(), await ids.sequence("links"), await ids.sequence("other")]
        return made
    finally:
        leave_scope(entered)


def test_a_replayed_request_draws_the_same_ids_in_another_process_too(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        first, other = make(database), make(database)
        made = await draws_of_a_request(first, "key-1")
        assert await draws_of_a_request(other, "key-1") == made
        assert len(set(made)) == 12
        assert not set(made) & set(await draws_of_a_request(first, "key-2"))

    run(body)


def test_keyed_ids_stay_out_of_the_way_of_all_others(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        uuid, flake, number, _ = (await draws_of_a_request(make(database), "key-1"))[:4]
        assert isinstance(uuid, UUID)
        assert uuid.version == 8
        assert node_of(flake) == 1023
        assert 2**41 <= number < 2**42

    run(body)


def test_a_request_without_a_key_draws_fresh_ids(run: Callable[[Body], None]) -> None:
    async def body(database: Database) -> None:
        ids = make(database)
        await ids.start()
        first = await draws_of_a_request(ids, None)
        second = await draws_of_a_request(ids, None)
        assert first[2:4] == [1, 1]
        assert not set(first) & {value for value in second if not isinstance(value, int) or value > 10}
        await ids.stop()

    run(body)
