"""The limits block: how often somebody may do something (GCRA), several limits charged together or not at all."""

from __future__ import annotations

from tenfold.blocks.limits.block import Limits
from tenfold.blocks.limits.decision import Decision, LimitExceeded
from tenfold.blocks.limits.rule import Rule

__all__ = ["Decision", "LimitExceeded", "Limits", "Rule"]
