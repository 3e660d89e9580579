"""Every rule of the advice, by a deployment to which it applies and by one to which it only nearly does."""

from __future__ import annotations

from typing import Any

import pytest
from advice_lab import GIB, MACHINE, SERVER, STEP_1, STEP_2, STEP_3, a_map, every_second, traffic

from tenfold.control.advice import RULES, advise
from tenfold.control.advice.model import Advice
from tenfold.control.advice.scene import scene_of
from tenfold.topology.map import Map

CAPPED = {"web": {"cpu_max": 0.1}}
BUSY = {"cpu": 7.0}
SQLITE_TWO = a_map(web=2, balancers=2)
BALANCED = a_map(server=True, web=4, workers=2, balancers=2)

Case = tuple[str, Map, dict[str, Any], dict[str, Any], str, str]

CASES: list[Case] = [
    # rule, map, figures, what differs in the nearby scene, verdict, command
    (
        "disk-space", STEP_1, {"machine": {"disk_free": GIB}}, {"machine": {"disk_free": 3 * GIB}},
        "bigger-machine", "",
    ),
    (
        "memory", STEP_1, {"machine": {"memory_free": GIB}}, {"machine": {"memory_free": 2 * GIB}},
        "bigger-machine", "",
    ),
    (
        "slow-queries", STEP_2, {"cpu": {"database": 7.5}, "reads": traffic(90, 40.0)}, {"reads": traffic(90, 4.0)},
        "stay", "",
    ),
    (
        "database", STEP_2, {"cpu": {"database": 6.9}, "reads": traffic(9000, 0.3)}, {"cpu": {"database": 6.7}},
        "bigger-machine", "",
    ),
    (
        "machine", STEP_3, {"machine": BUSY, "cpu": {"web": 0.9, "database": 4.0}}, {"machine": {"cpu": 6.7}},
        "bigger-machine", "",
    ),
    (
        "disk-time", STEP_2, {"machine": {"disk_busy": 0.9}, "writes": traffic(90, 30.0)},
        {"writes": traffic(90, 15.0)}, "bigger-machine", "",
    ),
    (
        "one-writer", SQLITE_TWO, {"writes": traffic(90, 80.0)}, {"writes": traffic(90, 40.0)},
        "step", "tenfold climb 2",
    ),
    (
        "reads-in-web", STEP_1, {"cpu": {"web": 0.95}, "reads": traffic(200, 3.0)}, {"reads": traffic(200, 2.0)},
        "step", "tenfold climb 2",
    ),
    (
        "jobs-in-web", STEP_1, {"cpu": {"web": 0.95}, "of_nodes": {"web": {"jobs": traffic(150)}}},
        {"of_nodes": {"web": {"jobs": traffic(90)}}}, "scale", "tenfold scale worker=1",
    ),
    ("one-web", STEP_1, {"cpu": {"web": 0.86}}, {"cpu": {"web": 0.84}}, "step", "tenfold climb 3"),
    (
        "uneven-web", STEP_3, {"cpu": {"web-1": 0.99, "web-2": 0.5}}, {"cpu": {"web-1": 0.99, "web-2": 0.6}},
        "stay", "",
    ),
    ("many-web", STEP_3, {"cpu": {"web": 0.95}}, {"cpu": {"web": 0.8}}, "scale", "tenfold scale web=3"),
    ("workers", BALANCED, {"cpu": {"worker": 0.95}}, {"cpu": {"worker": 0.8}}, "scale", "tenfold scale worker=3"),
    (
        "waiting-jobs", BALANCED, {"of_nodes": {"worker": {"queue": 4000, "jobs": traffic(10)}}},
        {"of_nodes": {"worker": {"queue": 500, "jobs": traffic(10)}}}, "scale", "tenfold scale worker=4",
    ),
    (
        "other-tier", STEP_3, {"cpu": {"balancer": 0.09}, "of_nodes": {"balancer": {"cpu_max": 0.1}}},
        {"of_nodes": {"balancer": {"cpu_max": 0.2}}}, "bigger-machine", "",
    ),
    ("errors", STEP_3, {"public": traffic(100, 4.0, 20.0, 2.0)}, {"public": traffic(100, 4.0, 20.0, 0.5)}, "stay", ""),
    (
        "connections", STEP_3, {"of_nodes": {"web": {"pool": 8, "pool_busy": 7}}},
        {"of_nodes": {"web": {"pool": 8, "pool_busy": 6}}}, "stay", "",
    ),
    (
        "blocked-loop", STEP_1, {"of_nodes": {"web": {"loop_late_ms": 150.0}}},
        {"of_nodes": {"web": {"loop_late_ms": 90.0}}}, "stay", "",
    ),
    ("slow", STEP_1, {"public": traffic(100, 4.0, 1500.0)}, {"public": traffic(100, 4.0, 900.0)}, "stay", ""),
    ("hardly-used", STEP_1, {"rate": 0.5}, {"rate": 1.5}, "stay", ""),
    ("room", STEP_1, {"rate": 300.0}, {"rate": 0.1}, "stay", ""),
]  # fmt: skip


