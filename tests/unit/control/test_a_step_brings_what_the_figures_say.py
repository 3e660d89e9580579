"""What the next step would bring here: by the figures, also when they say that it is nothing."""

from __future__ import annotations

from typing import Any

import pytest
from advice_lab import STEP_1, STEP_2, STEP_3, every_second, traffic

from tenfold.control.advice.brings import ASK_MS, brings
from tenfold.control.advice.phrases import say
from tenfold.topology.map import Map
from tenfold.topology.steps import STEPS, find_step

DATABASE, BALANCER = find_step("separate-database"), find_step("load-balancer")


def told(step: Any, current: Map, *, data_bytes: int = 0, seconds: int = 30, **figures: Any) -> dict[str, str]:
    """The sentences in English, by their keys, in their order."""
    found = brings(step, current, every_second(current, seconds, **figures), data_bytes=data_bytes)
    return {words.key.removeprefix("advice.brings."): say(words) for words in found}


def test_a_database_server_that_frees_nothing_says_so_first() -> None:
    said = told(DATABASE, STEP_1, reads=traffic(900.0, 0.004), writes=traffic(40.0, 1.5), data_bytes=3_400_000)
    assert list(said) == ["data.nothing", "data.leaves", "data.price", "data.keeps_up", "data.size"]
    assert "step 3" not in said["data.leaves"]
    assert "900 reads/s and 40 transactions/s" in said["data.leaves"]
    assert "0 % of its time now; asking a server instead would take about 3 %" in said["data.leaves"]
    assert "0.05 ms longer on one machine (0.01 ms now)" in said["data.price"]
    assert "within 1.5 ms" in said["data.keeps_up"]
    assert said["data.size"] == "3.4 MB of data would move."


def test_what_is_less_than_a_hundredth_is_called_so() -> None:
    said = told(DATABASE, STEP_1, reads=traffic(60.0, 0.05), writes=traffic(40.0, 1.5))
    assert "less than 1 % of its time" in said["data.leaves_little"]
    assert "data.leaves" not in said


def test_a_database_server_takes_reading_off_the_web_process() -> None:
    said = told(DATABASE, STEP_1, reads=traffic(300.0, 2.0), cpu={"web": 0.8})
    assert list(said) == ["data.frees", "data.leaves", "data.price"]
    assert "about 59 %" in said["data.frees"], "300 reads of 2 ms, less what asking for them costs"


@pytest.mark.parametrize(("took", "frees"), [(0.12 + ASK_MS, True), (0.08 + ASK_MS, False)])
def test_a_tenth_of_a_core_is_worth_being_freed(took: float, frees: bool) -> None:
    assert ("data.frees" in told(DATABASE, STEP_1, reads=traffic(1000.0, took))) is frees


def test_a_server_has_many_writers() -> None:
    waits = told(DATABASE, STEP_1, writes=traffic(200.0, 70.0))
    assert "data.waits" in waits
    assert "data.nothing" not in waits


@pytest.mark.parametrize("full", [{"machine": {"disk_busy": 0.95}}, {"machine": {"cpu": 7.5}}, {"cpu": {"web": 0.97}}])
def test_a_full_disk_or_core_stays_full(full: dict[str, Any]) -> None:
    said = told(DATABASE, STEP_1, writes=traffic(200.0, 70.0), **full)
    assert next(iter(said)) == "data.nothing"
    assert "not SQLite's one writer" in said["data.elsewhere"]
    assert not {"data.waits", "data.keeps_up"} & set(said)


def test_who_hardly_asks_the_database_is_told_so() -> None:
    assert list(told(DATABASE, STEP_1, reads=traffic(0.4, 0.1))) == ["data.idle"]


def test_a_balancer_before_a_calm_server_brings_nothing_but_safety() -> None:
    said = told(BALANCER, STEP_2, cpu={"web": 0.3, "database": 0.15}, rate=300.0)
    assert list(said) == ["web.nothing", "web.core", "web.servers", "web.carries", "web.dies", "web.price"]
    assert "web-1 uses 30 % of the one core that it can use, at 300 requests/s." in said["web.core"]
    # 7.5 idle cores, of which each web server's core takes half a core of the database along: 5.3 are for web servers
    assert "carries about 8 web servers" in said["web.servers"]
    assert said["web.carries"] == "One web server is full at about 850 requests/s, 8 of them at about 4,505."


def test_a_full_server_beside_idle_cores_needs_it() -> None:
    said = told(BALANCER, STEP_2, cpu={"web": 0.95}, rate=900.0)
    assert next(iter(said)) == "web.needed"
    assert "web-1 is full" in said["web.needed"]


def test_on_a_machine_without_idle_cores_it_brings_nothing() -> None:
    said = told(BALANCER, STEP_2, cpu={"web": 0.95}, rate=900.0, machine={"cores": 2, "cpu": 1.9})
    assert next(iter(said)) == "web.no_room"
    assert "too little for another web server" in said["web.no_room"]
    assert not {"web.needed", "web.servers", "web.carries"} & set(said)
    assert "web.dies" in said, "that one may die needs no core"


def test_a_capped_server_is_told_by_its_cap_and_others_have_their_own() -> None:
    capped: dict[str, Any] = {
        "of_nodes": {"web": {"cpu_max": 0.1}},
        "cpu": {"web": 0.099},
        "machine": {"cores": 2, "cpu": 1.9},
    }
    said = told(BALANCER, STEP_2, rate=90.0, **capped)
    assert "99 % of the 0.1 cores" in said["web.cap"]
    assert "web.needed" in said


def test_from_the_first_step_on_it_names_the_price_of_the_database_that_comes_along() -> None:
    assert "advice.database.price" in told(BALANCER, STEP_1)
    assert "advice.database.price" not in told(BALANCER, STEP_2)


def test_nothing_is_foretold_from_next_to_nothing() -> None:
    calm = told(BALANCER, STEP_2, cpu={"web": 0.02}, rate=20.0)
    assert "web.servers" in calm
    assert "web.carries" not in calm, "from 2 % of a core nobody can tell"
    assert list(told(BALANCER, STEP_2, rate=0.2)) == ["web.idle", "web.dies"]
    assert list(told(BALANCER, STEP_2, seconds=2)) == ["unknown", "web.dies"]
    assert list(told(DATABASE, STEP_1, seconds=2, data_bytes=1)) == ["unknown", "data.size"]


def test_only_steps_that_can_be_taken_bring_something() -> None:
    assert brings(DATABASE, STEP_2, every_second(STEP_2)) == ()
    assert brings(BALANCER, STEP_3, every_second(STEP_3)) == ()
    for step in STEPS:
        there = step.exists and not step.holds(STEP_1)
        assert bool(brings(step, STEP_1, every_second(STEP_1))) is there, step.slug
