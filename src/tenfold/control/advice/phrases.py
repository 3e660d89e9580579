"""The sentences of an advice, by key: one catalogue for each language, `words/LANGUAGE.json`.

A catalogue has `{name}` where a value goes. The page on port 8001 reads the same files.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from importlib.resources import files

from tenfold.control.advice.model import Words

LANGUAGES = ("en", "ko")
_PLACE = re.compile(r"\{(\w+)\}")


@functools.cache
def catalogue(language: str) -> Mapping[str, str]:
    """The sentences of one of `LANGUAGES`."""
    text = files("tenfold.control.advice").joinpath("words", f"{language}.json").read_text("utf-8")
    found: dict[str, str] = json.loads(text)
    return found


def places_in(sentence: str) -> frozenset[str]:
    """The names of what is put into a sentence."""
    return frozenset(_PLACE.findall(sentence))


def say(words: Words, language: str = "en") -> str:
    """The sentence. Every value that it needs is in `words`: a `KeyError` is a fault of ours."""
    return _PLACE.sub(lambda found: shown(words.values[found[1]]), catalogue(language)[words.key])


def shown(value: str | int | float) -> str:
    """A value as a person reads it: 1,234, 12.3, 0.45; text as it is."""
    if isinstance(value, str):
        return value
    size = abs(value)
    digits = 0 if value == int(value) or size >= 100 else 1 if size >= 10 else 2
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