def rule_for(current: Map, figures: dict[str, Any]) -> str:
    scene = scene_of(current, every_second(current, **figures))
    return next(rule.name for rule in RULES if rule.look(scene) is not None)


def told(current: Map, seconds: int = 30, **figures: Any) -> Advice:
    return advise(current, every_second(current, seconds, **figures))


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_a_rule_applies_to_its_figures_and_not_to_those_nearby(case: Case) -> None:
    rule, current, figures, nearby, verdict, command = case
    assert rule_for(current, figures) == rule
    assert rule_for(current, figures | nearby) != rule
    advice = told(current, **figures)
    assert (advice.verdict, advice.command) == (verdict, command)


def test_every_rule_has_a_case_here() -> None:
    assert [case[0] for case in CASES] == [rule.name for rule in RULES]


# What saturates decides, whatever else is busy


def test_more_web_servers_are_not_advised_for_a_database_that_is_full() -> None:
    advice = told(STEP_3, cpu={"web": 0.99, "database": 7.0}, reads=traffic(9000, 0.3))
    assert (advice.verdict, advice.tier) == ("bigger-machine", "database")


def test_no_process_is_added_to_a_machine_whose_cores_all_work() -> None:
    advice = told(STEP_3, cpu={"web": 0.99, "database": 5.0}, machine={"cpu": 7.5})
    assert (advice.verdict, advice.tier) == ("bigger-machine", "machine")


def test_a_full_process_without_an_idle_core_needs_a_bigger_machine() -> None:
    advice = told(STEP_1, cpu={"web": 0.99}, machine={"cores": 2, "cpu": 1.6})
    assert (advice.verdict, advice.tier) == ("bigger-machine", "web")
    assert "web-1 is full" in advice.sentence
    assert any("step 3" in reason for reason in advice.because), "cores alone do not help one process"


def test_a_process_that_fills_its_cap_is_not_short_of_the_machines_cores() -> None:
    advice = told(STEP_1, cpu={"web": 0.1}, of_nodes=CAPPED, machine={"cores": 2, "cpu": 1.99})
    assert (advice.verdict, advice.step) == ("step", 3)
    scaled = told(STEP_3, cpu={"web": 0.1}, of_nodes=CAPPED, machine={"cores": 2, "cpu": 1.99})
    assert scaled.command == "tenfold scale web=4"


def test_other_programs_that_fill_the_machine_are_told_and_change_nothing_while_the_service_is_well() -> None:
    calm = told(STEP_1, machine={"cpu": 7.9})
    assert calm.verdict == "stay"
    assert "other programs" in calm.sentence
    suffering = told(STEP_1, machine={"cpu": 7.9}, public=traffic(100, 40.0, 1500.0))
    assert suffering.verdict == "bigger-machine"


def test_the_load_that_was_asked_for_is_no_part_of_the_service() -> None:
    windows = every_second(STEP_1, cpu={"web": 0.2}, machine={"cpu": 7.9})
    with_load = scene_of(STEP_1, windows)
    assert with_load.others > with_load.ours


# What exists is advised, what does not is only named


@pytest.mark.parametrize(("reads", "writes", "named"), [(900.0, 100.0, "Step 4"), (500.0, 500.0, "Step 11")])
def test_a_step_that_does_not_exist_is_named_and_not_advised(reads: float, writes: float, named: str) -> None:
    advice = told(STEP_3, cpu={"database": 7.5}, reads=traffic(reads, 0.3), writes=traffic(writes, 3.0))
    assert (advice.verdict, advice.step, advice.command) == ("bigger-machine", 0, "")
    assert any(reason.startswith(named) for reason in advice.because)


def test_a_step_is_advised_as_soon_as_it_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace  # noqa: PLC0415

    from tenfold.topology import steps  # noqa: PLC0415

    later = tuple(replace(step, exists=True) if step.number == 4 else step for step in steps.STEPS)
    monkeypatch.setattr(steps, "STEPS", later)
    advice = told(STEP_3, cpu={"database": 7.5}, reads=traffic(900, 0.3))
    assert (advice.verdict, advice.step, advice.command) == ("step", 4, "tenfold climb 4")


def test_a_climb_from_the_file_says_what_the_server_costs() -> None:
    from_file, from_server = told(STEP_1, cpu={"web": 0.95}), told(STEP_2, cpu={"web": 0.95})
    assert (from_file.step, from_server.step) == (3, 3)
    assert any("round trip" in reason for reason in from_file.because)
    assert not any("round trip" in reason for reason in from_server.because)


# How many


