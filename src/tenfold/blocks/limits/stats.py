"""The numbers of the limits block in one process."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from tenfold.blocks.limits.rule import Rule

_BY_LIMIT = {"label": "limit"}
_GAUGE = {"kind": "gauge"}


@dataclass(frozen=True, slots=True)
class LimitsStats:
    """Decisions by limit since the process began: allowed, refused, and those that only shadow mode let pass.

    `deferred` are refused requests that became jobs, `local` decisions made without the database, `keys` what is
    remembered; `away` is 1 while the database is.
    """

    allowed: dict[str, int] = field(metadata=_BY_LIMIT)
    refused: dict[str, int] = field(metadata=_BY_LIMIT)
    shadowed: dict[str, int] = field(metadata=_BY_LIMIT)
    deferred: int
    local: int
    keys: int = field(metadata=_GAUGE)
    away: int = field(metadata=_GAUGE)


def stats_of(rules: Collection[Rule], *, deferred: int, local: int, purses: int, away: bool) -> LimitsStats:
    """The numbers of these rules."""
    return LimitsStats(
        {rule.name: rule.allowed for rule in rules},
        {rule.name: rule.refused for rule in rules},
        {rule.name: rule.shadowed for rule in rules},
        deferred=deferred,
        local=local,
        keys=sum(len(rule.tats) for rule in rules) + purses,
        away=int(away),
    )
