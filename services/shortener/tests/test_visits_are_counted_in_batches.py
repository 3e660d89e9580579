"""What is kept of visits, how batches of them become figures, and how the plot is laid out."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener.links.table import Link
from shortener.visits.allowance import take_visit
from shortener.visits.counting import REFERRERS, bounded, tallies
from shortener.visits.figures import figures_of
from shortener.visits.kinds import DEVICES, device_of, referrer_of
from shortener.visits.plot import HEIGHT, LEFT, WIDTH, plot, step_of
from shortener.visits.table import VALUE
from tenfold import Event

MOMENT = datetime(2026, 5, 1, 23, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "host"),
    [
        (None, ""),
        ("", ""),
        ("https://www.Example.com/search?q=secret", "example.com"),
        ("http://news.example.org:8080", "news.example.org"),
        ("android-app://com.example", "other"),
        ("https://user:password@example.com/", "other"),
        ("nonsense\r\n", "other"),
        ("https://" + "a" * 101 + "/", "other"),
        ("https://" + "a" * 5_000, "other"),
    ],
)
def test_of_a_referrer_only_the_host_is_kept(header: str | None, host: str):
    assert referrer_of(header) == host


@pytest.mark.parametrize(
    ("agent", "kind"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/120", "computer"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14) Safari", "computer"),
        ("Mozilla/5.0 (X11; Linux x86_64) Firefox", "computer"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17) Mobile Safari", "phone"),
        ("Mozilla/5.0 (Linux; Android 14; Pixel 8) Mobile Safari", "phone"),
        ("Mozilla/5.0 (Linux; Android 14; SM-X910) Safari", "tablet"),
        ("Mozilla/5.0 (iPad; CPU OS 17) Safari", "tablet"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1)", "program"),
        ("curl/8.5.0", "program"),
        (None, "other"),
        ("", "other"),
        ("x" * 10_000, "other"),
    ],
)
def test_of_an_agent_only_the_kind_of_device_is_kept(agent: str | None, kind: str):
    assert device_of(agent) == kind


@given(st.text(), st.text())
def test_any_header_gives_something_short(referrer: str, agent: str):
    assert len(referrer_of(referrer)) <= VALUE
    assert device_of(agent) in DEVICES


def visit(code: str, at: datetime, host: str = "", device: str = "phone") -> Event:
    return Event(1, "link.visited", at, {"code": code, "from": host, "with": device})


def test_a_batch_becomes_one_tally_for_each_link_by_day_host_and_device():
    later = MOMENT + timedelta(minutes=1)
    found = tallies([visit("a", MOMENT, "x.org"), visit("a", MOMENT), visit("a", later), visit("b", MOMENT)])
    assert found["a"] == {
        ("2026-05-01", "all", ""): 2,
        ("2026-05-01", "from", "x.org"): 1,
        ("2026-05-01", "from", ""): 1,
        ("2026-05-01", "with", "phone"): 2,
        ("2026-05-02", "all", ""): 1,
        ("2026-05-02", "from", ""): 1,
        ("2026-05-02", "with", "phone"): 1,
    }
    assert found["b"]["2026-05-01", "all", ""] == 1


def test_a_day_names_so_many_hosts_and_no_visit_is_lost_with_the_others():
    counts = [("2026-05-01", "from", f"h{number}.org", 2) for number in range(REFERRERS + 50)]
    kept = bounded(counts, {})
    assert len(kept) == REFERRERS + 1
    assert kept["2026-05-01", "from", "other"] == 100
    assert sum(kept.values()) == 2 * (REFERRERS + 50)
    again = bounded(counts, kept)
    assert len(again) == REFERRERS + 1
    assert sum(again.values()) == 2 * (REFERRERS + 50)


def test_figures_name_every_day_of_the_span_and_rank_the_rest():
    rows = [
        SimpleNamespace(day="2026-05-01", kind="all", value="", count=3),
        SimpleNamespace(day="2026-05-03", kind="all", value="", count=1),
        SimpleNamespace(day="2026-05-01", kind="from", value="b.org", count=1),
        SimpleNamespace(day="2026-05-03", kind="from", value="a.org", count=1),
        SimpleNamespace(day="2026-05-03", kind="from", value="c.org", count=2),
        SimpleNamespace(day="2026-05-03", kind="with", value="phone", count=4),
    ]
    figures = figures_of(rows, date(2026, 5, 1), 3, 9, MOMENT)
    assert [count for _, count in figures.days] == [3, 0, 1]
    assert figures.in_span == 4
    assert figures.total == 9
    assert figures.referrers == (("c.org", 2), ("a.org", 1), ("b.org", 1))
    assert figures.devices == (("phone", 4),)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=400))
def test_the_plot_stays_in_its_frame_and_is_in_proportion(counts: list[int]):
    drawn = plot(counts)
    assert len(drawn.bars) == len(counts)
    assert 2 <= len(drawn.lines) <= 6
    assert drawn.lines[-1][1] >= max(counts)
    for bar in drawn.bars:
        assert bar.x >= LEFT
        assert bar.x + bar.width <= WIDTH
        assert 0 <= bar.y <= HEIGHT
        assert bar.y + bar.height == pytest.approx(drawn.floor, abs=0.02)
    assert drawn.bars[-1].named


@pytest.mark.parametrize(("highest", "step"), [(0, 1), (1, 1), (4, 1), (5, 2), (8, 2), (9, 5), (21, 10), (144, 50)])
def test_the_lines_of_the_plot_stand_at_round_numbers(highest: int, step: int):
    assert step_of(highest) == step


def limited(visits: int, most: int) -> Link:
    return Link("limited", "https://example.com/", MOMENT, None, max_visits=most, visits=visits)


def test_a_process_gives_no_visit_more_than_it_knows_to_be_left():
    link = limited(0, 3)
    assert Counter(take_visit(link) for _ in range(10)) == {True: 3, False: 7}
    loaded_anew = limited(2, 3)
    assert [take_visit(loaded_anew) for _ in range(3)] == [True, False, False]
