from __future__ import annotations

import pytest

from tenfold.core.randomness import SeededRandomness
from tenfold.core.trace import Caller, Trace, Traces, parse_traceparent

ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{ID}-{SPAN}-01"


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (GOOD, True),
        (f"00-{ID}-{SPAN}-00", False),
        (f"00-{ID}-{SPAN}-ff", True),
        (f"00-{ID}-{SPAN}-02", False),
        (f"01-{ID}-{SPAN}-01", True),
        (f"cc-{ID}-{SPAN}-01-what-the-future-brings", True),
        (f"01-{ID}-{SPAN}-01-", True),
    ],
)
def test_what_the_recommendation_allows_is_taken(text: str, sampled: bool) -> None:
    assert parse_traceparent(text) == Caller(ID, SPAN, sampled)


@pytest.mark.parametrize(
    "text",
    [
        "", "00", GOOD[:-1], GOOD + "0", GOOD + "-", GOOD + "-more", " " + GOOD, GOOD + " ", GOOD + "\n", GOOD.upper(),
        f"ff-{ID}-{SPAN}-01", f"0-{ID}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{ID}-{'0' * 16}-01",
        f"00-{ID[:-1]}-{SPAN}-01", f"00-{ID}-{SPAN}g-01", f"00-{ID}-{SPAN[:-1]}g-01", f"00_{ID}_{SPAN}_01",
        f"00-{ID}-{SPAN}-0x", f"01-{ID}-{SPAN}-01more", f"00-{ID}-{SPAN}", f"{GOOD},{GOOD}", "٠٠" + GOOD[2:],
        f"01-{ID}-{SPAN}-01-" + "x" * 1000,
    ],
)  # fmt: skip
def test_anything_else_begins_a_new_trace(text: str) -> None:
    assert parse_traceparent(text) is None


def test_work_in_the_callers_trace_has_a_span_of_its_own() -> None:
    made = Traces(SeededRandomness(1)).next(Caller(ID, SPAN, sampled=False))
    assert (made.trace_id, made.parent_id, made.sampled) == (ID, SPAN, False)
    assert made.span_id != SPAN
    assert made.traceparent == f"00-{ID}-{made.span_id}-00"


def test_what_is_made_is_read_back_and_never_repeats() -> None:
    traces = Traces(SeededRandomness(1))
    made = [traces.next() for _ in range(20_000)]
    assert len({each.trace_id for each in made}) == len({each.span_id for each in made}) == 20_000
    for each in made[:100]:
        assert parse_traceparent(each.traceparent) == Caller(each.trace_id, each.span_id, sampled=True)
    assert Traces(SeededRandomness(2)).next().trace_id[:16] != made[0].trace_id[:16], "processes differ"
    low = [int(each.trace_id[-14:], 16) / 16**14 for each in made]
    assert abs(sum(value < 0.1 for value in low) / 20_000 - 0.1) < 0.01, "samplers by ratio take a tenth of them"


def test_a_trace_that_begins_here_has_no_parent() -> None:
    assert Trace(ID, SPAN).parent_id == ""
