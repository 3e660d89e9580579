"""The catalogs: complete, alike, and the only place where text stands."""

from __future__ import annotations

import re
import string
from datetime import UTC, datetime
from pathlib import Path

import pytest

import shortener
from shortener.words import CATALOGS, ENGLISH, chosen

HERE = Path(shortener.__file__).parent
TEMPLATES = sorted((HERE / "templates").glob("*.html"))
EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
CLASS_BLOCK = re.compile(r"\{% block width %\}\w+\{% endblock %\}")
SPOKEN = ("alt", "aria-label", "placeholder", "title", "data-done", "data-failed", "data-said", "data-selected")
ALLOWED = {"POST /api/v1/data/shorten", "https://example.com/a/rather/long/page"}
"""What is the same in every language: what a program sends, what an address looks like."""


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", sorted(set(CATALOGS) - {"en"}))
def test_catalogs_have_the_same_keys_and_placeholders(language: str):
    other = CATALOGS[language]
    assert set(other.texts) == set(ENGLISH.texts)
    for key, text in ENGLISH.texts.items():
        missing = fields(text) ^ fields(other.texts[key])
        assert missing <= {"count"}, key  # one language says "1 visit", another needs no number


def test_english_and_korean_are_there_and_nothing_was_forgotten():
    assert set(CATALOGS) == {"en", "ko"}
    korean = CATALOGS["ko"]
    same = {key for key, text in ENGLISH.texts.items() if text == korean.texts[key] and re.search("[a-z]{3}", text)}
    assert same == {"refusal.verbatim"}, "not translated"


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.stem)
def test_no_text_stands_in_a_template(file: Path):
    source = EXPRESSION.sub("", CLASS_BLOCK.sub("", file.read_text()))
    between = re.sub(r'\b[a-z-]+="[^"]*"|autofocus', "", re.sub(r"<[^>]*>", "\n", source))
    texts = {line.strip() for line in between.splitlines() if re.search(r"\w\w", line)}
    assert texts <= ALLOWED
    attributes = set(re.findall(rf'(?:{"|".join(SPOKEN)})="([^"]*\w[^"]*)"', source))
    assert attributes <= ALLOWED


def test_every_key_that_is_asked_for_is_there_and_every_text_is_asked_for():
    sources = [file.read_text() for file in (*TEMPLATES, *HERE.rglob("*.py"))]
    quoted = {key for source in sources for key in re.findall(r"[\"']([a-z_]+(?:\.[a-z0-9_]+)*)[\"']", source)}
    begun = {key for source in sources for key in re.findall(r"[\"']([a-z_.]+\.)(?=[\"'{])", source)} - {"refusal."}
    ended = {key for source in sources for key in re.findall(r"[\"'](\.[a-z]+)[\"']", source)}

    def is_asked(key: str) -> bool:
        names = {key, re.sub(r"\.(one|other)\Z", "", key), key.removeprefix("refusal.")}
        return any(name in quoted or name.startswith(tuple(begun)) or name.endswith(tuple(ended)) for name in names)

    assert [key for key in ENGLISH.texts if not is_asked(key)] == []
    asked = {key for source in sources for key in re.findall(r'\bt\("([a-z_.0-9]*[a-z0-9])"', source)}
    asked |= {f"refusal.{key}" for source in sources for key in re.findall(r'Refusal\("\w+", "([a-z_.]+)"', source)}
    assert [key for key in sorted(asked) if not (ENGLISH.has(key) or ENGLISH.has(f"{key}.one"))] == []


@pytest.mark.parametrize(
    ("wish", "accepted", "language"),
    [
        ("", "", "en"),
        ("", "ko", "ko"),
        ("", "ko-KR,ko;q=0.9,en-US;q=0.8", "ko"),
        ("", "de-DE,de;q=0.9,ko;q=0.5,en;q=0.4", "ko"),
        ("", "en;q=0.5, ko;q=0.7", "ko"),
        ("", "de, fr;q=0.5", "en"),
        ("", "ko;q=0", "en"),
        ("", "*", "en"),
        ("", "ko;q=nonsense, " + "x," * 5_000, "en"),
        ("en", "ko", "en"),
        ("ko", "en", "ko"),
        ("../ko", "en", "en"),
    ],
)
def test_the_language_is_the_chosen_one_else_the_browser_s(wish: str, accepted: str, language: str):
    assert chosen(wish, accepted).language == language


def test_moments_and_counts_are_said_as_people_say_them():
    moment = datetime(2026, 11, 3, 7, 5, tzinfo=UTC)
    assert ENGLISH.moment(moment) == "3 November 2026, 07:05 UTC"
    assert CATALOGS["ko"].moment(moment) == "2026년 11월 3일 07:05 UTC"
    assert ENGLISH("badge.visits", 1) == "1 visit at most"
    assert ENGLISH("badge.visits", 1_500) == "1,500 visits at most"
    assert CATALOGS["ko"]("badge.visits", 1_500) == "최대 1,500회 방문"
