"""Every sentence in both languages, and the charts of a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tours import STOPS, stop, tour, trial

import tenfold.tour
from tenfold.cli.tour import language_of
from tenfold.topology.steps import STEPS
from tenfold.tour.chart import bar, chart, columns, curve, wrapped
from tenfold.tour.model import Stop
from tenfold.tour.words import LANGUAGES, PARTS, Words, catalogue

SOURCE = "".join(path.read_text("utf-8") for path in Path(tenfold.tour.__file__).parent.glob("*.py"))

SAME = ("language", "trial", "trying", "partial.failed", "report.p99")
"""Sentences without a word that could be another one in Korean."""


def places(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def test_both_languages_say_the_same() -> None:
    english, korean = catalogue("en"), catalogue("ko")
    assert english.keys() == korean.keys()
    assert {key for key in english if places(english[key]) != places(korean[key])} == set()
    for key in english:
        assert re.search(r"[가-힣]", korean[key]) or key in SAME, key
        assert not re.search(r"[가-힣]", english[key]), key


def test_every_step_of_the_book_is_explained() -> None:
    for language in LANGUAGES:
        for step in STEPS:
            assert {f"step.{step.number}.{part}" for part in ("title", *PARTS)} <= catalogue(language).keys()
    assert [Words("en")(f"step.{step.number}.title") for step in STEPS] == [step.title for step in STEPS]


def test_no_sentence_is_there_for_nobody() -> None:
    from tenfold.cli import tour as command  # noqa: PLC0415

    said = (SOURCE + Path(command.__file__).read_text("utf-8")).replace("'", '"')
    made = r"step\.\d+\.\w+|part\.\w+|wide\.\w+|report\.\w+|language|what|brings|costs|due"
    unused = [key for key in catalogue("en") if f'"{key}"' not in said and not re.fullmatch(made, key)]
    assert unused == []
    reports = [key for key in catalogue("en") if key.startswith("report.")]
    assert [key for key in reports if f'"{key}"' not in said and f'"{key[7:]}"' not in said] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_chart_fits_a_terminal(language: str) -> None:
    words = Words(language)
    lines = chart(words, (*STOPS, Stop(4, "x", not_run="It is missing.")))
    assert max(columns(line) for line in lines) <= 80, lines
    starts = {columns(line[: re.search(r"[█▏▎▍▌▋▊▉]", line).start()]) for line in lines[:4]}  # type: ignore[union-attr]
    assert len(starts) == 1, "bars begin below one another"
    assert "602 ms, 0" in lines[1]
    assert "≥ 1,430".replace(" ", "") in lines[3]
    assert words("report.not_run") in lines[4]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_trial_is_one_line_with_a_sign_and_a_word(language: str) -> None:
    words = Words(language)
    for each, key in (
        (trial(1430.0), "trial.carried"),
        (trial(1430.0, 12_463.0), "trial.slow"),
        (trial(1430.0, 12_463.0, lag_ms=90.0), "trial.sender"),
    ):
        line = curve(words, each, 3000.0)
        assert columns(line) <= 78, line
        assert words(key) in line
        assert line.lstrip()[0] == ("●" if each.carried else "○")
    assert words("trial.failed", failed=300) in curve(words, trial(1000.0, failed=300), 3000.0)


def test_a_bar_is_exact_to_an_eighth() -> None:
    assert bar(0.0, 4) == "    "
    assert bar(1.0, 4) == bar(7.0, 4) == "████"
    assert bar(0.5, 4) == "██  "
    assert bar(1 / 32, 4) == "▏   "


def test_prose_is_wrapped_between_words_by_columns() -> None:
    text = "  · " + "열 개 중 하나가 쓰기입니다 " * 8
    lines = wrapped(text.rstrip(), 40)
    assert all(columns(line) <= 40 for line in lines)
    assert all(line.startswith("    ") for line in lines[1:])
    assert " ".join(line.strip() for line in lines) == text.strip()
    assert wrapped("", 40) == [""]


def test_a_step_that_carries_less_says_so() -> None:
    words = Words("en")
    one, two, three, wide = STOPS
    assert words.compared(one, None) == ""
    assert words.compared(two, one).startswith("That is less than before (0.53 times): this step alone")
    assert words.compared(three, two) == "That is 2.21 times what it carried before."
    assert words.compared(wide, three) == "", "at least so much says nothing of how many times"
    assert "about what" in words.compared(stop(3, 100.0), two)
    assert "where it is full" in words.compared(stop(3, 10.0, roles={"web": 2}), two)


def test_what_was_carried_once_is_said_to_be_so() -> None:
    words = Words("en")
    assert "once" not in words.carried(stop(1, 100.0))
    assert "It was carried once: the search ended" in words.carried(stop(1, 100.0, sure=False))
    assert "none of the rates" in words.carried(stop(1, 0.0))


def test_what_was_seen_of_a_climb_names_what_failed_and_what_was_held() -> None:
    words = Words("en")
    assert STOPS[1].climb is not None
    assert STOPS[2].climb is not None
    assert words.seen(STOPS[1].climb) == (
        "Seen: 0 of 300 requests failed; writes were held for 602 ms; the longest answer took 160 ms; it took 10 s."
    )
    assert "nothing was held" in words.seen(STOPS[2].climb)


def test_the_language_is_the_terminals() -> None:
    assert language_of({"LANG": "ko_KR.UTF-8"}) == "ko"
    assert language_of({"LC_ALL": "C", "LANG": "ko_KR.UTF-8"}) == "en"
    assert language_of({"LC_ALL": "", "LC_MESSAGES": "ko_KR.UTF-8"}) == "ko"
    assert language_of({}) == language_of({"LANG": "de_DE"}) == "en"


def test_a_tour_knows_its_language() -> None:
    assert tour(*STOPS, language="ko").language == "ko"
