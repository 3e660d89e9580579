"""The sentences of the advice: the same in both languages, none missing, none too many; the page of its rules."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest
from advice_lab import STEP_1, every_second

from tenfold.control.advice import RULES, advise
from tenfold.control.advice.phrases import LANGUAGES, catalogue, places_in, say, shown
from tenfold.topology.steps import STEPS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "advice.md").read_text("utf-8")
SOURCES = "\n".join(path.read_text("utf-8") for path in (ROOT / "src/tenfold/control/advice").glob("*.py"))
SPELLED = {
    *re.findall(r'words\(\s*"([a-z_.]+)"', SOURCES),
    *re.findall(r'"((?:stay|database|web|machine|first)\.[a-z_.]+)"', SOURCES),
}
"""Keys as they stand in the code; others are made of a tier and a resource, or of the number of a step."""
MADE = {f"coming.{step.number}" for step in STEPS} | {
    "web.more", "worker.more", "first.web.cpu", "first.worker.cpu", "first.database.cpu", "first.balancer.cpu",
    "first.machine.cpu", "first.web.connections", "first.worker.connections",
}  # fmt: skip


def own(language: str) -> dict[str, str]:
    return {key.removeprefix("advice."): text for key, text in catalogue(language).items() if key.startswith("advice.")}


def test_both_languages_have_the_same_sentences_with_the_same_places() -> None:
    english, korean = catalogue("en"), catalogue("ko")
    assert set(english) == set(korean)
    assert {key: places_in(text) for key, text in english.items()} == {key: places_in(korean[key]) for key in english}


def test_korean_is_korean_and_english_is_not() -> None:
    assert all(re.search("[가-힣]", text) for text in catalogue("ko").values())
    assert not any(re.search("[가-힣]", text) for text in catalogue("en").values())


def test_every_sentence_that_the_code_says_is_there_and_no_other() -> None:
    there = set(own("en"))
    assert there >= SPELLED, SPELLED - there
    assert there <= SPELLED | MADE, there - SPELLED - MADE


def test_the_page_on_port_8001_has_no_other_words_under_these_keys() -> None:
    import json  # noqa: PLC0415

    for language in LANGUAGES:
        page = json.loads(files("tenfold.dashboard").joinpath("page", "words", f"{language}.json").read_text("utf-8"))
        assert not set(page) & set(catalogue(language))


def test_the_sentence_of_an_advice_is_its_words_in_english() -> None:
    advice = advise(STEP_1, every_second(STEP_1, cpu={"web": 0.95}, rate=1234.0))
    assert advice.sentence == say(advice.words)
    assert advice.because == tuple(say(reason) for reason in advice.because_words)
    assert "95 % of its one core at 1,234 requests/s" in advice.sentence
    korean = say(advice.words, "ko")
    assert "3단계" in korean
    assert "1,234" in korean
    assert "{" not in korean + advice.sentence


SHOWN: list[tuple[str | float, str]] = [
    (1234, "1,234"), (1234.6, "1,235"), (12.34, "12.3"), (0.456, "0.46"), (3.0, "3"), (0.5, "0.5"), (100, "100"),
    ("web-1", "web-1"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "told"), SHOWN)
def test_a_value_is_shown_as_a_person_reads_it(value: str | float, told: str) -> None:
    assert shown(value) == told


def test_the_page_has_exactly_the_rules() -> None:
    head = "| rule | applies when | advice | source |\n|---|---|---|---|\n"
    rows = "".join(f"| `{rule.name}` | {rule.when} | {rule.says} | {rule.source} |\n" for rule in RULES)
    assert f"{head}{rows}\n" in PAGE, f"docs/advice.md must have:\n\n{head}{rows}"
