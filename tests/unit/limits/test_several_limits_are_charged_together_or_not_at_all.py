"""Charges in memory: atomic over several limits, weighted, bounded in number, changed while they run."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import MetaData

from tenfold.blocks.database import Database
from tenfold.blocks.limits import LimitExceeded, Limits, Rule
from tenfold.core.clock import ManualClock
from tenfold.core.errors import ContractError
from tenfold.core.randomness import SeededRandomness
from tenfold.topology.limits import LimitMap


def made() -> tuple[Limits, ManualClock]:
    clock = ManualClock(monotonic=1000.0)
    return Limits(Database(MetaData()), clock, SeededRandomness(1)), clock


def left(limits: Limits, rule: Rule, key: str) -> int:
    """How many are left, without charging any."""
    probe = 0
    while probe < rule.burst and limits.charge((rule, key)).allowed:
        probe += 1
    if probe:
        rule.tats[key] -= probe * rule.interval_ns
    return probe


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.integers(1, 3)), min_size=1), max_size=30)
)
def test_all_are_charged_or_none(calls: list[list[tuple[int, str, int]]]) -> None:
    limits, _ = made()
    rules = [limits.rule(f"r{number}", "1/day", burst=number + 3) for number in range(3)]
    levels = {(number, key): number + 3 for number in range(3) for key in "ab"}
    for call in calls:
        costs: dict[tuple[int, str], int] = {}
        for number, key, cost in call:
            costs[number, key] = costs.get((number, key), 0) + cost
        fits = all(levels[bucket] >= cost for bucket, cost in costs.items())
        decision = limits.charge(*((rules[number], key, cost) for number, key, cost in call))
        assert decision.allowed == fits
        if fits:
            for bucket, cost in costs.items():
                levels[bucket] -= cost
    assert levels == {(number, key): left(limits, rules[number], key) for number, key in levels}


def test_of_several_limits_the_tightest_one_is_told() -> None:
    limits, _ = made()
    wide, tight = limits.rule("wide", "100/hour"), limits.rule("tight", "2/hour")
    assert limits.charge((wide, "a"), (tight, "a")).rule is tight
    assert limits.charge((wide, "a"), (tight, "a")).remaining == 0
    refused = limits.charge((wide, "a"), (tight, "a"))
    assert (refused.allowed, refused.rule, refused.retry_after_s) == (False, tight, 1800.0)
    assert left(limits, wide, "a") == 98, "what is refused is not charged elsewhere"


def test_a_limit_in_shadow_mode_refuses_nobody_and_counts_whom_it_would_have() -> None:
    limits, _ = made()
    real, trial = limits.rule("real", "3/hour"), limits.rule("trial", "1/hour", shadow=True)
    assert [limits.charge((real, "a"), (trial, "a")).allowed for _ in range(4)] == [True, True, True, False]
    assert (trial.allowed, trial.shadowed, trial.refused) == (1, 3, 0)
    assert (real.allowed, real.refused) == (3, 1)
    assert limits.charge((trial, "b")).allowed
    assert limits.charge((trial, "b")).allowed
    assert trial.shadowed == 4


@pytest.mark.parametrize("cost", [0, -1, 6, 1.5, True, "1", None])
def test_a_cost_that_could_never_pass_is_refused(cost: object) -> None:
    limits, _ = made()
    rule = limits.rule("a", "5/minute")
    for charges in ([(rule, "k", cost)], [(rule, "k"), (rule, "l", cost)]):
        with pytest.raises((ContractError, TypeError)) as caught:
            limits.charge(*charges)  # type: ignore[arg-type]
        assert cost is None or isinstance(cost, str) or "could never pass" in str(caught.value)
    assert left(limits, rule, "k") == 5


def test_no_charge_at_all_is_a_mistake() -> None:
    limits, _ = made()
    with pytest.raises(ContractError, match="TF-LIMIT-CHARGE"):
        limits.charge()
    with pytest.raises(ContractError, match="TF-LIMIT-CHARGE"):
        limits.charge(("create", "k"), ("create", "k"))  # type: ignore[arg-type]


def test_a_wall_clock_that_steps_back_changes_nothing() -> None:
    limits, clock = made()
    rule = limits.rule("a", "1/minute", burst=2)
    assert limits.charge((rule, "k")).allowed
    clock.step_wall(-86_400)
    assert limits.charge((rule, "k")).allowed
    assert not limits.charge((rule, "k")).allowed
    clock.advance(60.0)
    assert limits.charge((rule, "k")).allowed


def test_keys_that_are_full_again_are_forgotten_before_others() -> None:
    limits, clock = made()
    rule = limits.rule("a", "1/second", burst=100)
    rule.keys_max = 10
    for number in range(8):
        limits.charge((rule, f"short{number}"))
    limits.charge((rule, "long1", 100), (rule, "long2", 100))
    clock.advance(2.0)
    for number in range(30):
        limits.charge((rule, f"new{number}"))
    assert len(rule.tats) <= 10
    assert limits.charge((rule, "long1", 3)).allowed is False
    assert limits.charge((rule, "long2", 3)).allowed is False


def test_a_flood_of_keys_stays_within_its_bound() -> None:
    limits, _ = made()
    rule = limits.rule("a", "1/day")
    rule.keys_max = 50
    for number in range(1000):
        assert limits.charge((rule, f"k{number}")).allowed
    assert len(rule.tats) == 50


@pytest.mark.parametrize("key", ["", "\x00\r\n", "ü" * 5000, "\ud800", ("a", "b"), ("ab", "")])
def test_any_text_is_a_key_of_its_own(key: object) -> None:
    limits, _ = made()
    rule = limits.rule("a", "1/hour")
    assert limits.charge((rule, key)).allowed  # type: ignore[arg-type]
    assert not limits.charge((rule, key)).allowed  # type: ignore[arg-type]
    assert limits.charge((rule, "another")).allowed
    assert len(set(rule.owed(0))) == 2


def test_a_rule_of_the_map_replaces_that_of_the_code_and_keeps_what_was_charged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits, clock = made()
    rule = limits.rule("a", "10/minute", routes=["/x"])
    for _ in range(6):
        limits.charge((rule, "k"))
    with caplog.at_level("WARNING"):
        limits.rules.adopt([LimitMap("a", "20/hour", burst=8)], round(clock.monotonic() * 1e9))
    assert caplog.messages == [
        "The limit \"a\" is 10/minute, routes = ('/x',) in the code and 20/hour, burst = 8 in tenfold.toml; "
        "tenfold.toml wins."
    ]
    assert (rule.burst, rule.limit.routes) == (8, ("/x",))
    assert left(limits, rule, "k") == 2
    limits.rules.adopt([], round(clock.monotonic() * 1e9))
    assert (rule.burst, left(limits, rule, "k")) == (10, 4)


def test_a_rule_of_the_map_alone_comes_and_goes_with_it() -> None:
    limits, _ = made()
    limits.rules.adopt([LimitMap("login", "5/minute", routes=("/login",))], 0)
    assert [rule.name for rule in limits.rules.on_routes()] == ["login"]
    limits.rules.adopt([], 0)
    assert limits.rules.on_routes() == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rate": "20/week"}, 'A limit\'s rate: found "20/week" (text); allowed: a rate such as "20/minute"'),
        ({"rate": "0/second"}, "allowed: a rate such as"),
        ({"name": "No"}, "A limit's name: found"),
        ({"burst": 0}, "A limit's burst: found 0"),
        ({"burst": 2, "cost": 3}, "found cost 3 and burst 2, so that nothing could ever pass"),
        ({"key": "colour"}, "A limit's key: found"),
        ({"routes": ["x"]}, "A limit's routes: found a list; allowed: paths such as"),
        ({"over": "defer"}, "found no task"),
        ({"task": "later"}, 'found task = "later" and over = "refuse"'),
        ({"over": "defer", "task": "later", "routes": ["/a"]}, "only requests that write become jobs"),
        ({"rate": "1/day", "burst": 400}, "take longer than a year to come back"),
    ],
)
def test_what_contradicts_itself_is_refused_with_a_sentence(options: dict[str, object], says: str) -> None:
    limits, _ = made()
    with pytest.raises(ContractError) as caught:
        limits.rule(**{"name": "a", "rate": "20/minute", **options})  # type: ignore[arg-type]
    assert caught.value.code == "TF-LIMIT-RULE"
    assert says in caught.value.message
    assert caught.value.message.endswith(".")


def test_a_name_is_declared_once_or_twice_the_same() -> None:
    limits, _ = made()
    assert limits.rule("a", "20/minute", burst=5) is limits.rule("a", "20/minute", burst=5)
    with pytest.raises(ContractError, match="is declared twice in the code: as 20/minute, burst = 5 and as 20/minute"):
        limits.rule("a", "20/minute", burst=6)


async def _required(limits: Limits, rule: Rule) -> None:
    await limits.require((rule, "k"))


def test_require_raises_with_a_wait_that_is_spread() -> None:
    waits = set()
    for seed in range(20):
        limits = Limits(Database(MetaData()), ManualClock(monotonic=5.0), SeededRandomness(seed))
        rule = limits.rule("a", "1/hour")
        asyncio.run(_required(limits, rule))
        with pytest.raises(LimitExceeded) as caught:
            asyncio.run(_required(limits, rule))
        assert 3600 <= caught.value.retry_after_s <= 3961
        assert caught.value.message == 'The limit "a" (1/hour, 1 at once) is reached.'
        waits.add(caught.value.retry_after_s)
    assert len(waits) > 10


def test_limits_that_are_off_allow_everything() -> None:
    limits, _ = made()
    rule = limits.rule("a", "1/hour", routes=["/x"])
    limits.switch_off()
    assert all(limits.charge((rule, "k")).allowed for _ in range(10))
    assert limits.charge((rule, "k"), (rule, "l")).allowed
    assert limits.routes is None
