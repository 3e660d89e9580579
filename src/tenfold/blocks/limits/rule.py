"""One limit while the service runs: its terms, which a new map may change, and who has charged what."""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice

from tenfold.blocks.limits.policy import Terms, converted
from tenfold.topology.limits import LimitMap, parse_rate

KEYS_MAX = 100_000
"""Keys that one rule remembers in memory; beyond it, those that are nearest to a full bucket are forgotten."""

LOOKED_AT = 8
"""Keys that are looked at to find one to forget."""

Key = str | tuple[str, ...]


class Rule:
    """A limit by name. Made by `tf.limits.rule(...)` or `[[limit]]`; its attributes are for reading.

    `allowed`, `refused` and `shadowed` count decisions in this process: shadowed ones would have been refused.
    """

    __slots__ = (
        "allowed", "burst", "cost", "interval_ns", "keys_max", "limit", "name", "refused", "shadow", "shadowed",
        "tats", "tolerance_ns",
    )  # fmt: skip

    def __init__(self, limit: LimitMap, keys_max: int = KEYS_MAX) -> None:
        self.name = limit.name
        self.keys_max = keys_max
        self.tats: OrderedDict[Key, int] = OrderedDict()
        """Theoretical arrival times of the keys that were charged, in monotonic nanoseconds, the oldest key first."""
        self.allowed = self.refused = self.shadowed = 0
        self._take(limit)

    def _take(self, limit: LimitMap) -> None:
        self.limit = limit
        self.burst = limit.full
        self.cost = limit.cost
        self.shadow = limit.shadow
        self.interval_ns = parse_rate(limit.rate).interval_ns
        self.tolerance_ns = self.interval_ns * self.burst

    def change(self, limit: LimitMap, now_ns: int) -> None:
        """Goes by other terms from now on. What was charged stays charged."""
        was = self.terms
        self._take(limit)
        if self.terms != was:
            for key, tat_ns in self.tats.items():
                self.tats[key] = converted(tat_ns, now_ns, was, self.terms)

    @property
    def terms(self) -> Terms:
        """Its numbers."""
        return Terms(self.interval_ns, self.burst)

    @property
    def terms_words(self) -> str:
        """Its numbers as a person reads them: `20/minute, 5 at once`."""
        return f"{self.limit.rate}, {self.burst} at once"

    def left(self, over_ns: int) -> int:
        """How many tokens are left when the last charge was so far over (or below 0: within) the limit."""
        return max(0, -over_ns) // self.interval_ns

    def keep(self, key: Key, tat_ns: int, now_ns: int) -> None:
        """Remembers a key that was not known; another one is forgotten for it when there are too many."""
        if len(self.tats) >= self.keys_max:
            self._forget_one(now_ns)
        self.tats[key] = tat_ns

    def _forget_one(self, now_ns: int) -> None:
        """Of the oldest few, all whose bucket is full again (nothing is lost with them), or else the fullest one."""
        tats = self.tats
        looked_at = list(islice(tats.items(), LOOKED_AT))
        gone = [key for key, tat_ns in looked_at if tat_ns <= now_ns] or [min(looked_at, key=lambda each: each[1])[0]]
        for key, _ in looked_at:
            tats.move_to_end(key)
        for key in gone:
            del tats[key]

    def __repr__(self) -> str:
        return f"<limit {self.name}: {self.terms_words}>"
