from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import MetaData

from tenfold.blocks.database import Database
from tenfold.blocks.metrics import Metrics
from tenfold.blocks.metrics.policy import (
    COUNT_MAX,
    DAYS_MAX,
    LABEL_SETS,
    METRICS_MAX,
    counts_as_return,
    day_of,
    label_value,
    labels_of,
    plus,
    until_midnight_s,
)
from tenfold.blocks.metrics.series import Visitors
from tenfold.core.clock import ManualClock
from tenfold.core.errors import ContractError
from tenfold.core.randomness import SeededRandomness

DAY_US = 86_400_000_000


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(Database(MetaData()), ManualClock(), SeededRandomness(1))


def totals(metrics: Metrics) -> dict[tuple[tuple[str, str], ...], Any]:
    for of, name in metrics._series():
        of.writes(name, 1, "s")
    return {number.labels: number.value for number in metrics.numbers()}


@pytest.mark.parametrize(
    "n", [-1, 1.0, True, "1", None, float("nan"), COUNT_MAX + 1, pytest.param(10**5000, id="huge")]
)
def test_a_count_takes_whole_numbers_only(metrics: Metrics, n: Any) -> None:
    links = metrics.count("links")
    with pytest.raises(ContractError, match="whole number"):
        links.add(n)
    links.add(0)
    links.add(COUNT_MAX)
    assert totals(metrics) == {(): COUNT_MAX}


@pytest.mark.parametrize(
    "amount",
    [
        0.1, float("nan"), float("inf"), True, None, "", "a", "0.1 EUR", "NaN", Decimal("NaN"), Decimal("sNaN"), "1e25",
        Decimal("Infinity"), 10**24, -(10**24), pytest.param(10**5000, id="huge"),
        Decimal(1).scaleb(-13), Decimal("1E+999999"), "9" * 5000, b"1",
    ],
)  # fmt: skip
def test_an_amount_is_exact_or_refused(metrics: Metrics, amount: Any) -> None:
    with pytest.raises(ContractError, match="Decimal"):
        metrics.sum("revenue").add(amount)


def test_sums_do_not_drift(metrics: Metrics) -> None:
    revenue = metrics.sum("revenue", unit="eur")
    for amount in ("0.1", "0.2", Decimal("-0.3"), 10**24 - 1, -(10**24) + 1, "1e-12"):
        revenue.add(amount)
    for _ in range(1000):
        revenue.add("0.001")
    assert totals(metrics) == {(): Decimal("1.000000000001")}


def test_a_sum_that_could_not_be_exact_is_never_rounded() -> None:
    with pytest.raises(ArithmeticError):
        plus(Decimal(10) ** 79, Decimal(1).scaleb(-12))


@pytest.mark.parametrize("name", ["", "Links", "1st", "a b", "a\nb", "a" * 64, "links-created", None, "ä"])
def test_names_are_what_every_format_can_say(metrics: Metrics, name: Any) -> None:
    for declare in (metrics.count, metrics.sum, metrics.unique, metrics.visits):
        with pytest.raises(ContractError) as caught:
            declare(name)
        assert caught.value.code == "TF-METRICS-NAME"


@pytest.mark.parametrize("labels", ["plan", ("plan", "plan"), tuple("abcdef"), ("Plan",), ("a\x00",)])
def test_labels_are_few_and_named_well(metrics: Metrics, labels: Any) -> None:
    with pytest.raises(ContractError):
        metrics.count("links", labels=labels)


def test_the_same_declaration_is_the_same_metric_and_another_is_refused(metrics: Metrics) -> None:
    assert metrics.count("links", labels=("plan",)) is metrics.count("links", labels=("plan",))
    with pytest.raises(ContractError, match="twice"):
        metrics.count("links")
    with pytest.raises(ContractError, match="twice"):
        metrics.unique("links", labels=("plan",))


def test_thousands_of_metrics_are_a_mistake(metrics: Metrics) -> None:
    for number in range(METRICS_MAX):
        metrics.count(f"user_{number}")
    with pytest.raises(ContractError, match="already"):
        metrics.count("one_more")


