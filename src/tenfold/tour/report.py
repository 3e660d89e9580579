"""What a tour leaves: one HTML page that needs nothing else, and the same as JSON."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from pathlib import Path

import msgspec

from tenfold.control.advice.phrases import shown
from tenfold.core.files import atomic_write, storage_errors
from tenfold.topology.steps import STEPS
from tenfold.tour.model import Climb, Stop, Tour, Trial
from tenfold.tour.plot import plot
from tenfold.tour.words import HELD_MOST_MS, Words

PAGE, DATA = "report.html", "report.json"


def leave(tour: Tour, folder: Path) -> Path:
    """Writes both below `folder`; the path of the page. Raises a `TenfoldError` when that cannot be written."""
    with storage_errors("write", folder):
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / DATA, msgspec.json.format(msgspec.json.encode(tour), indent=1), 0o644)
        atomic_write(folder / PAGE, render(tour).encode(), 0o644)
    return folder / PAGE


def render(tour: Tour) -> str:
    """The page. Pure."""
    words = Words(tour.language)
    parts = {
        "language": tour.language,
        "title": escape(words("report.title", service=tour.service)),
        "lead": escape(words("report.lead", p99=tour.p99_limit_ms, ok=tour.ok_least * 100)),
        "partial": _partial(words, tour),
        "plot": plot(words, tour.stops),
        "table": _table(words, tour.stops),
        "steps": "".join(_section(words, tour.stops, at) for at in range(len(tour.stops))),
        "later": _later(words, tour.stops),
        "how": _how(words, tour),
        "made": escape(_made(words, tour)),
    }
    page = files("tenfold.tour").joinpath("report.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda at: parts[at[1]].replace(" %", "\u00a0%"), page)


def _partial(words: Words, tour: Tour) -> str:
    if not tour.partial:
        return ""
    return f'<p class="loud" role="note"><strong>{escape(words("partial"))}</strong> {escape(tour.partial)}</p>'


def _table(words: Words, stops: tuple[Stop, ...]) -> str:
    """The plot as a table: the same for who does not see it."""
    names = ("step", "nodes", "rate", "p99", "held", "failed", "took")
    head = "".join(f'<th scope="col">{escape(words(f"report.{name}"))}</th>' for name in names)
    rows = "".join(_row(words, stop) for stop in stops)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _row(words: Words, stop: Stop) -> str:
    name = f'<th scope="row">{stop.step} · {escape(words.label(stop))}</th>'
    if stop.not_run:
        return f'<tr>{name}<td colspan="6" class="absent">{escape(words("report.not_run"))}</td></tr>'
    nodes = ", ".join(f"{count}\u00a0×\u00a0{role}" for role, count in stop.roles.items())
    rate = (f"{words('report.at_least')} " if stop.at_least else "") + shown(stop.rate)
    cells = [nodes, rate, shown(round(stop.p99_ms)), *_climbed(stop.climb)]
    return f"<tr>{name}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _climbed(climb: Climb | None) -> list[str]:
    if climb is None:
        return ["", "", ""]
    return [
        f"{shown(round(climb.held_ms))}\u00a0ms",
        f"{climb.failed}\u00a0/\u00a0{shown(climb.load.sent)}",
        f"{climb.took_s:g}\u00a0s",
    ]


def _section(words: Words, stops: tuple[Stop, ...], at: int) -> str:
    stop, before = stops[at], next((each for each in reversed(stops[:at]) if each.rate), None)
    text = "".join(
        f"<dt>{escape(heading)}</dt><dd>{escape(said)}</dd>"
        for heading, said in words.explained(stop.step, wide=stop.wide)
    )
    found = [f'<p class="loud">{escape(stop.not_run)}</p>'] if stop.not_run else _found(words, stop, before)
    return f"<section><h2>{escape(words.title(stop))}</h2><dl>{text}</dl>{''.join(found)}</section>"


def _found(words: Words, stop: Stop, before: Stop | None) -> list[str]:
    sentence, reasons = words.advice(stop)
    because = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    return [
        _promised(words, stop.climb),
        f'<p class="found"><strong>{escape(words.carried(stop))}</strong> {escape(words.compared(stop, before))}</p>',
        f'<div class="advice"><h3>{escape(words("advice"))}</h3><p>{escape(sentence)}</p><ul>{because}</ul></div>',
        _trials(words, stop.trials),
    ]


def _promised(words: Words, climb: Climb | None) -> str:
    if climb is None:
        return ""
    kept = climb.failed == 0 and climb.held_ms <= HELD_MOST_MS
    sign = '<span class="kept">✓</span>' if kept else '<span class="broken">✗</span>'
    return (
        f"<h3>{escape(words('report.promised'))}</h3>"
        f"<p>{escape(words.promised())}<br>{sign} {escape(words.seen(climb))}</p>"
    )


def _trials(words: Words, trials: tuple[Trial, ...]) -> str:
    names = ("asked", "answered", "p99", "verdict")
    head = "".join(f'<th scope="col">{escape(words(f"report.{name}"))}</th>' for name in names)
    rows = "".join(
        f"<tr><td>{shown(trial.rate)}</td><td>{shown(trial.ok)} / {shown(trial.sent)}</td>"
        f"<td>{shown(round(trial.p99_ms))}</td><td>{escape(words.verdict(trial))}</td></tr>"
        for trial in trials
    )
    return (
        f"<details><summary>{escape(words('report.measured'))}</summary>"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>'
    )


def _later(words: Words, stops: tuple[Stop, ...]) -> str:
    """The steps that this version does not have yet, as the book tells them."""
    later = [step for step in STEPS if not step.exists]
    if not later:
        return ""
    told = "".join(
        f'<li value="{step.number}"><strong>{escape(words(f"step.{step.number}.title"))}.</strong> '
        f"{escape(words(f'step.{step.number}.what'))} <em>{escape(words('due'))}:</em> "
        f"{escape(words(f'step.{step.number}.due'))}</li>"
        for step in later
    )
    title, text = escape(words("later")), escape(words("later.text"))
    return f"<section><h2>{title}</h2><p>{text}</p><ol>{told}</ol></section>"


def _how(words: Words, tour: Tour) -> str:
    caps = (
        words("report.how.caps", parts=words.parts(tour.parts, " %"), cores=tour.cores)
        if tour.parts
        else words("report.how.uncapped", cores=tour.cores)
    )
    load = words("report.how.load")
    return f"<h2>{escape(words('report.how'))}</h2><p>{escape(load)}</p><p>{escape(caps)}</p>"


def _made(words: Words, tour: Tour) -> str:
    when = datetime.fromtimestamp(tour.at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return words("report.made", version=tour.version, when=when, took=round(tour.took_s))
