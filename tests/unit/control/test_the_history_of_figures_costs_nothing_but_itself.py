"""The store of figures: what is kept how long and how finely, and what becomes of full disks and damaged files."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.control.figures import shelf, store
from tenfold.control.figures.model import Figures, Machine, NodeFigures, Traffic
from tenfold.control.figures.shelf import EVERY_S, KEPT_S, LATER_S, RECENT_S
from tenfold.control.figures.store import FigureStore
from tenfold.control.figures.tiers import merged, rows_of
from tenfold.core.clock import ManualClock

START = 1_700_000_040  # a whole minute


def node(name: str = "web-1", role: str = "web", **values: Any) -> NodeFigures:
    return NodeFigures(name, role, **{"cpu": 0.5, **values})


def figures(
    at_s: float = START, rate: float = 10.0, *nodes: NodeFigures, window_s: float = 1.0, **more: Any
) -> Figures:
    public = Traffic(rate, 0.0, 2.0, 9.0)
    made = Figures(round(at_s * 1e6), window_s, Machine(cores=2, cpu=1.0), nodes or (node(),), public)
    return msgspec.structs.replace(made, **more)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "figures.db"


class Kept(FigureStore):
    """A store for which it is always just after what was added last."""

    def __init__(self, path: Path, *, writes: bool = True, at_s: int = START) -> None:
        self.now = ManualClock(at_s * 1_000_000)
        super().__init__(path, writes=writes, clock=self.now)

    def add(self, figures: Figures) -> None:
        self.now.step_wall((figures.at_us - self.now.wall_us()) / 1e6)
        super().add(figures)


@pytest.fixture
def kept(path: Path) -> Iterator[FigureStore]:
    made = Kept(path)
    yield made
    made.close()


def rates(kept: FigureStore, hours: float = 6.0) -> list[float | None]:
    return kept.series("web", hours)["series"].get("rate", [])


# Rows


def test_a_tier_has_rate_errors_duration_and_saturation() -> None:
    nodes = (
        node(cpu=0.5, memory=10, in_flight=3, held=1, loop_late_ms=2.0, cache_lookups=30.0, cache_hits=1.0),
        node("web-2", cpu=0.25, memory=20, in_flight=4, queue=2, loop_late_ms=7.0, cache_lookups=10.0, cache_hits=0.2),
    )
    web = rows_of(figures(START, 10.0, *nodes))["web"]
    expected = {"rate": 10.0, "errors": 0.0, "p50_ms": 2.0, "p99_ms": 9.0, "cpu": 0.75, "cpu_max": 2.0, "memory": 30.0,
                "in_flight": 7.0, "held": 1.0, "queue": 2.0, "loop_late_ms": 7.0, "cache_hits": 0.8}  # fmt: skip
    assert {name: web[name] for name in expected} == expected


def test_the_database_is_a_tier_also_while_it_is_a_file() -> None:
    reads, writes, queries = Traffic(100.0, 1.0, 0.1, 0.5), Traffic(10.0, 2.0, 3.0, 8.0), Traffic(110.0, 3.0, 0.2, 7.0)
    row = rows_of(figures(reads=reads, writes=writes, queries=queries))["database"]
    expected = {"rate": 110.0, "errors": 3.0, "p99_ms": 7.0, "read_rate": 100.0, "read_p50_ms": 0.1,
                "write_rate": 10.0, "write_p99_ms": 8.0, "held": 0.0}  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert "cpu" not in row
    server = node("db-1", "database", cpu=0.3, memory=7)
    row = rows_of(figures(START, 1.0, node(held=4, pool=8), server))["database"]
    assert (row["cpu"], row["memory"], row["held"], row["pool"]) == (0.3, 7.0, 4.0, 8.0)


def test_percentiles_of_several_nodes_are_not_added_up() -> None:
    flow = Traffic(5.0, 1.0, 2.0, 9.0)
    one, two = (node(name, "balancer", answers=flow) for name in ("balancer-1", "balancer-2"))
    assert rows_of(figures(START, 1.0, one))["balancer"]["p99_ms"] == 9.0
    row = rows_of(figures(START, 1.0, one, two))["balancer"]
    assert (row["rate"], row["errors"], "p99_ms" in row) == (10.0, 2.0, False)


def test_jobs_are_the_rate_of_workers() -> None:
    worker = node("worker-1", "worker", jobs=Traffic(3.0, 1.0), queue=12)
    row = rows_of(figures(START, 1.0, worker))["worker"]
    assert (row["rate"], row["errors"], row["queue"]) == (3.0, 1.0, 12.0)


def test_the_machine_is_a_tier() -> None:
    machine = Machine(cores=2, cpu=1.5, memory=100, memory_free=40, disk=50, disk_free=20, disk_busy=None)
    row = rows_of(figures(machine=machine))["machine"]
    assert row == {"cpu": 1.5, "cpu_max": 2.0, "memory": 60.0, "memory_max": 100.0, "disk": 30.0, "disk_max": 50.0,
                   "disk_busy": None}  # fmt: skip


def test_means_are_by_time_and_the_worst_is_kept() -> None:
    rows = [(1.0, {"rate": 10.0, "p99_ms": 5.0, "cpu": None}), (3.0, {"rate": 2.0, "p99_ms": 90.0, "cpu": 0.5})]
    assert merged(rows) == {"rate": 4.0, "p99_ms": 90.0, "cpu": 0.5}
    assert merged([(1.0, {"cpu": None}), (0.0, {"rate": 3.0})]) == {"cpu": None, "rate": 3.0}


@given(st.lists(st.tuples(st.floats(0.1, 10.0), st.floats(0, 1000)), min_size=1, max_size=20))
def test_a_mean_lies_between_what_it_is_made_of(values: list[tuple[float, float]]) -> None:
    mean = merged([(weight, {"rate": value, "queue": value}) for weight, value in values])
    found = [value for _weight, value in values]
    assert mean["queue"] == max(found)
    assert min(found) - 1e-6 <= (mean["rate"] or 0.0) <= max(found) + 1e-6


# The store


def test_what_was_added_is_in_the_plots_at_once_and_after_a_new_start(path: Path, kept: FigureStore) -> None:
    kept.add(figures(START, 10.0))
    kept.add(figures(START + 1, 20.0))
    expected = {"at_us": [START * 1_000_000], "rate": [15.0], "nodes": {"web-1": [0.5]}}

    def shown(one: FigureStore) -> dict[str, Any]:
        found = one.series("web", 1)
        return {"at_us": found["at_us"], "rate": found["series"]["rate"], "nodes": found["nodes"]}

    assert shown(kept) == expected
    kept.close()
    again = Kept(path)
    assert shown(again) == expected
    assert again.problem == ""
    again.close()


def test_every_name_has_a_value_or_none_at_every_time(kept: FigureStore) -> None:
    kept.add(figures(START, 10.0))
    kept.add(figures(START + 5, 10.0, node("web-2", cpu=None)))
    kept.add(figures(START + 10, 10.0, node("web-1"), node("web-2")))
    found = kept.series("web", 1)
    assert len(found["at_us"]) == 3
    assert all(len(values) == 3 for values in found["series"].values())
    assert found["nodes"] == {"web-1": [0.5, None, 0.5], "web-2": [None, None, 0.5]}


def test_a_tier_that_nobody_knows_has_no_plots(kept: FigureStore) -> None:
    kept.add(figures())
    assert kept.series("cache", 1) == {"at_us": [], "series": {}, "nodes": {}}


def test_five_digits_are_kept(kept: FigureStore) -> None:
    kept.add(figures(START, 1234.5678, node(cpu=0.123456789, memory=123_456_789)))
    found = kept.series("web", 1)
    assert found["series"]["rate"] == [1234.6]
    assert found["series"]["memory"] == [123_460_000.0]
    assert found["nodes"] == {"web-1": [0.12346]}


def test_figures_over_no_time_are_not_kept(kept: FigureStore) -> None:
    kept.add(figures(window_s=0.0))
    assert rates(kept) == []


def test_a_line_is_broken_off_where_nothing_is_known(kept: FigureStore) -> None:
    for second in (0, 5, 10, 60, 65):
        kept.add(figures(START + second, 10.0, window_s=5.0))
    assert rates(kept) == [10.0, 10.0, 10.0, None, 10.0, 10.0]


def test_after_an_hour_a_minute_is_one_row(kept: FigureStore) -> None:
    for second in range(0, 4200, EVERY_S):
        kept.add(figures(START + second, float(second < 60), window_s=5.0))
    found = kept.series("web", 6)
    seconds = [at_us // 1_000_000 - START for at_us in found["at_us"]]
    assert seconds[:12] == [*range(0, 600, LATER_S), 545, 550]  # what is an hour old is in whole minutes
    assert seconds[-5:] == [4175, 4180, 4185, 4190, 4195]
    assert found["series"]["rate"][:2] == [1.0, 0.0]


def test_after_six_hours_figures_are_gone(path: Path, kept: FigureStore) -> None:
    for second in range(0, KEPT_S + 3600, 300):
        kept.add(figures(START + second, window_s=5.0))
    kept.close()
    oldest = sqlite3.connect(path).execute("SELECT min(at_s), (SELECT count(*) FROM whole) FROM point").fetchone()
    assert oldest == (START + 3300, RECENT_S // 300 + 1)


def test_hours_say_how_far_back(kept: FigureStore) -> None:
    for second in range(0, 7200, 600):
        kept.add(figures(START + second, window_s=600.0))
    assert [len(rates(kept, hours)) for hours in (0.5, 99, -1)] == [4, 12, 1]


def test_what_a_clock_that_was_set_back_left_ahead_is_dropped(kept: FigureStore) -> None:
    kept.add(figures(START + 3600, 1.0))
    kept.add(figures(START + 3605, 2.0))
    kept.add(figures(START, 3.0))
    kept.add(figures(START + 5, 4.0))
    kept.add(figures(START + 10, 5.0))
    assert rates(kept) == [3.0, 4.0, 5.0]


def test_a_slot_that_comes_again_is_joined_with_what_is_there(path: Path, kept: FigureStore) -> None:
    kept.add(figures(START, 10.0))
    kept.close()
    again = Kept(path)
    again.add(figures(START + 2, 30.0))
    again.close()
    last = Kept(path)
    assert rates(last) == [20.0]
    last.close()


def test_whole_figures_of_the_last_minutes_are_there_for_who_reasons(path: Path, kept: FigureStore) -> None:
    these = [figures(START + second, float(second)) for second in range(0, 900, EVERY_S)]
    for each in these:
        kept.add(each)
    assert kept.recent(600) == these[-121:]
    assert kept.recent(20) == these[-5:]
    reader = Kept(path, writes=False, at_s=START + 895)
    assert reader.recent(20) == these[-5:-1]  # the last one waits for its slot to end
    reader.close()


def test_what_was_long_ago_is_not_taken_for_the_last_minutes(path: Path, kept: Kept) -> None:
    kept.add(figures())
    kept.add(figures(START + 5))
    kept.now.advance(RECENT_S)
    assert kept.recent(RECENT_S - 60) == []
    kept.now.advance(3600)
    assert rates(kept, 1) == []
    assert rates(kept, 6) == [10.0, 10.0]


def test_a_reader_makes_no_file_and_changes_none(path: Path) -> None:
    reader = Kept(path, writes=False)
    assert reader.recent(600) == []
    assert reader.series("web")["at_us"] == []
    reader.add(figures())
    reader.add(figures(START + 5))
    reader.close()
    assert not path.exists()
    path.write_bytes(b"damaged" * 1000)
    reader = Kept(path, writes=False)
    assert reader.problem
    reader.close()
    assert path.read_bytes() == b"damaged" * 1000


def test_the_file_is_ours_only(path: Path, kept: FigureStore) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_from_any_thread(kept: FigureStore) -> None:
    work = threading.Thread(target=lambda: [kept.add(figures(START + second)) for second in range(20)])
    work.start()
    work.join()
    assert len(rates(kept)) == 4


# What goes wrong


@pytest.mark.parametrize("content", [b"damaged" * 1000, b"SQLite format 3\0" + b"x" * 5000])
def test_a_file_that_is_no_database_is_replaced_and_that_is_said(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    kept = Kept(path)
    assert "damaged" in kept.problem
    kept.add(figures(START, 10.0))
    kept.close()
    again = Kept(path)
    assert rates(again) == [10.0]
    assert again.problem == ""
    again.close()


def test_a_file_that_is_damaged_in_the_midst_is_replaced(path: Path, kept: FigureStore) -> None:
    for second in range(0, 3000, EVERY_S):
        kept.add(figures(START + second))
    size = path.stat().st_size
    with path.open("r+b") as file:
        for page in range(1, size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    kept.close()
    again = Kept(path)
    found = rates(again)
    assert "damaged" in again.problem
    assert found == []
    again.add(figures(START + 3000, 1.0))
    again.add(figures(START + 3005, 2.0))
    assert rates(again) == [1.0, 2.0]
    again.close()


def test_a_row_that_cannot_be_read_counts_as_damage(path: Path, kept: FigureStore) -> None:
    kept.add(figures())
    kept.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE point SET point = x'c1'")
    db.close()
    again = Kept(path)
    assert rates(again) == []
    assert "damaged" in again.problem
    again.close()


def test_a_file_of_another_version_is_replaced_without_a_word(path: Path, kept: FigureStore) -> None:
    kept.add(figures())
    kept.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    reader = Kept(path, writes=False)
    assert reader.recent(600) == []
    reader.close()
    again = Kept(path)
    assert rates(again) == []
    assert again.problem == ""
    again.close()


def test_a_full_disk_costs_what_does_not_fit_and_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "MOST_BYTES", 12 * 4096)
    kept = Kept(path)
    nodes = [node(f"web-{number}") for number in range(1, 60)]
    for second in range(0, 300, EVERY_S):
        kept.add(figures(START + second, 10.0, *nodes))
    assert "full" in kept.problem
    assert rates(kept)[0] == 10.0
    assert path.stat().st_size <= 12 * 4096
    for second in range(KEPT_S * 2, KEPT_S * 2 + 15, EVERY_S):  # what was there is too old now: there is room again
        kept.add(figures(START + second, 20.0))
    assert kept.problem == ""
    assert rates(kept) == [20.0, 20.0, 20.0]
    kept.close()


def test_a_folder_that_is_not_there_yet_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "later" / "figures.db"
    kept = Kept(path)
    kept.add(figures(START, 10.0))
    assert "unable" in kept.problem or "No such file" in kept.problem
    assert rates(kept) == [10.0]
    path.parent.mkdir()
    kept.add(figures(START + 5, 20.0))
    kept.add(figures(START + 10, 30.0))
    assert kept.problem == ""
    kept.close()
    assert path.exists()


def test_who_locks_the_file_delays_nobody_for_long(path: Path, kept: FigureStore) -> None:
    kept.add(figures(START, 10.0))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    kept.add(figures(START + 5, 20.0))
    assert "locked" in kept.problem
    other.execute("ROLLBACK")
    other.close()
    kept.add(figures(START + 10, 30.0))
    assert kept.problem == ""
    assert rates(kept) == [20.0, 30.0]


def test_a_slot_has_bounds(kept: FigureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_LOOKS", 3)
    monkeypatch.setattr(store, "MOST_NODES", 2)
    nodes = [node(f"web-{number}") for number in range(1, 9)]
    for number in range(9):
        kept.add(figures(START + number / 10, float(number), *nodes))
    found = kept.series("web")
    assert found["series"]["rate"] == [1.0]
    assert list(found["nodes"]) == ["web-1", "web-2"]
