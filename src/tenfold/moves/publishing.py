"""Maps that a move cannot go on without: who must have taken one over, and the error when somebody has not."""

from __future__ import annotations

from collections.abc import Callable, Collection

from tenfold.core.errors import TenfoldError
from tenfold.moves.context import Context, PublishResult
from tenfold.topology.map import Map


class NotTakenOver(TenfoldError):
    """A process did not take over a map that all of them must have before the move can go on."""

    code = "TF-MOVE-SILENT"


async def publish_to_all(context: Context, change: Callable[[Map], Map]) -> PublishResult:
    """Publishes a map that every process must have; `NotTakenOver` names those that did not take it."""
    result = await context.publish(change)
    refuse_silent(result, result.silent)
    return result


def refuse_silent(result: PublishResult, names: Collection[str]) -> None:
    """Raises `NotTakenOver` when one of these runs and did not take the map over."""
    silent = "; ".join(f"{name}: {why}" for name, why in sorted(result.silent.items()) if name in names)
    if silent:
        raise NotTakenOver(
            f"Not every process of the service took over map {result.epoch}: {silent}.",
            hint="See `tenfold status` and the logs of these nodes, then run the command again.",
        )


def require_all(result: PublishResult, names: Collection[str]) -> None:
    """Raises `NotTakenOver` unless every one of these has taken the map over: one that does not run has not."""
    missing = sorted(set(names) - set(result.acked))
    if missing:
        said = "; ".join(f"{name}: {result.silent.get(name, 'it does not run')}" for name in missing)
        raise NotTakenOver(
            f"Map {result.epoch} was not taken over by all who must have it: {said}.",
            hint=f"See `tenfold logs {missing[0]}`, then run the command again.",
        )


def require_one(result: PublishResult, names: Collection[str]) -> None:
    """Raises `NotTakenOver` when none of these has taken the map over."""
    if not set(names) & set(result.acked):
        require_all(result, names)
