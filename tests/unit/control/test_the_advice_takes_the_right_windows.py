"""Which figures count for an advice, and what they come to: sustained and recent load, gauges, windows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from advice_lab import NOW, STEP_1, STEP_2, STEP_3, a_map, every_second
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tenfold.control.advice import advise
from tenfold.control.advice.levels import FULL, level, quantile, stretches, usual
from tenfold.control.advice.model import Advice
from tenfold.control.advice.pressures import first_of
from tenfold.control.figures.model import Figures, Machine, NodeFigures, Traffic
from tenfold.topology.map import Map, NodeMap
from tenfold.topology.steps import find_step
from tenfold.topology.wants import scale_wants, wants_of

FULL_WEB = {"cpu": {"web": 0.95}}


def seconds_of(*values: float) -> list[tuple[float, float]]:
    return [(value, 1.0) for value in values]


# Levels


def test_a_second_of_hard_work_is_no_load() -> None:
    assert level(seconds_of(*[0.1] * 300, 1.0, *[0.1] * 299)) < 0.3


def test_a_load_that_comes_and_goes_is_not_forgotten() -> None:
    assert level(seconds_of(*[0.9] * 60, *[0.1] * 540)) == pytest.approx(0.9)


def test_a_load_that_has_just_begun_is_seen() -> None:
    assert level(seconds_of(*[0.1] * 585, *[0.9] * 15)) == pytest.approx(0.9)


def test_a_gauge_counts_by_what_is_usual() -> None:
    assert usual(seconds_of(*[0] * 20, 500, 500, *[0] * 20)) == 0
    assert usual(seconds_of(*[0] * 100, *[7] * 15)) == 7


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 60)), min_size=1, max_size=60))
def test_a_level_lies_between_the_lowest_and_the_highest(samples: list[tuple[float, float]]) -> None:
    values = [value for value, _ in samples]
    assert min(values) - 1e-6 <= level(samples) <= max(values) + 1e-6
    assert min(values) <= quantile(samples, 0.5) <= max(values)
    kept = stretches(samples)
    assert sum(each for _, each in kept) == pytest.approx(sum(each for _, each in samples))
    assert all(each >= 5.0 for _, each in kept) or len(kept) == 1


def test_nothing_is_nothing() -> None:
    assert level([]) == usual([]) == 0.0


# Windows


def test_of_too_few_seconds_nothing_is_said() -> None:
    assert advise(STEP_1, []).verdict == "too-little"
    assert advise(STEP_1, every_second(STEP_1, 3, **FULL_WEB)).verdict == "too-little"
    assert advise(STEP_1, every_second(STEP_1, 4, **FULL_WEB)).verdict == "step"


def test_figures_from_before_a_climb_say_nothing_about_what_runs_now() -> None:
    before = every_second(STEP_2, 300, **FULL_WEB)
    after = every_second(STEP_3, 10, cpu={"web": 0.3}, begins=NOW + 300)
    assert advise(STEP_3, [*before, *after]).verdict == "stay"
    assert advise(STEP_3, before).verdict == "too-little"


def test_figures_of_the_file_say_nothing_about_the_server() -> None:
    assert advise(STEP_2, every_second(STEP_1, 300, **FULL_WEB)).verdict == "too-little"


def test_figures_older_than_ten_minutes_are_forgotten() -> None:
    old = every_second(STEP_1, 120, **FULL_WEB)
    assert advise(STEP_1, [*old, *every_second(STEP_1, 10, begins=NOW + 800)]).verdict == "stay"
    assert advise(STEP_1, [*old, *every_second(STEP_1, 10, begins=NOW + 500)]).verdict == "step"


def test_a_load_that_is_over_is_told_as_such() -> None:
    advice = advise(STEP_1, [*every_second(STEP_1, 120, **FULL_WEB), *every_second(STEP_1, 60, begins=NOW + 120)])
    assert advice.verdict == "step"
    assert any("calmer just now" in reason and "3 min" in reason for reason in advice.because)


def test_a_node_that_is_gone_is_named() -> None:
    figures = [
        msgspec.structs.replace(window, nodes=tuple(node for node in window.nodes if node.node != "web-2"))
        for window in every_second(STEP_3)
    ]
    advice = advise(STEP_3, figures)
    assert advice.verdict == "too-little"
    assert "web-2" in advice.sentence


def test_nodes_that_tell_nothing_are_named() -> None:
    figures = every_second(STEP_1, silent=("web-1",))
    assert any("web-1 did not tell" in reason for reason in advise(STEP_1, figures).because)


@pytest.mark.parametrize(
    "moving",
    [
        a_map(standby="postgres"),
        a_map(gate="held"),
        msgspec.structs.replace(STEP_1, nodes=(NodeMap("web-1", "web", traffic="off"),)),
    ],
)
def test_while_a_move_is_under_way_nothing_is_advised(moving: Map) -> None:
    advice = advise(moving, every_second(moving, **FULL_WEB))
    assert (advice.verdict, advice.words.key) == ("too-little", "advice.moving")
    assert advice.pressures, "how full everything is can be seen all the same"


def test_one_window_of_five_seconds_that_was_kept_counts_as_five_seconds() -> None:
    kept = every_second(STEP_1, 600, **FULL_WEB)[::5]
    live = every_second(STEP_1, 10, begins=NOW + 600)
    assert advise(STEP_1, [*kept[-20:], *live]).verdict == "step"
    one = every_second(STEP_1, 1, cpu={"web": 0.95}, begins=NOW - 300)
    assert advise(STEP_1, [*one, *live]).verdict == "stay", "a single one after a pause is no load"


def test_windows_that_overlap_count_once() -> None:
    calm, twice = every_second(STEP_1, 100), every_second(STEP_1, 5, cpu={"web": 1.0}, begins=NOW + 40)
    assert advise(STEP_1, [*calm, *twice, *twice, *twice]).verdict == "stay"


# Whatever the figures are

shares = st.sampled_from([None, 0.0, 0.3, 0.84, 0.85, 1.1])
rates = st.sampled_from([0.0, 0.4, 1.0, 59.0, 5000.0])
times = st.sampled_from([None, 0.0, 4.0, 5.0, 60.0, 2000.0])
some_traffic = st.builds(Traffic, rates, rates, times, times)
counts = st.sampled_from([0, 1, 8, 50_000])


def some_node(name: str, role: str) -> Any:
    return st.builds(
        NodeFigures, st.just(name), st.just(role), st.just(7), shares, st.sampled_from([0.05, 1.0, 8.0]),
        jobs=st.none() | some_traffic, queue=counts, pool=counts, pool_busy=counts, loop_late_ms=counts,
        cache_hits=shares, cache_lookups=rates,
    )  # fmt: skip


MAPS = [
    STEP_1,
    STEP_2,
    STEP_3,
    a_map(workers=1),
    a_map(server=True, web=5, workers=2, balancers=2),
    a_map(web=2, balancers=2),
]


@st.composite
def deployments(draw: Any) -> tuple[Map, list[Figures]]:
    current = draw(st.sampled_from(MAPS))
    names = [(node.name, node.role) for node in current.nodes]
    names += [("database", "database")] if current.database.backend == "postgres" else []
    machine = st.builds(Machine, st.sampled_from([1, 2, 64]), rates, counts, counts, counts, counts, shares)
    figures = st.builds(
        Figures, st.integers(0, 20).map(lambda at: at * 1_000_000), st.sampled_from([0.0, 1.0, 5.0, 60.0]), machine,
        st.tuples(*(some_node(*name) for name in names)), some_traffic, st.just(()), some_traffic, some_traffic,
    )  # fmt: skip
    return current, draw(st.lists(figures, max_size=4, unique_by=lambda window: window.at_us))


@settings(max_examples=60, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(deployments())
def test_there_is_always_an_advice_that_can_be_followed(deployment: tuple[Map, list[Figures]]) -> None:
    current, history = deployment
    advice = advise(current, history)
    assert advise(current, history[::-1]) == advice, "the order in which figures come does not matter"
    assert advice.sentence
    assert len(advice.because) == len(advice.because_words)
    assert (advice.step > 0) == (advice.verdict == "step")
    assert bool(advice.command) == (advice.verdict in ("step", "scale"))
    follow(current, advice)
    grows = first_of(advice.pressures)
    if advice.words.key in ("advice.stay.room", "advice.stay.far", "advice.stay.soon"):
        assert grows is None or grows.share < FULL, "what is full is not told to have room"


def follow(current: Map, advice: Advice) -> None:
    """The command is one that the deployment would not refuse, but for a pool that the advice names."""
    if advice.verdict == "step":
        step = find_step(advice.step)
        assert step.exists
        assert not step.holds(current)
    if advice.verdict == "scale" and not any("set pool" in reason for reason in advice.because):
        role, _, number = advice.command.removeprefix("tenfold scale ").partition("=")
        assert int(number) > len(current.of_role(role))
        scale_wants(current, wants_of(current), **{role: int(number)})
