"""What the commands about moves share: the plan, the question, and following the moves to their end.

A command may need several moves, one after the other. The controller begins each by itself and says what still follows
(`then`), so a command that is killed changes nothing.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import click

from tenfold.cli.main import Context, Interrupted
from tenfold.control.place import Place
from tenfold.control.words import Facts, end_words, open_words, plan_words, progress_words
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.errors import TenfoldError, UsageError
from tenfold.core.journal import read_journal
from tenfold.hosts import wire
from tenfold.moves.base import Kind

PLAN_LIMIT_S, BEGIN_LIMIT_S, LOOK_LIMIT_S = 180.0, 180.0, 10.0
AWAY_LIMIT_S = 60.0
"""How long a controller may be away (it was killed, and is started again) before following is given up."""
BEGUN_LIMIT_S = 20.0
"""How long a move is looked for that may have begun while its controller died."""
NEXT_LIMIT_S = 180.0
"""How long the next of several moves may take until it has begun."""
_LOOK_S = 0.2
_TELL_EVERY_S = 5.0

MISSING = ("TF-PG-MISSING", "TF-HAPROXY-MISSING")
"""Errors for which there is an offer to install."""
LEADS = {
    "climb": ("copy_to_postgres", "put_balancers", "change_nodes"),
    "descend": ("return_to_sqlite", "take_balancers", "change_nodes"),
    "finalize": ("drop_way_back",),
    "scale": ("change_nodes",),
    "deploy": ("change_nodes",),
    "rollback": (),
}
"""By command, the open moves that it follows instead of refusing. A rollback follows none: the open move may well be
the deploy that it is meant to take back, which `tenfold abort` does."""
GOES_ON = (
    "The move goes on without this command: `tenfold status` shows it, the same command follows it again, "
    "`tenfold abort` undoes it."
)


def ask(place: Place, op: str, timeout_s: float = LOOK_LIMIT_S, **fields: object) -> Facts:
    """One operation of the controller."""
    return wire.call(place.run / "controller.sock", {"op": op, **fields}, timeout_s)


# Progress


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
    try:
        while True:
            move = _patiently(place, "move")["move"]
            if move is None or move["id"] != move_id:  # the next one has begun already
                move = next((each for each in _history(place) if each["id"] == move_id), None)
            if move is None:
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


def follow_all(place: Place, move_id: str, display: Display, told: Callable[[Facts], None]) -> list[Facts]:
    """Follows a move and those that come after it by themselves; the facts of all. `told` is called with each but the
    last when it is finished. They end with one that is not finished, if there is one."""
    moves = [follow(place, move_id, display)]
    while moves[-1]["result"] == "finished":
        then = _next_id(place, moves[-1])
        if then is None:
            break
        told(moves[-1])
        moves.append(follow(place, then, display))
    return moves


def _next_id(place: Place, last: Facts) -> str | None:
    """The move that follows `last`, once it has begun; None when none does. Raises why the one that should cannot."""
    since = SYSTEM_CLOCK.monotonic()
    while SYSTEM_CLOCK.monotonic() - since < NEXT_LIMIT_S:
        answer = _patiently(place, "move")
        if answer["move"]["id"] != last["id"]:
            ids = [str(move["id"]) for move in _history(place)]
            return ids[ids.index(last["id"]) + 1]
        if answer["error"]:
            error = wire.error_of(answer["error"])
            text = f"{end_words(last)} What should follow could not begin: {error.message}"
            raise TenfoldError(text, hint=error.hint, code=error.code)
        if not answer["then"]:
            return None
        time.sleep(_LOOK_S)
    raise TenfoldError(
        f"{end_words(last)} What should follow ({', '.join(answer['then'])}) has not begun in {NEXT_LIMIT_S:g} s.",
        hint="See `tenfold logs mover` and `tenfold logs controller`; the same command goes on from here.",
        code="TF-MOVE",
    )


def _history(place: Place) -> list[Facts]:
    return list(_patiently(place, "moves")["moves"])


def _patiently(place: Place, op: str) -> Facts:
    """One question to a controller that may be away for a moment: it was killed, and the moves go on without it."""
    since = SYSTEM_CLOCK.monotonic()
    while True:
        try:
            return ask(place, op)
        except (wire.NotRunning, wire.NoAnswer) as error:
            if SYSTEM_CLOCK.monotonic() - since > AWAY_LIMIT_S:
                raise _lost_sight(error) from error
            time.sleep(_LOOK_S)


def _lost_sight(error: TenfoldError) -> TenfoldError:
    return TenfoldError(
        f"The controller has not answered for {AWAY_LIMIT_S:g} s: {error.message}",
        hint="Nothing is lost: `tenfold up` brings it back, and it goes on with the move.",
        code="TF-NO-ANSWER",
    )


# From a plan to its end


@dataclass(frozen=True)
class Asked:
    """What a command about moves was asked: `op` is climb, descend, finalize, scale, deploy or rollback.

    `fields` go to the controller with it. `again`: asked once more it means the same end, whatever has moved meanwhile
    (`climb 3` does; `climb` alone is one step more each time).
    """

    op: str
    fields: Facts = field(default_factory=dict)
    again: bool = False
    yes: bool = False
    as_json: bool = False


def carry_out(context: Context, asked: Asked) -> int:
    """Prints the plan, asks, applies it with its progress, and says how it ended; 0 when the wanted topology runs."""
    place = Place(context.root())
    try:
        return _carried_out(place, asked)
    except KeyboardInterrupt as interrupt:
        raise interrupt if isinstance(interrupt, Interrupted) else Interrupted("Nothing was begun.") from None


def _carried_out(place: Place, asked: Asked) -> int:
    if not LEADS[asked.op] and (move := ask(place, "move")["move"]) is not None and move["open"]:
        _join(asked, move)
    plan = planned(place, asked)
    if plan["open"] is not None:
        _join(asked, plan["open"])
        ended = _to_their_end(place, asked, plan["open"])
        if not asked.again:
            return ended
        plan = planned(place, asked)
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
        return _to_their_end(place, asked, _begin(place, asked), last=True)
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
    """The plan; when a program is missing, it offers to install it first."""
    tried: set[str] = set()
    while True:
        try:
            return ask(place, "plan", PLAN_LIMIT_S, to=asked.op, **asked.fields)
        except TenfoldError as error:
            if error.code not in MISSING or error.code in tried or not _installed(asked, error.code):
                raise
            tried.add(error.code)


def _installed(asked: Asked, missing: str) -> bool:
    """Offers to install a program; whether it is installed now."""
    from tenfold.control.installing import install, install_offer  # noqa: PLC0415 - only when it is missing

    offer = install_offer(missing)
    if offer is None or asked.as_json or not (asked.yes or sys.stdin.isatty()):
        return False
    if not asked.yes and not click.confirm(offer.question, default=True, err=True):
        return False
    if asked.yes:
        click.echo(offer.question, err=True)
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


def _join(asked: Asked, move: Facts) -> None:
    """A move is open: if it leads to what is asked for, it is followed; else refused."""
    if move["back"] or move["move"] not in LEADS[asked.op]:
        raise UsageError(
            open_words(move), hint="Wait for its end (`tenfold status`), or `tenfold abort`.", code="TF-MOVE-OPEN"
        )
    click.echo(f"{open_words(move)} Following it.", err=True)


def _to_their_end(place: Place, asked: Asked, begun: Facts, *, last: bool = False) -> int:
    """Follows what has begun; 0 when all of it is finished. Raises how it ended otherwise."""

    def tell(move: Facts) -> None:
        click.echo(end_words(move), err=asked.as_json)

    moves = follow_all(place, begun["id"], Display(), tell)
    if asked.as_json and (last or not asked.again):
        click.echo(json.dumps({"move": moves[-1], "moves": moves}, indent=2))
    if moves[-1]["result"] == "finished":
        if not asked.as_json:
            tell(moves[-1])
            version = moves[-1]["facts"].get("version") if asked.op in ("deploy", "rollback") else None
            if version:
                click.echo(f"Version {version} runs.")
        return 0
    hint = _why_back(place, moves[-1]["id"]) or "See `tenfold logs mover`; run it again when that is put right."
    raise TenfoldError(f"{end_words(moves[-1])}{_stays(moves[:-1])}", hint=hint, code="TF-UNDONE")


def _why_back(place: Place, move_id: str) -> str:
    """What the error that turned a move back says is to be done; empty when it says nothing."""
    hint, ours = "", False
    for record in read_journal(place.moves_file):
        if record.kind == Kind.BEGIN:
            ours = record.data["id"] == move_id
        elif ours and record.kind == Kind.BACK:
            hint = str((record.data.get("error") or {}).get("hint") or "")
    return hint


def _stays(before: list[Facts]) -> str:
    """What moves before the one that was undone have brought about is not taken back."""
    names = ", ".join(move["move"] for move in before)
    return f" What went before it stays: {names}." if before else ""
