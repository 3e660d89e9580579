"""One limit while the service runs: its terms, which a new map may change, and who has charged what."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from itertools import islice

from tenfold.blocks.limits.policy import Terms, converted
from tenfold.topology.limits import LimitMap, parse_rate

KEYS_MAX = 100_000
"""Keys that one rule remembers in memory; beyond it, those that are nearest to a full bucket are forgotten."""

LOOKED_AT = 8
"""Keys that are looked at to find one to forget."""

Key = str | tuple[str, ...]


def row_name(rule: str, key: Key) -> str:
    """The name under which several processes share a key of a rule: a hash of the key, whatever it is made of."""
    digest = blake2b(digest_size=16)
    for part in (key,) if isinstance(key, str) else key:
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(raw) + raw)
    return f"{rule}/{digest.hexdigest()}"


def forget_one(tats: OrderedDict[Key, int], now_ns: int) -> None:
    """Of the oldest few, all whose bucket is full again (nothing is lost with them), or else the fullest one."""
    looked_at = list(islice(tats.items(), LOOKED_AT))
    gone = [key for key, tat_ns in looked_at if tat_ns <= now_ns] or [min(looked_at, key=lambda each: each[1])[0]]
    for key, _ in looked_at:
        tats.move_to_end(key)
    for key in gone:
        del tats[key]


class Rule:
    """A limit by name. Made by `tf.limits.rule(...)` or `[[limit]]`; its attributes are for reading.

    `allowed`, `refused` and `shadowed` count decisions in this process: shadowed ones would have been refused.
    """

    __slots__ = (
        "allowed", "burst", "cost", "interval_ns", "keys_max", "limit", "name", "refused", "shadow", "shadowed",
        "shares", "tats", "terms", "tolerance_ns", "unclaimed",
    )  # fmt: skip

    def __init__(self, limit: LimitMap, keys_max: int = KEYS_MAX) -> None:
        self.name = limit.name
        self.keys_max = keys_max
        self.tats: OrderedDict[Key, int] = OrderedDict()
        """Theoretical arrival times of the keys that were charged, in monotonic nanoseconds, the oldest key first."""
        self.shares: OrderedDict[Key, int] = OrderedDict()
        """The same for this process's share of the limit, while the database is away."""
        self.unclaimed: dict[str, int] = {}
        """TATs by the name of their row: what was charged before this process was alone, until its key comes by."""
        self.allowed = self.refused = self.shadowed = 0
        self._take(limit)

    def _take(self, limit: LimitMap) -> None:
        self.limit = limit
        self.burst = limit.full
        self.cost = limit.cost
        self.shadow = limit.shadow
        self.interval_ns = parse_rate(limit.rate).interval_ns
        self.terms = Terms(self.interval_ns, self.burst)
        self.tolerance_ns = self.terms.tolerance_ns

    def change(self, limit: LimitMap, now_ns: int) -> None:
        """Goes by other terms from now on. What was charged stays charged."""
        was = self.terms
        self._take(limit)
        if self.terms != was:
            for tats in (self.tats, self.shares, self.unclaimed):
                for key, tat_ns in tats.items():
                    tats[key] = converted(tat_ns, now_ns, was, self.terms)  # type: ignore[index]

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
            forget_one(self.tats, now_ns)
        self.tats[key] = tat_ns

    def first(self, key: Key, now_ns: int) -> int:
        """The TAT of a key that is not known here: that of its row, if it has one."""
        return max(self.unclaimed.pop(row_name(self.name, key), 0), now_ns) if self.unclaimed else now_ns

    def forget_past(self, now_ns: int) -> bool:
        """Forgets what nobody came by for, and what is over by now; whether some is left."""
        if self.unclaimed:
            self.unclaimed = {name: tat_ns for name, tat_ns in self.unclaimed.items() if tat_ns > now_ns}
        return bool(self.unclaimed)

    def keep_share(self, key: Key, tat_ns: int, now_ns: int) -> None:
        """Remembers what a key has of this process's share."""
        if len(self.shares) >= self.keys_max and key not in self.shares:
            forget_one(self.shares, now_ns)
        self.shares[key] = tat_ns

    def return_share(self, key: Key, ns: int) -> None:
        """What was charged to a key's share was not used."""
        if key in self.shares:
            self.shares[key] -= ns

    def owed(self, now_ns: int) -> dict[str, int]:
        """By the name of its row, by how many nanoseconds a key's bucket is not full; only those that are not."""
        return {row_name(self.name, key): tat_ns - now_ns for key, tat_ns in self.tats.items() if tat_ns > now_ns}

    def __repr__(self) -> str:
        return f"<limit {self.name}: {self.terms_words}>"