@pytest.mark.parametrize(
    ("there", "share", "idle", "wanted"),
    [
        (2, 0.90, 6.0, 3),  # ceil(2 * 0.90 / 0.65)
        (4, 1.00, 6.0, 7),  # ceil(4 * 1.00 / 0.65)
        (4, 1.00, 1.5, 6),  # as many as find cores
        (20, 1.00, 40.0, 31),
        (64, 1.00, 40.0, None),  # the most there are
    ],
)
def test_so_many_more_as_the_autoscaler_of_kubernetes_would_take(
    there: int, share: float, idle: float, wanted: int | None
) -> None:
    current = a_map(server=True, web=there, balancers=2)
    advice = told(
        current, cpu={"web": share}, machine={"cores": 64, "cpu": 64 - idle} if idle > 10 else {"cpu": 8 - idle}
    )
    assert advice.command == ("" if wanted is None else f"tenfold scale web={wanted}")


def test_a_pool_that_is_too_small_for_them_is_told_first() -> None:
    current = a_map(server=True, web=7, workers=1, balancers=2)
    advice = told(current, cpu={"web": 0.95}, machine={"cores": 32})
    assert advice.command == "tenfold scale web=11"
    assert any("set pool = 24" in reason for reason in advice.because)
    assert SERVER.pool == 16


def test_a_backlog_that_gets_smaller_by_itself_needs_nobody() -> None:
    def waiting(jobs: int, seconds: int, begins: int) -> list[Any]:
        figures = {"worker": {"queue": jobs, "jobs": traffic(10)}}
        return every_second(BALANCED, seconds, of_nodes=figures, begins=begins)

    falling = [*waiting(9000, 60, 0), *waiting(5000, 40, 60)]
    assert advise(BALANCED, falling).verdict == "stay"
    assert advise(BALANCED, [*waiting(5000, 60, 0), *waiting(9000, 40, 60)]).verdict == "scale"


# Slow is not full


def test_a_pool_that_is_full_of_slow_transactions_is_not_to_be_made_larger() -> None:
    full = {"web": {"pool": 8, "pool_busy": 8}}
    assert "pool = 32" in told(STEP_3, of_nodes=full, writes=traffic(50, 4.0)).sentence
    assert "look at the transactions" in told(STEP_3, of_nodes=full, writes=traffic(50, 90.0)).sentence


def test_slow_reads_are_named_where_answers_are_slow_and_nothing_is_full() -> None:
    slow = {"public": traffic(100, 600.0, 1500.0)}
    assert any("index" in reason for reason in told(STEP_2, reads=traffic(50, 300.0), **slow).because)
    assert any("port 8001" in reason for reason in told(STEP_2, reads=traffic(50, 0.4), **slow).because)


def test_errors_are_told_beside_what_is_full() -> None:
    advice = told(STEP_1, cpu={"web": 0.99}, public=traffic(100, 4.0, 20.0, 30.0))
    assert advice.verdict == "step"
    assert "30 % of the requests of the last minute failed." in advice.because


# Staying


def test_a_calm_service_stays_and_hears_what_fills_up_first_and_how_much_more_fits() -> None:
    advice = told(STEP_1, cpu={"web": 0.4}, rate=500.0)
    assert advice.verdict == "stay"
    assert "2.1 times of these 500 requests/s" in advice.sentence
    assert advice.first is not None
    assert (advice.first.tier, advice.first.resource, advice.first.room) == ("web", "cpu", 2.12)
    assert any("step 3" in reason for reason in advice.because)


@pytest.mark.parametrize(("cpu", "words"), [(0.01, "more than 10 times"), (0.4, "About 2.1 times"), (0.75, "for now")])
def test_the_less_room_there_is_the_more_it_is_said(cpu: float, words: str) -> None:
    machine = {"cpu": 0.05} if cpu < 0.1 else {}
    assert words in told(STEP_1, cpu={"web": cpu}, machine=machine).sentence


def test_a_small_service_is_better_off_with_a_backup() -> None:
    assert any("backup" in reason for reason in told(STEP_1, rate=30.0).because)
    assert not any("backup" in reason for reason in told(STEP_1, rate=90.0).because)
    assert not any("backup" in reason for reason in told(STEP_3, rate=30.0).because)


def test_a_service_of_jobs_alone_is_told_of_its_jobs() -> None:
    busy = {"worker": {"jobs": traffic(40)}}
    advice = told(BALANCED, rate=0.0, of_nodes=busy)
    assert "80 jobs/s" in advice.sentence, "both workers do 40"


def test_the_pressures_are_all_there_the_fullest_first() -> None:
    told_of = told(BALANCED, machine={"disk_busy": 0.2}, of_nodes={"web": {"pool": 4, "pool_busy": 1}}).pressures
    assert [pressure.share for pressure in told_of] == sorted((p.share for p in told_of), reverse=True)
    assert {(pressure.tier, pressure.resource) for pressure in told_of} == {
        ("balancer", "cpu"), ("database", "cpu"), ("machine", "cpu"), ("machine", "disk"), ("machine", "disk_time"),
        ("machine", "memory"), ("web", "connections"), ("web", "cpu"), ("web", "errors"), ("web", "loop"),
        ("worker", "cpu"),
    }  # fmt: skip
    assert MACHINE["cores"] == next(p.most for p in told_of if (p.tier, p.resource) == ("machine", "cpu"))
