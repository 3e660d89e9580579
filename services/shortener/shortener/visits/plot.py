"""The plot of visits by day, as numbers for an SVG: where each bar stands, which lines the axis has. Pure.

The template draws it with classes of the style sheet, so it is dark in dark rooms and needs no inline style, which the
content security policy would refuse (that, and their size, is why no plotting library draws it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 200
LEFT, BOTTOM, TOP = 40, 24, 10
_GAP = 0.25
"""Share of a bar's place that stays empty."""
LABELS = 6
"""Days named below the axis, about."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One day: a rectangle in the plot's units, and its count."""

    x: float
    y: float
    width: float
    height: float
    middle: float
    count: int
    named: bool


@dataclass(frozen=True, slots=True)
class Plot:
    """What the template draws; `lines` are (y, value) of the horizontal lines, the lowest first."""

    bars: tuple[Bar, ...]
    lines: tuple[tuple[float, int], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    floor: int = HEIGHT - BOTTOM


def plot(counts: Sequence[int]) -> Plot:
    """The plot of counts >= 0, one bar each."""
    assert counts, "a plot shows something"
    assert min(counts) >= 0, "counts"
    step = step_of(max(counts))
    top = max(step, -(-max(counts) // step) * step)
    scale = (HEIGHT - BOTTOM - TOP) / top
    place = (WIDTH - LEFT) / len(counts)
    every = max(1, round(len(counts) / LABELS))
    bars = tuple(
        Bar(
            x=round(LEFT + place * (number + _GAP / 2), 2),
            y=round(HEIGHT - BOTTOM - count * scale, 2),
            width=round(place * (1 - _GAP), 2),
            height=round(count * scale, 2),
            middle=round(LEFT + place * (number + 0.5), 2),
            count=count,
            named=(len(counts) - 1 - number) % every == 0,
        )
        for number, count in enumerate(counts)
    )
    lines = tuple((round(HEIGHT - BOTTOM - value * scale, 2), value) for value in range(0, top + 1, step))
    return Plot(bars, lines)


def step_of(highest: int) -> int:
    """The distance of the lines: 1, 2 or 5 times a power of ten, so that there are one to four of them above zero."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if highest <= step * factor * 4:
                return step * factor
        step *= 10