def test_thousands_of_label_sets_end_under_other(metrics: Metrics) -> None:
    links = metrics.count("links", labels=("plan",))
    for number in range(5000):
        links.add(plan=f"plan {number}")
        links.add(plan="plan 1")
    found = totals(metrics)
    assert len(found) <= LABEL_SETS + 1
    assert sum(found.values()) == 10_000, "nothing is lost"
    assert found[(("plan", "plan 1"),)] == 5001
    assert found[(("plan", "other"),)] == metrics.stats().label_sets_folded > 4800


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("a\nb\x00\x1b[0m", "a?b??[0m"), ("x" * 10_000, "x" * 64), ("\ud800", "?"), (5, "5"), (None, "None"),
        (["a"], "['a']"), (Broken(), "Broken"), pytest.param(10**6000, "int", id="huge"), ("größe", "größe"), ("", ""),
    ],
)  # fmt: skip
def test_a_label_may_have_any_value(metrics: Metrics, value: Any, kept: str) -> None:
    links = metrics.count("links", labels=("plan", "kind"))
    links.add(plan=value)
    links.add(plan=value)
    assert label_value(value) == kept
    assert totals(metrics) == {(("kind", ""), ("plan", kept)): 2}


def test_an_unknown_label_is_a_mistake(metrics: Metrics) -> None:
    for labels in (("plan",), ()):
        links = metrics.count(f"links_{len(labels)}", labels=labels)
        with pytest.raises(ContractError, match="no label 'plam'"):
            links.add(plam="free")
        if labels:
            links.add(plan="free")
            with pytest.raises(ContractError, match="no label 'plam'"):
                links.add(plan="free", plam="free")


@pytest.mark.parametrize(
    "who", ["a\x00\n", "", "\ud800", "x" * 1_000_000, 5, -5, pytest.param(10**6000, id="huge"), b"\xff"]
)
def test_anything_that_names_a_user_is_counted_once(metrics: Metrics, who: Any) -> None:
    active, returning = metrics.unique("active"), metrics.visits("returning")
    for _ in range(3):
        active.add(who)
        returning.add(who)
    assert totals(metrics)[()] in (0, 1)
    assert [of.total for of in active.series] == [1]
    assert len(returning.visitors.take(10)[1]) == 1


@pytest.mark.parametrize("who", [None, 1.5, True, ["a"], object()])
def test_what_names_nobody_is_a_mistake(metrics: Metrics, who: Any) -> None:
    for instrument in (metrics.unique("active"), metrics.visits("returning")):
        with pytest.raises(ContractError, match="text, an int or bytes"):
            instrument.add(who)


def test_threads_lose_nothing(metrics: Metrics) -> None:
    links = metrics.count("links")

    def many() -> None:
        for _ in range(20_000):
            links.add()

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    seen = 0
    while any(thread.is_alive() for thread in threads):
        seen = totals(metrics)[()]
    for thread in threads:
        thread.join()
    assert seen <= totals(metrics)[()] == 80_000


@pytest.mark.parametrize("days", [0, -1, DAYS_MAX + 1, 1.0, True, "7", None])
def test_the_days_that_are_read_are_bounded(metrics: Metrics, days: Any) -> None:
    metrics.count("links")
    with pytest.raises(ContractError, match="days="):
        asyncio.run(metrics.read("links", days=days))


def test_a_metric_that_was_not_declared_cannot_be_read(metrics: Metrics) -> None:
    metrics.count("links")
    with pytest.raises(ContractError, match=r"no metric 'clicks'.*links"):
        asyncio.run(metrics.read("clicks"))


@pytest.mark.parametrize("within", [0, 367, -1, 1.5, True, None])
def test_returns_are_within_a_year(metrics: Metrics, within: Any) -> None:
    with pytest.raises(ContractError, match="1 to 366"):
        metrics.visits("returning", within=within)


@pytest.mark.parametrize(
    ("last", "returns"), [(None, False), (100, False), (99, True), (98, True), (97, False), (101, False)]
)
def test_a_return_is_after_another_day_and_not_too_late(last: int | None, returns: bool) -> None:
    assert counts_as_return(last, 100, 2) is returns


def test_days_are_utc_days() -> None:
    assert day_of(0) == day_of(DAY_US - 1) == 0
    assert day_of(DAY_US) == 1
    assert day_of(-1) == -1, "before 1970, on a machine whose clock is wrong"
    assert until_midnight_s(DAY_US - 1_500_000) == 1.5
    assert labels_of("") == {}


def test_visitors_that_wait_are_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Visitors, "WAITING_MAX", 10)
    monkeypatch.setattr(Visitors, "SEEN_MAX", 5)
    visitors = Visitors()
    for number in range(30):
        visitors.add(number, 7)
    assert visitors.dropped == 20
    taken = visitors.take(4)
    visitors.untake(*taken)
    assert taken[0] == 7
    assert sum(len(visitors.take(4)[1]) for _ in range(5)) == 10
