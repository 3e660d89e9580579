"""The one plot of a tour, as SVG: sustained requests per second by step, p99 below, and what each climb held between.

Two panels over the same steps rather than two scales over one another: nobody can misread which line belongs to which.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from tenfold.control.advice.phrases import shown
from tenfold.tour.model import P99_LIMIT_MS, Stop
from tenfold.tour.words import Words

WIDTH, HEIGHT = 760, 470
LEFT, RIGHT = 64, 16
RATE_TOP, RATE_BASE = 40, 250
P99_TOP, P99_BASE = 320, 410
_BAR_SHARE = 0.46


def plot(words: Words, stops: Sequence[Stop]) -> str:
    """The `<svg>` element. Colours come from the page's variables, so that it is right in light and dark."""
    rates = [stop.rate for stop in stops]
    most, slowest = top(max(rates, default=1.0)), top(max([P99_LIMIT_MS, *(stop.p99_ms for stop in stops)]))
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="plot-title plot-text">',
        f'<title id="plot-title">{escape(words("report.rate"))}</title>',
        f'<desc id="plot-text">{escape(told(words, stops))}</desc>',
        _scale(most, RATE_TOP, RATE_BASE, words("report.rate")),
        _scale(slowest, P99_TOP, P99_BASE, words("report.p99"), lines=2),
        _limit(words, slowest),
        *(_step(words, stops, at, most, slowest) for at in range(len(stops))),
        "</svg>",
    ]
    return "\n".join(parts)


def told(words: Words, stops: Sequence[Stop]) -> str:
    """The plot in words, for those who do not see it."""
    return " ".join(
        f"{words.title(stop)}: {words('report.not_run') if stop.not_run else words.carried(stop)}" for stop in stops
    )


def top(value: float) -> float:
    """The end of a scale: the next of 1, 1.5, 2, 3, 4, 5, 6 or 8 times a power of ten, with a little room above."""
    size = 10.0 ** math.floor(math.log10(max(1.0, value)))
    return next(step * size for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15) if step * size >= value * 1.04)


def _scale(most: float, above: int, base: int, name: str, lines: int = 4) -> str:
    """The lines of a panel with their values, and its name."""
    drawn = [f'<text class="name" x="{LEFT}" y="{above - 16}">{escape(name)}</text>']
    for at in range(lines + 1):
        y = base - (base - above) * at / lines
        drawn.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text class="value" x="{LEFT - 8}" y="{y + 4:.1f}">{shown(most * at / lines)}</text>')
    return "".join(drawn)


def _limit(words: Words, slowest: float) -> str:
    y = P99_BASE - (P99_BASE - P99_TOP) * P99_LIMIT_MS / slowest
    text = escape(words("report.limit", p99=P99_LIMIT_MS))
    return (
        f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="limit" x="{WIDTH - RIGHT}" y="{y - 5:.1f}">{text}</text>'
    )


def _middle(at: int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (at + 0.5) / count


def _step(words: Words, stops: Sequence[Stop], at: int, most: float, slowest: float) -> str:
    stop, count = stops[at], len(stops)
    x, wide = _middle(at, count), (WIDTH - LEFT - RIGHT) / count * _BAR_SHARE
    name = f'<text class="step" x="{x:.1f}" y="{P99_BASE + 26}">{stop.step}</text>'
    name += f'<text class="label" x="{x:.1f}" y="{P99_BASE + 46}">{escape(words.label(stop))}</text>'
    if stop.not_run:
        return f'{name}<text class="absent" x="{x:.1f}" y="{RATE_BASE - 8}">{escape(words("report.not_run"))}</text>'
    climb = "" if stop.climb is None else _climb(words, stop, (x + _middle(at - 1, count)) / 2)
    return name + _bar(stop, x, wide, most) + _dot(stops, at, slowest) + climb


def _bar(stop: Stop, x: float, wide: float, most: float) -> str:
    high = (RATE_BASE - RATE_TOP) * stop.rate / most
    value = ("≥ " if stop.at_least else "") + shown(stop.rate)
    return (
        f'<rect class="bar" x="{x - wide / 2:.1f}" y="{RATE_BASE - high:.1f}" width="{wide:.1f}" height="{high:.1f}"'
        f' rx="3"/><text class="rate" x="{x:.1f}" y="{RATE_BASE - high - 7:.1f}">{value}</text>'
    )


def _dot(stops: Sequence[Stop], at: int, slowest: float) -> str:
    """The p99 of a step, with the line from the step before."""

    def place(number: int) -> tuple[float, float]:
        share = stops[number].p99_ms / slowest
        return _middle(number, len(stops)), P99_BASE - (P99_BASE - P99_TOP) * share

    (x, y), line = place(at), ""
    if not stops[at].rate:
        return ""
    if at and stops[at - 1].rate:
        x0, y0 = place(at - 1)
        line = f'<line class="curve" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x:.1f}" y2="{y:.1f}"/>'
    value = shown(round(stops[at].p99_ms))
    return f'{line}<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5"/>' + (
        f'<text class="p99" x="{x + 10:.1f}" y="{y + 16:.1f}">{value}</text>'
    )


def _climb(words: Words, stop: Stop, x: float) -> str:
    """What lies between two steps: for how long writes were held, and how many requests failed."""
    climb = stop.climb
    assert climb is not None, "there is one"
    held = f"{words('report.held')} {shown(round(climb.held_ms))} ms"
    failed = f"{climb.failed} {words('report.failed')}"
    worse = " bad" if climb.failed else ""
    return (
        f'<path class="climb{worse}" d="M{x:.1f} {RATE_BASE + 9}l7 7-7 7-7-7z"/>'
        f'<text class="held{worse}" x="{x:.1f}" y="{RATE_BASE + 37}">{escape(held)}</text>'
        f'<text class="held{worse}" x="{x:.1f}" y="{RATE_BASE + 51}">{escape(failed)}</text>'
    )
