"""Why a command of ours that ran as a child of the keeper has ended: its own sentence, from its last lines. Pure."""

from __future__ import annotations

from typing import Any

from tenfold.control.crew import failure
from tenfold.core.errors import TenfoldError, UsageError

MARK = "Error: "
"""How the command line begins the sentence of an error."""


def sentence_of(node: str, ended: dict[str, Any]) -> TenfoldError:
    """The error behind the facts of a child that has ended: a sentence, with the lines after it as its hint."""
    said = [line for line in ended.get("tail") or () if line.strip()]
    at = next((number for number, line in enumerate(said) if line.startswith(MARK)), None)
    if at is None:
        return failure(node, ended)
    return UsageError(said[at].removeprefix(MARK), hint=" ".join(said[at + 1 :]), code="TF-DASHBOARD-COMMAND")
