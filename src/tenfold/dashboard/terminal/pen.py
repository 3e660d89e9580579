"""Characters and colours of the picture in a terminal, and how wide a text is there. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tenfold.core.units import escaped
from tenfold.dashboard.picture.model import Health

Style = str
"""Words out of `_CODES`, with blanks between them; empty for none."""

_CODES: Final = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36", "reverse": "7",
}  # fmt: skip
_ESCAPE: Final = re.compile(r"\x1b\[[0-9;]*m")

HEALTH_STYLE: Final[Mapping[Health, Style]] = {
    "well": "green",
    "starting": "yellow",
    "leaving": "blue",
    "ill": "bold yellow",
    "gone": "bold red",
}


@dataclass(frozen=True)
class Strokes:
    """What lines and signs are made of. A node is told by its sign as well as by its colour."""

    solid: str
    """Corners top left, top right, bottom left, bottom right, then the lines: along, down."""
    dashed: str
    """The same for a node that no clients come to."""
    signs: Mapping[Health, str]
    down: str
    head: str
    aside: str
    gate: str
    filled: str
    half: str
    empty: str
    done: str
    now: str
    back: str
    no_return: str
    cut: str


FINE: Final = Strokes(
    solid="╭╮╰╯─│",
    dashed="╭╮╰╯╌┊",
    signs={"well": "●", "starting": "◐", "leaving": "○", "ill": "▲", "gone": "✕"},
    down="│",
    head="▼",
    aside="──▶",
    gate="━━╋━━",
    filled="━",
    half="╸",
    empty="─",
    done="✓",
    now="▶",
    back="◀",
    no_return="┃",
    cut="…",
)
PLAIN: Final = Strokes(
    solid="++++-|",
    dashed="....~:",
    signs={"well": "o", "starting": "*", "leaving": "-", "ill": "!", "gone": "x"},
    down="|",
    head="v",
    aside="-->",
    gate="==#==",
    filled="#",
    half="",
    empty=".",
    done="+",
    now=">",
    back="<",
    no_return="|",
    cut="~",
)
"""For terminals that know ASCII only."""


def width_of(text: str) -> int:
    """Columns that a text takes: colours take none, wide characters two."""
    plain = _ESCAPE.sub("", text)
    if plain.isascii():
        return len(plain)
    return sum(_columns(char) for char in plain)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def padded(text: str, width: int) -> str:
    """The text with blanks behind it, up to `width` columns."""
    return text + " " * (width - width_of(text))


@dataclass(frozen=True)
class Pen:
    """Draws with these strokes, in colour or not; `tight`: on as few lines as possible."""

    strokes: Strokes
    colour: bool
    tight: bool = False

    def ink(self, text: str, style: Style) -> str:
        """The text in a style."""
        if not (self.colour and style and text):
            return text
        return f"\x1b[{';'.join(_CODES[word] for word in style.split())}m{text}\x1b[0m"

    def cut(self, text: str, width: int) -> str:
        """A text without colours, in no more than `width` columns, and without anything that a terminal acts on."""
        shown = escaped(text)
        if self.strokes is PLAIN:
            shown = shown.encode("ascii", "replace").decode()
        if width_of(shown) <= width:
            return shown
        kept = ""
        for char in shown:
            if width_of(kept + char) > width - 1:
                break
            kept += char
        return (kept + self.strokes.cut)[: max(width, 0)]

    def wrapped(self, text: str, width: int) -> list[str]:
        """A sentence on as many lines as it takes."""
        found = [""]
        for word in self.cut(text, 100_000).split():
            longer = f"{found[-1]} {word}".strip()
            if width_of(longer) <= width or not found[-1]:
                found[-1] = longer
            else:
                found.append(word)
        return [self.cut(line, width) for line in found]

    def bar(self, share: float, width: int) -> str:
        """How full something is, 0 to 1, in `width` columns; green, from 70 % on yellow, from 90 % on red."""
        return self.line(share, width, "red" if share >= 0.9 else "yellow" if share >= 0.7 else "green")

    def line(self, share: float, width: int, style: Style) -> str:
        """A line of `width` columns, of which a share (0 to 1) is filled; where there are half strokes, by halves."""
        halves = min(max(round(share * width * 2), 0), width * 2)
        filled = self.strokes.filled * (halves // 2) + (self.strokes.half if halves % 2 else "")
        return self.ink(filled, style) + self.ink(self.strokes.empty * (width - len(filled)), "dim")


def beside(blocks: Sequence[Sequence[str]], widths: Sequence[int], gap: str = " ") -> list[str]:
    """Blocks of lines side by side; each is as wide as its width says, and the shorter ones end in blanks."""
    height = max((len(block) for block in blocks), default=0)
    rows = []
    for at in range(height):
        cells = [
            padded(block[at] if at < len(block) else "", width) for block, width in zip(blocks, widths, strict=True)
        ]
        rows.append(gap.join(cells).rstrip())
    return rows
