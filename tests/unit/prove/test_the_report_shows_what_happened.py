"""One page that needs nothing else, says the truth without its script, and survives what a hostile run contains."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from histories import op

from tenfold.prove.history import Recording, Status, Window
from tenfold.prove.report import HELD_US, MARKS, drawn_marks, duration, embedded, percentile, rate, render
from tenfold.prove.verdict import Anomaly, Findings, Outcome, Verdict, combine, judge, not_run

HOSTILE = "</script><script>alert(1)</script><!--{{data}}&\u2028'\""
HOLDS = judge("P8", Findings("session-guarantees", 300, "reads"), workload="sessions")
BROKEN = Verdict(
    "P1",
    Outcome.BROKEN,
    10,
    detail="1 lost in 10 elements",
    anomalies={"lost": 1},
    evidence=(Anomaly("lost", "k4", "Element 7 is gone.", (op("add", 7, 1_000, 2_000, process=12, node="web-1"),)),),
)


def page(recording: Recording | None = None, verdicts: Any = (HOLDS,), title: str = "Proof", **facts: Any) -> str:
    return render(recording or Recording(), verdicts, title=title, facts=facts)


def data(text: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


class Reader(HTMLParser):
    """What a browser without JavaScript shows; and whether the elements are closed in order."""

    VOID = ("meta", "br")
    LEAF = ("circle", "path", "rect")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts = 0
        self.words: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        self.scripts += tag == "script"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.LEAF

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_a_verdict_is_a_word_a_shape_and_a_colour_with_its_bound() -> None:
    text = page(verdicts=[HOLDS, BROKEN, not_run("P4", "needs root"), judge("P9", Findings("staleness", 0, "reads"))])
    for name in ("holds", "broken", "vacuous", "not run"):
        assert re.search(rf'class="badge {name.replace(" ", "-")}"><svg .*?</svg>{name}<', text)
    assert "at most 1 in 100 (1\u00a0%)" in text
    assert "needs root" in text
    assert "A promise is broken." in text


def test_evidence_names_its_operations() -> None:
    said = Reader(page(Recording((op("add", 7, 0, 2_000),)), [BROKEN])).text
    assert "Evidence: 1 of 1 shown" in said
    assert "Element 7 is gone." in said
    assert "12 add k 7 0.001 s 0.002 s ok web-1" in said


def test_parts_of_a_promise_are_listed() -> None:
    parts = [judge("P1", Findings(name, 5, "things"), workload=name) for name in ("set", "bank")]
    assert "2 parts" in Reader(page(verdicts=combine(parts))).text


@pytest.mark.parametrize("partial", [True, "Ctrl-C after 3 s"])
def test_a_partial_run_says_so_loudly(partial: Any) -> None:
    said = Reader(page(partial=partial)).text
    assert "Partial run." in said
    assert partial is True or "Ctrl-C after 3 s." in said


def test_a_whole_run_is_not_called_partial() -> None:
    assert "Partial run" not in page(partial=False)


def test_a_cut_history_is_noted() -> None:
    assert "was cut off" in page(Recording(notes=("The last line was cut off.",)))


def test_the_seed_and_the_command_repeat_it() -> None:
    assert "tenfold prove --seed 4711" in page(Recording(seed=4711))
    assert "tenfold prove --rate 9" in page(Recording(seed=4711), command="tenfold prove --rate 9")


def test_an_empty_run_proves_nothing_and_renders() -> None:
    said = Reader(page(verdicts=())).text
    assert "Nothing is proven." in said
    assert "No promise was judged." in said


def test_hostile_text_stays_text() -> None:
    operation = op(HOSTILE, HOSTILE, 0, 5, key=HOSTILE, node=HOSTILE, workload=HOSTILE)
    window = Window(HOSTILE, HOSTILE, 0, 9, True, HOSTILE)
    verdict = Verdict(
        HOSTILE, Outcome.BROKEN, 1, detail=HOSTILE, evidence=(Anomaly(HOSTILE, HOSTILE, HOSTILE, (operation,)),)
    )
    twice = combine([verdict, verdict])
    text = page(Recording((operation,), (window,), notes=(HOSTILE,)), twice, HOSTILE, host=HOSTILE, **{HOSTILE: "x"})
    assert Reader(text).scripts == 2
    assert "<!--" not in text
    assert data(text)["faults"][0]["kind"] == HOSTILE


def test_embedded_json_cannot_end_its_element() -> None:
    assert not set("<>&\u2028") & set(embedded({"a": HOSTILE}))
    assert json.loads(embedded(HOSTILE)) == HOSTILE


def test_nothing_is_fetched() -> None:
    text = page(Recording((op("add", 1, 0, 5),)))
    assert not re.search(r"https?://|@import|url\(", text)
    assert not {name for name, _ in Reader(text).attributes} & {"src", "href"}
    assert "default-src 'none'" in text


def test_the_tables_say_it_without_javascript() -> None:
    operations = [op("add", i, i * 1_000, i * 1_000 + 100 * (i + 1), workload="set", node="web-1") for i in range(10)]
    operations += [
        op("add", 11, 10_000, 10_000 + 2 * HELD_US, Status.UNKNOWN),
        op("add", 12, 11_000, 11_500, Status.FAIL),
    ]
    windows = (Window("kill", "web-1", 9_900, 10_500, True), Window("clock step", "web-1", 20_000, 20_001, False))
    said = Reader(page(Recording(tuple(operations), windows))).text
    assert "all requests 12 10 1 1 500 µs 2 s 2 s 2 s 2 s" in said
    assert "workload set 10 10 0 0 500 µs 1 ms 1 ms 1 ms 1 ms" in said
    assert "during a fault or move 3 1 1 1" not in said, "the fail at 11 ms came after the kill and before the step"
    assert "during a fault or move 2 1 0 1" in said
    assert "kill web-1 0.010 s 0.011 s seen" in said
    assert "clock step web-1 0.020 s 0.020 s none seen" in said
    assert "web-1 10 0.000 s 0.010 s 1.1 ms from" in said


def test_the_drawing_has_a_text_alternative_and_its_data() -> None:
    operations = (op("add", 1, 1_000_000, 1_000_500, node="web-1"), op("add", 2, 1_000_100, 3_000_000, Status.UNKNOWN))
    text = page(Recording(operations, (Window("pause", "web-1", 1_000_050, 2_000_000, True),)))
    drawn = data(text)
    assert 'role="img" aria-label="Latency of 2 requests over 2 s, with 1 faults or moves' in text
    assert (drawn["marks"]["t"], drawn["marks"]["l"], drawn["marks"]["s"]) == ([0, 100], [500, 1_999_900], [0, 2])
    assert drawn["faults"] == [{"kind": "pause", "target": "web-1", "from": 50, "to": 1_000_000, "effect": True}]
    assert [sum(counts) for counts in drawn["rates"]] == [1, 0, 1]
    assert [(node["name"], sum(node["answers"])) for node in drawn["nodes"]] == [("web-1", 1)]


def many(count: int, failing: int) -> list[Any]:
    """Operations of which every `failing`th failed, with latencies from 0.1 ms up; the last is the slowest."""
    statuses = [Status.FAIL if i % failing == 0 else Status.OK for i in range(count)]
    made = [op("add", i, i * 50, i * 50 + 100 + i * 7919 % 9973, statuses[i]) for i in range(count)]
    return [*made, op("add", count, count * 50, count * 50 + 60_000_000)]


def test_a_long_run_is_thinned_but_keeps_each_failure_and_the_slowest() -> None:
    operations = many(200_000, 40)
    marks = drawn_marks(operations)
    assert len(marks) <= MARKS
    assert sum(count for _, count in marks) == len(operations)
    assert sum(each.status is Status.FAIL for each, _ in marks) == 5_000
    assert operations[-1] in [each for each, _ in marks]
    assert "the slowest and the failures each by itself, the others" in page(Recording(tuple(operations)))


def test_a_run_of_failures_is_thinned_evenly() -> None:
    operations = many(60_000, 1)
    marks = drawn_marks(operations)
    assert len(marks) <= MARKS
    assert sum(count for _, count in marks) == len(operations)
    assert "as far as there was room" in page(Recording(tuple(operations)))


def test_a_short_run_is_drawn_whole() -> None:
    operations = many(MARKS - 1, 7)
    assert drawn_marks(operations) == [(operation, 1) for operation in operations]


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.95, 95), (0.99, 99), (0.999, 100), (1.0, 100), (0.0, 1)])
def test_percentiles_are_of_the_nearest_rank(share: float, value: int) -> None:
    assert percentile(range(1, 101), share) == value
    assert percentile([7], share) == 7


@pytest.mark.parametrize(
    ("us", "told"),
    [
        (0, "0 µs"),
        (850, "850 µs"),
        (999.7, "1 ms"),
        (12_345, "12.3 ms"),
        (99_960, "100 ms"),
        (999_600, "1 s"),
        (4_560_000, "4.56 s"),
        (3_600_000_000, "3,600 s"),
    ],
)
def test_durations_are_readable(us: float, told: str) -> None:
    assert duration(us) == told


@pytest.mark.parametrize(
    ("bound", "told"),
    [
        (None, "–"),
        (1.0, "no bound: too few trials"),
        (0.6, "at most 60\u00a0%"),
        (3 / 7, "at most 43\u00a0%"),
        (3 / 9, "at most 34\u00a0%"),
        (3 / 300, "at most 1 in 100 (1\u00a0%)"),
        (3 / 100_000, "at most 1 in 33,333 (0.003\u00a0%)"),
    ],
)
def test_a_bound_is_a_readable_rate(bound: float | None, told: str) -> None:
    assert rate(bound) == told
