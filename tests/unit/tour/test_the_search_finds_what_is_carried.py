"""The search over rates, against services that carry so much and no more, on quiet and on noisy machines."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import pytest
from tours import trial

from tenfold.core.randomness import SeededRandomness
from tenfold.tour.model import Trial
from tenfold.tour.search import Plan, bottleneck, found, next_rate

PLAN = Plan(first=80.0, most=3000.0, trials=16)


def searched(service: Callable[[float], Trial], plan: Plan = PLAN) -> list[Trial]:
    tried: list[Trial] = []
    while (rate := next_rate(plan, tried)) is not None:
        assert len(tried) <= 2 * plan.trials, "it ends"
        tried.append(service(rate))
    return tried


def carries(capacity: float) -> Callable[[float], Trial]:
    return lambda rate: trial(rate, 60.0 if rate <= capacity else 3000.0)


@pytest.mark.parametrize("capacity", [7.0, 40.0, 79.0, 80.0, 81.0, 175.0, 549.0, 1000.0, 2600.0])
def test_on_a_quiet_machine_it_is_found_to_a_tenth(capacity: float) -> None:
    answer = found(PLAN, searched(carries(capacity)))
    assert answer is not None
    assert answer.rate <= capacity <= answer.rate * PLAN.precise * 1.02
    assert (answer.sure, answer.at_least) == (True, False)


def test_the_bottleneck_is_the_lowest_rate_that_was_too_much() -> None:
    tried = searched(carries(175.0))
    full = bottleneck(tried)
    assert full is not None
    assert (full.rate, full.carried) == (180.0, False)
    assert full.rate == min(each.rate for each in tried if not each.carried)


def test_a_rate_that_was_not_carried_is_tried_again_before_anything_rests_on_it() -> None:
    good, bad, slow = trial(80.0), trial(120.0, 3000.0), trial(120.0, 400.0)
    assert next_rate(PLAN, [good, bad]) == 120.0
    assert next_rate(PLAN, [good, bad, trial(120.0)]) == 180.0, "one against one counts as noise"
    assert next_rate(PLAN, [good, slow, slow]) == 120.0, "a few slow answers may be noise twice"
    for refused in ([bad, bad], [slow, slow, slow], [bad, slow, slow], [trial(120.0), bad, bad]):
        lower = next_rate(PLAN, [good, *refused])
        assert lower is not None
        assert 80.0 < lower < 120.0, refused


def test_an_answer_was_carried_twice() -> None:
    bad = trial(120.0, 3000.0)
    tried = [trial(80.0), bad, bad, trial(98.0), trial(108.0), trial(114.0)]
    assert next_rate(PLAN, tried) == 114.0
    assert next_rate(PLAN, [*tried, trial(114.0)]) is None
    slow = trial(114.0, 3000.0)
    assert next_rate(PLAN, [*tried, slow]) == 114.0
    assert next_rate(PLAN, [*tried, slow, slow]) not in (None, 114.0)


def test_the_last_trial_is_for_the_answer() -> None:
    bad = trial(120.0, 3000.0)
    tried = [trial(80.0), bad, bad, trial(98.0)]
    assert next_rate(Plan(80.0, 3000.0, 5), tried) == 98.0
    assert next_rate(Plan(80.0, 3000.0, 6), tried) not in (None, 98.0)
    assert next_rate(Plan(80.0, 3000.0, 5), [*tried, trial(98.0)]) is None


def test_one_bad_second_in_five_does_not_lead_it_astray() -> None:
    answers = []
    for seed in range(60):
        noise = SeededRandomness(seed)

        def noisy(rate: float, noise: SeededRandomness = noise) -> Trial:
            return trial(rate, 60.0 if rate <= 300.0 and noise.uniform() > 0.2 else 800.0)

        answer = found(PLAN, searched(noisy))
        assert answer is not None
        assert answer.rate <= 300.0
        answers.append(answer.rate)
    assert statistics.median(answers) >= 300.0 / 1.1
    assert sum(rate >= 200.0 for rate in answers) >= 54


def test_what_could_not_be_sent_says_nothing_and_is_tried_again() -> None:
    void = trial(120.0, 900.0, lag_ms=300.0)
    assert void.says_nothing
    tried = [trial(80.0), void, void]
    assert next_rate(PLAN, tried) == 120.0
    assert next_rate(PLAN, [*tried, trial(120.0)]) == 180.0


def test_a_sender_that_is_too_slow_is_told_as_at_least() -> None:
    def slow_sender(rate: float) -> Trial:
        return trial(rate, 60.0) if rate <= 500.0 else trial(rate, 900.0, lag_ms=400.0)

    tried = searched(slow_sender, Plan(first=80.0, most=3000.0, trials=24))
    answer = found(PLAN, tried)
    assert answer is not None
    assert answer.at_least
    assert 400.0 <= answer.rate <= 500.0
    assert bottleneck(tried) is None


def test_nothing_is_tried_above_the_most_and_the_answer_says_at_least() -> None:
    plan = Plan(first=80.0, most=300.0, trials=16)
    tried = searched(carries(10_000.0), plan)
    answer = found(plan, tried)
    assert max(each.rate for each in tried) == 300.0
    assert answer is not None
    assert (answer.rate, answer.at_least, answer.sure) == (300.0, True, True)


def test_a_service_that_carries_nothing_ends_the_search_without_an_answer() -> None:
    tried = searched(lambda rate: trial(rate, 9000.0))
    assert found(PLAN, tried) is None
    assert min(each.rate for each in tried) >= PLAN.least


def test_few_failed_requests_are_enough_to_be_too_many() -> None:
    assert trial(1000.0, failed=3).carried
    assert not trial(1000.0, failed=4).carried
    assert not trial(0.1).carried, "nothing was sent"


def test_the_figures_of_the_answer_are_medians_of_what_was_carried() -> None:
    tried = [trial(100.0, 40.0), trial(150.0, 3000.0), trial(150.0, 3000.0), trial(100.0, 80.0), trial(100.0, 700.0)]
    answer = found(PLAN, tried)
    assert answer is not None
    assert (answer.rate, answer.p99_ms, answer.p50_ms) == (100.0, 60.0, 15.0)
