"""Pure looks at the files of the page: words in every language, nothing foreign, nothing inline, small enough."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import tenfold.control.advice
import tenfold.dashboard
from tenfold.dashboard.picture.roles import ORDER
from tenfold.moves.registry import BUILDERS
from tenfold.prove.faults import KINDS
from tenfold.topology.steps import STEPS

PAGE = Path(tenfold.dashboard.__file__).parent / "page"
SCRIPTS = {path: path.read_text("utf-8") for path in PAGE.glob("js/**/*.js")}
INDEX = (PAGE / "index.html").read_text("utf-8")
WORDS = {language: json.loads((PAGE / "words" / f"{language}.json").read_text("utf-8")) for language in ("en", "ko")}
ADVICE = Path(tenfold.control.advice.__file__).parent / "words"
LIMIT = 300_000


def _places(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def test_every_word_is_there_in_both_languages() -> None:
    assert WORDS["en"].keys() == WORDS["ko"].keys()


@pytest.mark.parametrize("key", sorted(WORDS["en"]))
def test_a_word_has_the_same_places_in_both_languages(key: str) -> None:
    assert WORDS["en"][key]
    assert WORDS["ko"][key]
    assert _places(WORDS["en"][key]) == _places(WORDS["ko"][key])


def test_korean_is_korean() -> None:
    same = {key for key, said in WORDS["en"].items() if WORDS["ko"][key] == said}
    names = re.compile(r"CPU|p50|p99|\bms\b|^\{|^resource\.")
    assert not {key for key in same if not names.search(WORDS["en"][key])}


def test_every_word_that_the_scripts_ask_for_is_there_and_none_is_left_over() -> None:
    text = "\n".join([*SCRIPTS.values(), INDEX])
    asked = set(re.findall(r'\bt\("([\w.]+)"', text)) | set(re.findall(r'data-t(?:-\w+)?="([\w.]+)"', text))
    asked |= set(re.findall(r'\bt\(\w[\w.]* (?:\? "[\w.]+" )?: "([\w.]+)"', text))
    begun = set(re.findall(r"`([a-z_]+\.)\$\{", text))
    ends = {".what"}
    chosen = {key for key in WORDS["en"] if re.search(rf'"{re.escape(key)}"', text)}
    missing = asked - WORDS["en"].keys()
    assert not missing
    left = {
        key
        for key in WORDS["en"]
        if key not in asked | chosen and not any(key.startswith(one) for one in begun) and not key.endswith(tuple(ends))
    }
    assert not left


def test_everything_that_the_deployment_can_name_has_words() -> None:
    english = WORDS["en"]
    assert {f"role.{role}" for role in ORDER} <= english.keys()
    assert {f"fault.{kind}" for kind in KINDS} | {f"fault.{kind}.what" for kind in KINDS} <= english.keys()
    assert {f"move.{move}" for move in BUILDERS} <= english.keys()
    assert {f"step.{step.slug}.{what}" for step in STEPS for what in ("title", "promise")} <= english.keys()
    for step in STEPS:
        assert english[f"step.{step.slug}.promise"] == step.promise


def test_every_stage_of_every_move_has_words() -> None:
    moves = Path(tenfold.dashboard.__file__).parents[1] / "moves"
    for name, builder in BUILDERS.items():
        home = moves.joinpath(*builder.partition(":")[0].split(".")[2:])
        files = [*home.glob("*.py")] if home.is_dir() else [home.with_suffix(".py")]
        stages = {stage for file in files for stage in re.findall(r'Stage\(\s*"(\w+)"', file.read_text("utf-8"))}
        assert stages, name
        assert {f"stage.{name}.{stage}" for stage in stages} <= WORDS["en"].keys()


def test_the_words_of_the_page_and_of_the_advice_do_not_collide() -> None:
    for language, words in WORDS.items():
        advice = json.loads((ADVICE / f"{language}.json").read_text("utf-8"))
        assert not words.keys() & advice.keys()
        assert not [text for text in advice.values() if "|" in text], "the page would take that for a plural"


def test_the_page_is_small() -> None:
    assert sum(path.stat().st_size for path in PAGE.rglob("*") if path.is_file()) <= LIMIT


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    assert not re.search(r"<style|style=|\son\w+=|javascript:", INDEX)
    assert not re.search(r"<script(?![^>]*\bsrc=)", INDEX)
    ours = [INDEX, *SCRIPTS.values(), *(path.read_text("utf-8") for path in PAGE.glob("css/*.css"))]
    for text in ours:
        foreign = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
        assert set(foreign) <= {"http://www.w3.org"}, "a namespace is a name, and nothing else is asked for"
        assert "url(" not in text.replace("url(#", "")
        assert "innerHTML" not in text, "text is never read as markup"


def test_every_place_of_the_index_is_one_that_the_server_fills() -> None:
    assert set(re.findall(r"\{\{(\w+)\}\}", INDEX)) == {"csrf", "mode", "lang", "static"}


def test_every_file_that_is_named_is_there() -> None:
    for named in re.findall(r"\{\{static\}\}/([\w./-]+)", INDEX):
        assert (PAGE / named).is_file()
    for path, text in SCRIPTS.items():
        for named in re.findall(r'^import .*?from "(\.[^"]+)"', text, re.MULTILINE):
            assert (path.parent / named).is_file(), f"{path.name}: {named}"
        for named in re.findall(r'\bfile\("([^"]+)"\)', text):
            assert (PAGE / named).is_file()


def test_every_script_is_short_says_what_it_is_and_is_used() -> None:
    imported = {
        (path.parent / named).resolve()
        for path, text in SCRIPTS.items()
        for named in re.findall(r'from "(\.[^"]+)"', text)
    }
    entries = {PAGE / "js" / "main.js", PAGE / "js" / "theme.js"}
    for path, text in SCRIPTS.items():
        assert text.startswith("// "), f"{path.name} says what it is for"
        assert text.count("\n") < 260, path.name
        assert path in entries or path.resolve() in imported, f"{path.name} is dead"
