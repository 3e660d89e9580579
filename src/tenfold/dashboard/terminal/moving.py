"""The open move in the terminal: its stages in a row, where it is, how far, how long writes have waited. Pure."""

from __future__ import annotations

from tenfold.control.words import took_words
from tenfold.core.units import format_size
from tenfold.dashboard.picture.model import MoveNow, StageNow
from tenfold.dashboard.terminal.numbers import ms_words, share_words
from tenfold.dashboard.terminal.pen import Pen, width_of

BAR = 24
INDENT = 4


def move_lines(pen: Pen, move: MoveNow, width: int) -> list[str]:
    """The open move in at most `width` columns."""
    inner = width - INDENT
    now = next((stage for stage in move.stages if stage.state == "now"), None)
    lines = [*_stages(pen, move, inner), *pen.wrapped(move.doing or (now.says if now else ""), inner)[:2]]
    lines += [_far(pen, move, inner), _way(pen, move, inner)]
    lines += [pen.ink(line, "yellow") for line in pen.wrapped(move.reason, inner)[:3]]
    return [f"  {_head(pen, move, inner)}", *(" " * INDENT + line for line in lines if line)]


def _head(pen: Pen, move: MoveNow, width: int) -> str:
    sign = pen.strokes.back if move.back else pen.strokes.now
    title = pen.cut(move.title, width)
    name = f"  {move.name}" if width_of(title) + 2 + len(move.name) <= width and move.name != move.title else ""
    return f"{pen.ink(sign, 'bold cyan')} {pen.ink(title, 'bold')}{pen.ink(name, 'dim')}"


def _way(pen: Pen, move: MoveNow, width: int) -> str:
    """Whether it can be undone, and how long writes have waited."""
    if move.back:
        way = "It is being undone."
    elif move.decided:
        way = "Its point of no return is behind: it finishes by itself."
    else:
        way = "`tenfold abort` undoes it."
    held = f" Writes have waited for {ms_words(move.held_ms)}." if move.held_ms else ""
    return pen.ink(pen.cut(way + held, width), "yellow" if move.held_ms or move.back else "dim")


def _stages(pen: Pen, move: MoveNow, width: int) -> list[str]:
    """The stages one after the other; the line behind one of them is the point of no return."""
    lines, used = [""], 0
    for stage in move.stages:
        word, columns = _stage(pen, stage)
        if used and used + columns + 2 > width:
            lines.append("")
            used = 0
        lines[-1] += ("  " if used else "") + word
        used += columns + (2 if used else 0)
    return lines


def _stage(pen: Pen, stage: StageNow) -> tuple[str, int]:
    """A stage and how many columns it takes: done, under way, or to come; yellow where writes wait."""
    signs = {"done": f"{pen.strokes.done} ", "now": f"{pen.strokes.now} ", "to come": ""}
    styles = {"done": "green", "now": "bold yellow" if stage.holds else "bold cyan", "to come": "dim"}
    text = f"{signs[stage.state]}{pen.cut(stage.name, 24)}"
    line = f"  {pen.strokes.no_return}" if stage.decides else ""
    return pen.ink(text, styles[stage.state]) + pen.ink(line, "bold red"), width_of(text + line)


def _far(pen: Pen, move: MoveNow, width: int) -> str:
    """How far the stage under way is: a bar where its end is known, else a count; empty where nothing is counted."""
    words = [f"{took_words(max(1, round(move.left_s)))} left"] if move.left_s is not None else []
    words += [f"{_amount(move.rate, move.unit)}/s"] if move.rate >= 1 else []
    if not move.total:
        return pen.cut(", ".join([_amount(move.done, move.unit), *words]), width) if move.done else ""
    share = min(move.done / move.total, 1.0)
    done = _amount(move.done, move.unit if move.unit == "bytes" else "")
    words.insert(0, f" {share_words(share):>4}  {done} of {_amount(move.total, move.unit)}")
    while len(words) > 1 and BAR + len(", ".join(words)) > width:
        words.pop()
    return pen.line(share, BAR, "cyan") + pen.cut(", ".join(words), width - BAR)


def _amount(number: float, unit: str) -> str:
    return format_size(int(number)) if unit == "bytes" else f"{int(number):,} {unit}".rstrip()
