"""The tour's curve in a terminal: a bar for each trial while it goes on, and one for each step in the end. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from tenfold.control.advice.phrases import shown
from tenfold.tour.model import Stop, Trial
from tenfold.tour.words import Words

_EIGHTHS = " ▏▎▍▌▋▊▉"
_BAR = 24


def bar(share: float, width: int = _BAR) -> str:
    """A bar of that share of the width, exact to an eighth of a character."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(width)


def curve(words: Words, trial: Trial, most: float) -> str:
    """One trial as a line; `most` is the rate of a whole bar."""
    sign = "●" if trial.carried else "○"
    text = words("trial", rate=trial.rate, p99=round(trial.p99_ms), verdict=words.verdict(trial))
    return f"  {sign} {bar(trial.rate / most)} {text}"


def chart(words: Words, stops: Sequence[Stop]) -> list[str]:
    """Sustained rate and p99 by step, with what each climb held, as lines of at most 80 columns."""
    names = [_name(words, stop) for stop in stops]
    wide = max((columns(name) for name in names), default=0)
    most = max((stop.rate for stop in stops), default=0.0) or 1.0
    return [
        f"  {padded(name, wide)}  {_figures(words, stop, most)}".rstrip()
        for name, stop in zip(names, stops, strict=True)
    ]


def _name(words: Words, stop: Stop) -> str:
    return f"{stop.step} {words.label(stop)}"


def _figures(words: Words, stop: Stop, most: float) -> str:
    if stop.not_run:
        return words("report.not_run")
    rate = ("≥" if stop.at_least else "") + shown(stop.rate)
    held = "" if stop.climb is None else f"  {shown(round(stop.climb.held_ms))} ms, {stop.climb.failed}"
    return f"{bar(stop.rate / most, 20)} {rate:>6}/s  p99 {shown(round(stop.p99_ms)):>4} ms{held}"


def columns(text: str) -> int:
    """How many columns a text takes in a terminal: letters of East Asia take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most so many columns, broken between words; what follows a hanging sign is indented."""
    indent = " " * (len(text) - len(text.lstrip(" ·"))) if text.strip() else ""
    lines, words = [], text.split(" ")
    line = words[0]
    for word in words[1:]:
        if columns(f"{line} {word}") > width:
            lines.append(line)
            line = indent + word
        else:
            line = f"{line} {word}"
    return [*lines, line]


def padded(text: str, width: int) -> str:
    """The text with spaces up to so many columns."""
    return text + " " * (width - columns(text))
