"""What the commands about moves share: the plan in plain words, the question, and following a move to its end."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from tenfold.cli.main import Context, Interrupted
from tenfold.control.place import Place
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.errors import TenfoldError, UsageError
from tenfold.core.units import format_size
from tenfold.hosts import wire

Facts = dict[str, Any]

PLAN_LIMIT_S, BEGIN_LIMIT_S, LOOK_LIMIT_S = 180.0, 180.0, 10.0
AWAY_LIMIT_S = 60.0
"""How long a controller may be away (it was killed, and is started again) before following is given up."""
BEGUN_LIMIT_S = 20.0
"""How long a move is looked for that may have begun while its controller died."""
_LOOK_S = 0.2
_TELL_EVERY_S = 5.0

MISSING = "TF-PG-MISSING"
GOES_ON = (
    "The move goes on without this command: `tenfold status` shows it, the same command follows it again, "
    "`tenfold abort` undoes it."
)


def ask(place: Place, op: str, timeout_s: float = LOOK_LIMIT_S, **fields: object) -> Facts:
    """One operation of the controller."""
    return wire.call(place.run / "controller.sock", {"op": op, **fields}, timeout_s)


# The plan in words


def plan_words(plan: Facts) -> list[str]:
    """The plan as a person reads it."""
    lines = [f"{plan['service']} is on step {plan['step']}."]
    if plan["open"]:
        lines.append(open_words(plan["open"]))
    if plan["changes"]:
        lines += ["", "tenfold.toml differs from what runs; `tenfold up` brings that about:"]
        lines += [f"  {change}" for change in plan["changes"]]
    for move in plan["moves"]:
        lines += ["", f"{move['name']}: {move['title']}.", *_stage_lines(move), *_figures(move)]
    if plan["empty"]:
        lines.append("Nothing is to do.")
    elif plan["to_step"] != plan["step"]:
        lines += ["", f"Then it is on step {plan['to_step']}."]
    return lines


def open_words(move: Facts) -> str:
    """One sentence about a move that is open."""
    if move["back"]:
        return f"The move {move['move']} is being undone: {move['reason']}"
    return f"The move {move['move']} is open, in its stage {move['stage']}."


def _stage_lines(move: Facts) -> list[str]:
    lines = []
    for number, stage in enumerate(move["stages"], 1):
        held = "  [writes wait]" if stage["holds_writes"] else ""
        lines.append(f"  {number:>2}  {stage['stage']:<13} {stage['says']}{held}")
        if stage["decides"]:
            lines.append("      ------------ the point of no return: until here everything can be undone")
    return lines


def _figures(move: Facts) -> list[str]:
    facts, held = move["facts"], [stage["stage"] for stage in move["stages"] if stage["holds_writes"]]
    lines = [""]
    if "rows" in facts:
        size = f", {format_size(facts['bytes'])}" if "bytes" in facts else ""
        lines.append(f"  It moves {facts['rows']:,} rows{size}.")
    if facts.get("expected_s"):
        lines.append(f"  It takes about {took_words(facts['expected_s'])} on an idle machine.")
    if held:
        expected = facts.get("expected_hold_ms")
        about = f", about {expected} ms" if expected else ""
        lines.append(f"  Writes wait from {held[0]} to {held[-1]}{about}; nothing fails, and reads go on.")
    else:
        lines.append("  Nothing waits: reads and writes go on throughout.")
    return lines + [f"  Note: {finding}" for finding in facts.get("findings", [])]


# Progress


def progress_words(move: Facts) -> str:
    """How far it is, in one line."""
    progress = move.get("progress") or {}
    problem = move.get("problem")
    if problem and not progress.get("pid"):
        return f"{move['stage']}: its mover has ended and is started again: {problem['message']}"
    way = "undoing " if move["back"] else ""
    words = f"{way}{progress.get('stage') or move['stage'] or move['move']}: {progress.get('doing') or 'begins'}"
    if progress.get("total"):
        words += f"  {_amount(progress['done'], progress['unit'])} of {_amount(progress['total'], progress['unit'])}"
    elif progress.get("done"):
        words += f"  {_amount(progress['done'], progress['unit'])}"
    if progress.get("rate"):
        words += f", {_amount(round(progress['rate']), progress['unit'])}/s"
    if progress.get("left_s") is not None:
        words += f", {took_words(max(1, round(progress['left_s'])))} left"
    return words


def _amount(number: int, unit: str) -> str:
    return format_size(int(number)) if unit == "bytes" else f"{int(number):,} {unit}".rstrip()


def took_words(seconds: float | None) -> str:
    """A duration for a person: `35 ms`, `2.5 s`, `3 min 20 s`, `1 h 2 min`; `-` when it is not known."""
    if seconds is None:
        return "-"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def end_words(move: Facts) -> str:
    """How it ended, in one or two sentences."""
    facts = move["facts"]
    took = took_words(move["took_s"])
    if move["result"] == "undone":
        return f"The move {move['move']} was undone after {took}; everything is as it was before. {move['reason']}"
    rows = f", {facts['rows']:,} rows" if isinstance(facts.get("rows"), int) else ""
    held = f", writes were held for {facts['held_ms']:g} ms" if facts.get("held_ms") else ""
    return f"The move {move['move']} is finished: {took}{rows}{held}."


class Display:
    """Progress on standard error: one line that is written over on a terminal, else a line now and then."""

    def __init__(self, clock: Callable[[], float] = SYSTEM_CLOCK.monotonic) -> None:
        self._clock = clock
        self._live = sys.stderr.isatty()
        self._stage, self._told_s, self._width = "", float("-inf"), 0

    def show(self, move: Facts) -> None:
        """Shows how far the move is."""
        words, stage = progress_words(move), f"{move['back']} {move['stage']}"
        if self._live:
            text = words[: shutil.get_terminal_size().columns - 3]
            click.echo(f"\r  {text:<{self._width}}", nl=False, err=True)
            self._width = len(text)
        elif stage != self._stage or self._clock() - self._told_s >= _TELL_EVERY_S:
            click.echo(f"  {words}", err=True)
            self._told_s = self._clock()
        self._stage = stage

    def close(self) -> None:
        """Leaves the line that was written over."""
        if self._live and self._width:
            click.echo("", err=True)
            self._width = 0


def follow(place: Place, move_id: str, display: Display) -> Facts:
    """Shows the progress of a move until it is closed; its facts. Ctrl-C ends only the looking."""
    away_since: float | None = None
    try:
        while True:
            try:
                move = ask(place, "move")["move"]
                away_since = None
            except (wire.NotRunning, wire.NoAnswer) as error:  # it was killed; the move goes on without it
                away_since = away_since or SYSTEM_CLOCK.monotonic()
                if SYSTEM_CLOCK.monotonic() - away_since > AWAY_LIMIT_S:
                    raise _lost_sight(error) from error
                time.sleep(_LOOK_S)
                continue
            if move is None or move["id"] != move_id:
                raise UsageError("Another move has begun since.", hint="See `tenfold moves`.", code="TF-NO-MOVE")
            if not move["open"]:
                return dict(move)
            display.show(move)
            time.sleep(_LOOK_S)
    except KeyboardInterrupt:
        display.close()
        raise Interrupted(GOES_ON) from None
    finally:
        display.close()


def _lost_sight(error: TenfoldError) -> TenfoldError:
    return TenfoldError(
        f"The controller has not answered for {AWAY_LIMIT_S:g} s: {error.message}",
        hint="Nothing is lost: `tenfold up` brings it back, and it goes on with the move.",
        code="TF-NO-ANSWER",
    )


# From a plan to its end


@dataclass(frozen=True)
class Asked:
    """What a command about moves was asked: `op` is climb, descend or finalize."""

    op: str
    step: str | None = None
    only: bool = False
    yes: bool = False
    as_json: bool = False

    @property
    def fields(self) -> Facts:
        """The question to the controller."""
        return {"step": self.step, "only": self.only}


def carry_out(context: Context, asked: Asked) -> int:
    """Prints the plan, asks, applies it with its progress, and says how it ended; 0 when the wanted topology runs."""
    place = Place(context.root())
    plan = planned(place, asked)
    if plan["open"] is not None:
        return _join(place, asked, plan)
    if not asked.as_json:
        click.echo("\n".join(plan_words({**plan, "changes": []})))
    if not plan["moves"]:
        if asked.as_json:
            click.echo(json.dumps({"plan": plan, "move": None}, indent=2))
        return 0
    if not _agreed(asked):
        click.echo("Nothing was changed.", err=True)
        return 1
    try:
        return _to_its_end(place, asked, _begin(place, asked))
    except KeyboardInterrupt as interrupt:
        raise interrupt if isinstance(interrupt, Interrupted) else Interrupted(GOES_ON) from None


def _begin(place: Place, asked: Asked) -> Facts:
    """The move that has begun. A controller that dies over the question may have begun it: then it is found."""
    before = ask(place, "move")["move"]
    try:
        return dict(ask(place, asked.op, BEGIN_LIMIT_S, **asked.fields)["move"])
    except (wire.NotRunning, wire.NoAnswer):
        since = SYSTEM_CLOCK.monotonic()
        while SYSTEM_CLOCK.monotonic() - since < BEGUN_LIMIT_S:
            with contextlib.suppress(wire.NotRunning, wire.NoAnswer):
                found = ask(place, "move")["move"]
                if found and (before is None or found["id"] != before["id"]):
                    return dict(found)
            time.sleep(_LOOK_S)
        raise


def planned(place: Place, asked: Asked) -> Facts:
    """The plan; when PostgreSQL is missing, it offers to install it first."""
    try:
        return ask(place, "plan", PLAN_LIMIT_S, to=asked.op, **asked.fields)
    except TenfoldError as error:
        if error.code != MISSING or not _installed(asked):
            raise
    return ask(place, "plan", PLAN_LIMIT_S, to=asked.op, **asked.fields)


def _installed(asked: Asked) -> bool:
    """Offers to install PostgreSQL; whether it is installed now."""
    from tenfold.control.servers import install, install_offer  # noqa: PLC0415 - only when it is missing

    offer = install_offer()
    if offer is None or asked.as_json or not (asked.yes or sys.stdin.isatty()):
        return False
    if not asked.yes and not click.confirm(offer.question, default=True, err=True):
        return False
    install(offer)
    return True


def _agreed(asked: Asked) -> bool:
    if asked.yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(
            "Nobody is there to ask whether to begin.", hint="Look at `tenfold plan`, then add --yes.", code="TF-ASK"
        )
    return click.confirm("\nBegin?", default=False, err=True)


def _join(place: Place, asked: Asked, plan: Facts) -> int:
    """A move is open: if it is the one that is asked for, it is followed; else refused."""
    move = plan["open"]
    leads = {"climb": "copy_to_postgres", "descend": "return_to_sqlite", "finalize": "drop_way_back"}
    if move["back"] or leads[asked.op] != move["move"]:
        raise UsageError(
            open_words(move), hint="Wait for its end (`tenfold status`), or `tenfold abort`.", code="TF-MOVE-OPEN"
        )
    click.echo(f"{open_words(move)} Following it.", err=True)
    return _to_its_end(place, asked, move)


def _to_its_end(place: Place, asked: Asked, begun: Facts) -> int:
    move = follow(place, begun["id"], Display())
    if asked.as_json:
        click.echo(json.dumps({"move": move}, indent=2))
    elif move["result"] == "finished":
        click.echo(end_words(move))
    if move["result"] == "finished":
        return 0
    hint = "See `tenfold logs mover`; run it again when that is put right."
    raise TenfoldError(end_words(move), hint=hint, code="TF-UNDONE")
