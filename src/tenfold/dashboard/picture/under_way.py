"""The open move, as the picture shows it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tenfold.dashboard.picture.model import MoveNow, StageNow

Facts = dict[str, Any]


def move_now(move: Facts | None, at_us: int) -> MoveNow | None:
    """The open move from what the controller tells of it (`move`); None when none is open.

    `held_ms` goes on while writes wait: it is counted until `at_us` (microseconds since 1970).
    """
    if not move or not move["open"]:
        return None
    progress = move.get("progress") or {}
    problem = move.get("problem") or {}
    return MoveNow(
        id=str(move["id"]),
        name=str(move["move"]),
        title=str(move.get("title") or move["move"].replace("_", " ")),
        stages=tuple(_stages(move)),
        back=bool(move["back"]),
        decided=bool(move["decided"]),
        reason=str(move["reason"] or problem.get("message") or ""),
        doing=str(progress.get("doing") or ""),
        done=float(progress.get("done") or 0),
        total=float(progress.get("total") or 0),
        unit=str(progress.get("unit") or ""),
        rate=float(progress.get("rate") or 0),
        left_s=progress.get("left_s"),
        held_ms=_held_ms(move, at_us),
    )


def _stages(move: Facts) -> Iterator[StageNow]:
    """The stages in order. On the way back, what was begun and is not undone yet counts as done."""
    says = tuple(move.get("says") or ())
    for at, name in enumerate(move["stages"]):
        yield StageNow(
            name=name,
            says=says[at] if at < len(says) else "",
            state=_stage_state(move, name),
            holds=name in move["holds"],
            decides=name == move["no_return"],
        )


def _stage_state(move: Facts, name: str) -> Any:
    if name == move["stage"]:
        return "now"
    left = set(move["begun"]) - set(move["undone"]) if move["back"] else set(move["done"])
    return "done" if name in left else "to come"


def _held_ms(move: Facts, at_us: int) -> float:
    held = float((move.get("facts") or {}).get("held_ms") or 0.0)
    since = int(move.get("held_since_us") or 0)
    return held + max(at_us - since, 0) / 1000 if since else held
