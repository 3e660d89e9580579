"""How a node, and a tier of them, is: from what keeper and node say of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenfold.dashboard.picture.model import Health, Node

Facts = dict[str, Any]

SILENT = "It does not answer."
"""What is said of a node that runs and says neither how it is nor why."""


def health_of(fact: Facts | None, *, wanted: bool = True) -> Health:
    """How a node is; `fact` is what is told of it (None: nobody knows it), `wanted` whether the map has it.

    One that is not in the map is leaving: a new one is written there before it is started.
    """
    if fact is None or fact["state"] in ("failed", "ended", "waiting"):
        return "gone" if wanted else "leaving"
    if fact["state"] == "stopping" or fact.get("draining") or not wanted:
        return "leaving"
    if fact.get("ready", fact["state"] == "running"):
        return "well"
    if fact["state"] == "starting" and not fact.get("crash_loop"):
        return "starting"
    return "ill"


def says_of(fact: Facts | None, health: Health) -> str:
    """Why a node is as it is, in its own words: the reason it gives, the error that it ended with, or that it is
    silent. Empty when there is nothing to say."""
    if fact is None:
        return ""
    if fact.get("reason"):
        return str(fact["reason"])
    error = (fact.get("report") or {}).get("error") if health in ("gone", "ill") else None
    if error:
        return str(error["message"])
    if health == "gone" and fact.get("exit_code") is not None:
        return f"It ended with exit code {fact['exit_code']}."
    if health == "ill" and "epoch" not in fact and fact["state"] == "running":
        return SILENT
    return f"It has ended {fact['restarts']} times." if health == "ill" and fact.get("crash_loop") else ""


def tier_health(nodes: Sequence[Node]) -> Health:
    """How a tier is: `gone` when none of its nodes works, `ill` when one that clients come to does not.

    Nodes without clients count only where there are no others: a new one that starts does no harm.
    """
    serving = [node.health for node in nodes if node.clients] or [node.health for node in nodes]
    if serving and all(health == "gone" for health in serving):
        return "gone"
    worst: tuple[tuple[Health, Health], ...] = (("gone", "ill"), ("ill", "ill"), ("starting", "starting"))
    return next((shown for health, shown in worst if health in serving), "well")
