"""The picture in characters: it fits every width, says health without colour, and folds what is too large."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import AT_US, SERVER, a_map, a_move, a_node, an_engine, facts_of, figures_of, names, on_server, without

from tenfold.control.figures.model import NodeFigures, Traffic
from tenfold.dashboard.picture.drawing import draw
from tenfold.dashboard.picture.model import Arrow, Node, Picture, Tier
from tenfold.dashboard.terminal import lines
from tenfold.dashboard.terminal.numbers import bytes_words, count_words, ms_words, rate_words, traffic_words
from tenfold.dashboard.terminal.pen import FINE, PLAIN, Pen, width_of
from tenfold.topology.map import Map, NodeMap

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def drawn(current: Map, *changed: Any, measured: bool = False, **more: Any) -> Picture:
    figures = figures_of(current, NodeFigures("db-1", "database", 9, cpu=1.0, cpu_max=2.0)) if measured else None
    return draw(current, facts_of(current, *changed, **more), figures, at_us=AT_US)


def shown(picture: Picture, width: int = 80, **more: Any) -> list[str]:
    return lines(picture, width, False, **more)


def test_one_server_is_drawn_with_its_parts() -> None:
    assert shown(drawn(a_map("web-1"))) == [
        "                    users",
        "                      ▼",
        "               ╭──────────────────────────────╮",
        " web server    │ ● web-1                      │",
        "               │ app ┊ cache ┊ SQLite ┊ jobs  │",
        "               ╰──────────────────────────────╯",
    ]


def test_tiers_are_drawn_under_each_other_with_what_flows_between() -> None:
    current = on_server("web-1", "web-2", "balancer-1", "balancer-2", door="balancer")
    assert shown(drawn(current, an_engine(), measured=True)) == [
        "                    users",
        "                      │  200/s   p50 2.0 ms   p99 20 ms   0.5/s fail",
        "                      ▼",
        "               ╭────────────────────╮ ╭────────────────────╮",
        " load balancer │ ● balancer-1       │ │ ● balancer-2       │",
        " HAProxy       │ 100/s  p99 15 ms   │ │ 100/s  p99 15 ms   │",
        "               │ cpu ━━━━╸───── 45% │ │ cpu ━━━━╸───── 45% │",
        "               ╰────────────────────╯ ╰────────────────────╯",
        "                      │  200/s   p50 2.0 ms   p99 20 ms   0.5/s fail",
        "                      ▼",
        "               ╭────────────────────╮ ╭────────────────────╮",
        " web servers   │ ● web-1            │ │ ● web-2            │",
        "               │ 100/s  p99 20 ms   │ │ 100/s  p99 20 ms   │",
        "               │ cpu ━━━━╸───── 45% │ │ cpu ━━━━╸───── 45% │",
        "               ╰────────────────────╯ ╰────────────────────╯",
        "                      │  200/s   p50 1.5 ms   p99 9.0 ms",
        "                      ▼",
        "               ╭────────────────────╮",
        " database      │ ● db-1             │",
        " PostgreSQL    │ cpu ━━━━━───── 50% │",
        "               ╰────────────────────╯",
    ]


def test_workers_stand_beside_where_there_is_room_and_below_where_not() -> None:
    picture = drawn(on_server("web-1", "worker-1"), an_engine())
    beside = next(line for line in shown(picture) if "web-1" in line)
    assert "worker-1" in beside
    assert any("──▶" in line for line in shown(picture))
    below = shown(drawn(on_server(*names(["web"], 4), "worker-1"), an_engine(), measured=True))
    assert not any("web-1" in line and "worker-1" in line for line in below)
    assert any("jobs 30/s" in line for line in below)
    assert any("workers: 10/s" in line for line in below), "who asks the database is told where several do"


@pytest.mark.parametrize(
    ("more", "sign", "says"),
    [
        ({}, "●", ""),
        ({"ready": False, "state": "starting"}, "◐", "starting"),
        ({"draining": True}, "○", "leaving"),
        ({"ready": False, "reason": "The database is away."}, "▲", "not ready"),
        ({"ready": False, "reason": "It does not answer."}, "▲", "silent"),
        ({"ready": False, "state": "failed"}, "✕", "gone"),
    ],
)
def test_health_is_told_by_a_sign_and_a_word(more: Any, sign: str, says: str) -> None:
    found = shown(drawn(on_server("web-1", "web-2"), a_node("web-2", **more)))
    at = next(number for number, line in enumerate(found) if f"{sign} web-2" in line)
    assert says in found[at + 1]


def test_a_node_without_clients_has_a_dashed_box() -> None:
    found = "\n".join(shown(drawn(on_server("web-1", NodeMap("web-2", "web", traffic="off")), an_engine())))
    assert "┊ ● web-2" in found
    assert "┊ no clients" in found
    assert "│ ● web-1" in found


def test_during_a_deploy_the_versions_are_told() -> None:
    current = on_server(NodeMap("web-1", "web", version="v4"), NodeMap("web-2", "web", version="v5"))
    found = "\n".join(shown(drawn(current, an_engine())))
    assert re.search(r"web-1 +v4", found)
    assert re.search(r"web-2 +v5", found)
    same = on_server(NodeMap("web-1", "web", version="v4"), NodeMap("web-2", "web", version="v4"))
    assert "v4" not in "\n".join(shown(drawn(same, an_engine())))


def test_a_held_gate_lies_across_the_arrow() -> None:
    current = on_server("web-1", gate="held")
    found = shown(drawn(current, an_engine()))
    assert "                    ━━╋━━  gate held: writes wait here" in found
    some = Picture("shop", "running", AT_US, tiers=drawn(current, an_engine()).tiers,
                   arrows=(Arrow("web", "database", "queries", gate="held", waiting=12),))  # fmt: skip
    assert any("gate held: 12 writes wait" in line for line in shown(some))
    assert any("WAITS" in line for line in shown(drawn(a_map("web-1", gate="held"))))


def test_both_databases_of_a_move_are_named() -> None:
    found = "\n".join(shown(drawn(a_map("web-1", "worker-1", server=SERVER, standby="postgres"), an_engine())))
    assert re.search(r"db-1 +PostgreSQL", found)
    assert re.search(r"shop.db +SQLite", found)
    assert "copies" in "\n".join(shown(drawn(a_map("web-1", server=SERVER, standby="postgres"), an_engine())))


def test_five_hundred_nodes_fold_into_signs_and_those_that_are_not_well_are_named() -> None:
    current = on_server(*names(["web"], 500), "balancer-1", door="balancer")
    told = without(facts_of(current, an_engine(), *(a_node(f"web-{n}", ready=False) for n in range(20, 31))), "web-7")
    found = shown(draw(current, told, figures_of(current), at_us=AT_US))
    text = "\n".join(found)
    assert len(found) < 40
    assert max(map(width_of, found)) <= 80
    assert (text.count("●"), text.count("▲"), text.count("✕")) == (488 + 2, 11, 1), "and a balancer and a database"
    assert "gone: web-7" in text
    assert "web-26, web-27, 3 more" in text
    assert "web-1 to web-500, 488 well, 50,000/s, cpu 45%, at most 45%" in text


def test_what_does_not_even_fit_as_signs_is_counted() -> None:
    nodes = tuple(Node(f"web-{number}", "web", "well") for number in range(2000))
    found = shown(Picture("shop", "running", AT_US, tiers=(Tier("users"), Tier("web", nodes))))
    assert len(found) < 20
    assert any("and 1500 more" in line for line in found)


def test_a_move_is_drawn_with_its_stages_and_how_far_it_is() -> None:
    progress = {"doing": "Copies links", "done": 10, "total": 40, "unit": "rows", "rate": 5.0, "left_s": 6.0}
    found = shown(drawn(a_map("web-1"), move=a_move(progress=progress)))
    assert found[-6:] == [
        "",
        "  ▶ Move the data from SQLite to PostgreSQL while the service goes on",
        "    ✓ preflight  ✓ server  ▶ copy  hold  open  ┃  flip  settle",
        "    Copies links",
        "    ━━━━━━──────────────────  25%  10 of 40 rows, 6 s left, 5 rows/s",
        "    `tenfold abort` undoes it.",
    ]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"stage": "open", "held_since_us": AT_US - 120_000}, "undoes it. Writes have waited for 120 ms."),
        ({"stage": "settle"}, "Its point of no return is behind: it finishes by itself."),
        ({"back": True, "reason": "The disk is full."}, "It is being undone."),
        ({"back": True, "reason": "The disk is full."}, "The disk is full."),
        ({"progress": None}, "Does copy."),
        ({"progress": {"done": 1200, "unit": "changes"}}, "1,200 changes"),
        ({"progress": {"done": 3 << 20, "total": 4 << 20, "unit": "bytes"}}, "75%  3MB of 4MB"),
    ],
)
def test_a_move_says_what_a_person_wants_to_know(more: Any, says: str) -> None:
    assert says in "\n".join(shown(drawn(a_map("web-1"), move=a_move(**more))))


def test_for_a_low_window_it_is_drawn_on_fewer_lines() -> None:
    current = on_server("web-1", "web-2", "balancer-1", "balancer-2", door="balancer")
    found = shown(drawn(current, an_engine(), measured=True), tight=True)
    assert found == [
        "                    users",
        "                      ▼  200/s   p50 2.0 ms   p99 20 ms   0.5/s fail",
        "               ╭────────────────────╮ ╭────────────────────╮",
        " load balancer │ ● balancer-1       │ │ ● balancer-2       │",
        " HAProxy       │ 100/s  cpu 45%     │ │ 100/s  cpu 45%     │",
        "               ╰────────────────────╯ ╰────────────────────╯",
        "                      ▼  200/s   p50 2.0 ms   p99 20 ms   0.5/s fail",
        "               ╭────────────────────╮ ╭────────────────────╮",
        " web servers   │ ● web-1            │ │ ● web-2            │",
        "               │ 100/s  cpu 45%     │ │ 100/s  cpu 45%     │",
        "               ╰────────────────────╯ ╰────────────────────╯",
        "                      ▼  200/s   p50 1.5 ms   p99 9.0 ms",
        "               ╭────────────────────╮",
        " database      │ ● db-1             │",
        " PostgreSQL    │ cpu 50%            │",
        "               ╰────────────────────╯",
    ]


# Whatever the picture and the terminal


@st.composite
def pictures(draw_: st.DrawFn) -> Picture:
    count = st.integers(0, 30)
    roles = draw_(st.lists(st.sampled_from(["web", "worker", "balancer", "cache", "oracle", "replica"]), unique=True))
    nodes = [name for role in roles for name in names([role], draw_(count))]
    door = "balancer" if "balancer" in roles else "web"
    gate = draw_(st.sampled_from(["open", "held"]))
    current = draw_(st.sampled_from([a_map, on_server]))(*nodes, door=door, gate=gate)
    odd = st.sampled_from([{}, {"ready": False}, {"draining": True}, {"state": "failed", "ready": False}])
    changed = [a_node(name, reason=draw_(st.text(max_size=9)), **draw_(odd)) for name in nodes]
    rate = draw_(st.floats(0, 1e7))
    figures = draw_(st.sampled_from([None, figures_of(current, rate=rate)]))
    move = draw_(st.sampled_from([None, a_move(), a_move("open", title=draw_(st.text(max_size=150)))]))
    return draw(current, facts_of(current, *changed, an_engine()), figures, move, at_us=AT_US)


@settings(max_examples=40, deadline=None)
@given(pictures(), st.integers(40, 200), st.booleans())
def test_every_line_fits_and_no_node_is_lost(picture: Picture, width: int, tight: bool) -> None:
    found = lines(picture, width, False, tight=tight)
    assert all(width_of(line) <= width for line in found), [line for line in found if width_of(line) > width]
    signs = sum(line.count(sign) for line in found for sign in FINE.signs.values())
    assert signs >= sum(len(tier.nodes) for tier in picture.tiers)


@settings(max_examples=25, deadline=None)
@given(pictures(), st.integers(40, 120))
def test_colours_change_nothing_but_colours(picture: Picture, width: int) -> None:
    coloured = lines(picture, width, True)
    assert [ESCAPE.sub("", line).rstrip() for line in coloured] == [
        line.rstrip() for line in lines(picture, width, False)
    ]
    assert "\x1b" not in "".join(lines(picture, width, False))


@settings(max_examples=25, deadline=None)
@given(pictures())
def test_ascii_is_ascii(picture: Picture) -> None:
    found = lines(picture, 80, False, True)
    assert all(line.isascii() and line.isprintable() for line in found)
    assert all(width_of(line) <= 80 for line in found)


@settings(max_examples=60)
@given(st.text(), st.integers(1, 40))
def test_a_cut_text_fits_and_does_nothing_to_a_terminal(text: str, width: int) -> None:
    for strokes in (FINE, PLAIN):
        cut = Pen(strokes, True).cut(text, width)
        assert width_of(cut) <= width
        assert cut.isprintable() or not cut


def test_nothing_is_drawn_where_nothing_was_ever_up() -> None:
    assert lines(Picture("shop", "stopped", AT_US), 80, True) == []


def test_a_narrow_terminal_gets_the_least_width() -> None:
    assert lines(drawn(a_map("web-1")), 10, False) == lines(drawn(a_map("web-1")), 40, False)


def test_wide_characters_take_two_columns() -> None:
    assert width_of("서버") == 4
    assert width_of("e\u0301") == 1
    assert Pen(FINE, False).cut("서버서버", 5) == "서버…"


def test_a_bar_is_filled_by_halves_and_changes_its_colour_when_it_is_full() -> None:
    pen = Pen(FINE, False)
    assert [pen.bar(share, 4) for share in (0.0, 0.13, 0.5, 1.0, 7.0)] == ["────", "╸───", "━━──", "━━━━", "━━━━"]
    assert [Pen(FINE, True).bar(share, 4)[:5] for share in (0.69, 0.7, 0.9)] == ["\x1b[32m", "\x1b[33m", "\x1b[31m"]


# Numbers


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0"),
        (0.02, "<0.1"),
        (0.44, "0.4"),
        (3, "3"),
        (9.94, "9.9"),
        (9.96, "10"),
        (240.4, "240"),
        (1204, "1,204"),
        (120_400, "120k"),
        (3_100_000, "3.1M"),
    ],
)
def test_counts_have_as_many_digits_as_say_something(number: float, words: str) -> None:
    assert count_words(number) == words
    assert rate_words(number) == f"{words}/s"


@pytest.mark.parametrize(
    ("ms", "words"), [(0.41, "0.4 ms"), (9.94, "9.9 ms"), (140.2, "140 ms"), (999.6, "1.0 s"), (80_000, "80 s")]
)
def test_times_are_short(ms: float, words: str) -> None:
    assert ms_words(ms) == words


@pytest.mark.parametrize(
    ("size", "words"),
    [(812, "812 B"), (3175, "3.1 kB"), (64 << 20, "64 MB"), (1288490188, "1.2 GB"), (1 << 50, "1048576.0 GB")],
)
def test_sizes_are_short(size: float, words: str) -> None:
    assert bytes_words(size) == words


def test_traffic_that_fails_says_so_last() -> None:
    assert traffic_words(Traffic(100, 0.5, 2.0, 9.0)) == ["100/s", "p50 2.0 ms", "p99 9.0 ms", "0.5/s fail"]
    assert traffic_words(Traffic(0, 0, None, None)) == ["0/s"]
    assert traffic_words(None) == []


def test_failures_are_told_even_where_there_is_no_room_for_the_rest() -> None:
    current = a_map("web-1")
    slow = Traffic(1204.0, 3.0, 240.0, 1900.0)
    figures = msgspec.structs.replace(figures_of(current), public=slow)
    found = lines(draw(current, facts_of(current), figures, at_us=AT_US), 60, False)
    assert any("1,204/s   p50 240 ms   3/s fail" in line for line in found)
