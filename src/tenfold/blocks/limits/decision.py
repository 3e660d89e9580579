"""What a charge comes to, and the error for those who go over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tenfold.blocks.limits.policy import NS
from tenfold.core.errors import Unavailable

if TYPE_CHECKING:
    from tenfold.blocks.limits.rule import Rule


class Decision(msgspec.Struct, frozen=True, gc=False):
    """Whether a charge is allowed; of several limits, this is the tightest one.

    `over_ns`: by how many nanoseconds the charge is over the limit; 0 and below is within it. `parts`: the decisions on
    each of several limits, in the order in which they were given. `local`: the database is away, and this process
    decided by its own share.
    """

    rule: Rule
    over_ns: int
    parts: tuple[Decision, ...] = ()
    local: bool = False

    @property
    def allowed(self) -> bool:
        """Whether it may go on. A rule in shadow mode refuses nobody."""
        return self.over_ns <= 0 or self.rule.shadow

    @property
    def retry_after_s(self) -> float:
        """Seconds until the same charge would be allowed, if nobody else charges; 0 when it is."""
        return max(0, self.over_ns) / NS

    @property
    def remaining(self) -> int:
        """How many more could be charged at this moment."""
        return self.rule.left(self.over_ns)

    @property
    def reset_s(self) -> float:
        """Seconds until the limit is whole again."""
        return max(0, self.over_ns + self.rule.tolerance_ns) / NS

    def each(self) -> tuple[Decision, ...]:
        """The decisions on all limits that were charged together."""
        return self.parts or (self,)


class LimitExceeded(Unavailable):
    """Too much of something in too short a time: 429 with Retry-After. Surely nothing was done."""

    code = "TF-LIMIT"
    title = "Too many requests"
    status = 429

    def __init__(self, decision: Decision, retry_after_s: float) -> None:
        rule = decision.rule
        super().__init__(
            f'The limit "{rule.name}" ({rule.terms_words}) is reached.',
            hint="Send it again after the seconds that Retry-After says.",
            retry_after_s=retry_after_s,
        )
        self.decision = decision
