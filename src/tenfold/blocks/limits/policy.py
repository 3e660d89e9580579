"""The generic cell rate algorithm (GCRA), in whole nanoseconds: values in, values out.

One number is kept for a key: its theoretical arrival time (TAT), when the bucket will be full again. A charge of
`cost` moves it on by `cost` intervals and is allowed while it stays within `tolerance_ns` = burst intervals of now: the
"virtual scheduling algorithm" of ATM Forum, Traffic Management Specification 4.1 (af-tm-0121.000), annex C, with
weights. It is a token bucket (Turner 1986) whose level is worked out from the time instead of being kept.

In any span of time of length t, at most burst + t / interval tokens are allowed; no window has an edge to be gamed.
"""

from __future__ import annotations

from dataclasses import dataclass

NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Terms:
    """The numbers of a limit: one token comes back in `interval_ns`, and `burst` of them fill the bucket."""

    interval_ns: int
    burst: int

    @property
    def tolerance_ns(self) -> int:
        """In how long an empty bucket is full again."""
        return self.interval_ns * self.burst


def arrive(tat_ns: int, now_ns: int, cost: int, terms: Terms) -> tuple[int, int]:
    """(the TAT after a charge of `cost`, by how many nanoseconds that is over the limit).

    Up to 0 it is allowed, and the TAT is to be kept; above 0 it is refused, nothing changes, and the same charge is
    worth trying again after that long.
    """
    after = max(tat_ns, now_ns) + cost * terms.interval_ns
    return after, after - now_ns - terms.tolerance_ns


def converted(tat_ns: int, now_ns: int, was: Terms, becomes: Terms) -> int:
    """The TAT under other terms: what was charged and has not come back stays charged, at most a whole bucket."""
    owed_ns = max(0, tat_ns - now_ns)
    tokens_ns = owed_ns * becomes.interval_ns // was.interval_ns
    return now_ns + min(tokens_ns, becomes.tolerance_ns)


def retry_after_s(wait_s: float, drawn: float) -> int:
    """Whole seconds for Retry-After: at least `wait_s`, and up to 10 % more by `drawn` (0 to 1), so that those who were
    refused together do not come back together. At least 1."""
    return max(1, -int(-wait_s * (1 + 0.1 * drawn) // 1))


def lease_size(terms: Terms) -> int:
    """How many tokens a process prepays: 2 % of the bucket, at most what comes back in 100 ms, at least one."""
    return max(1, min(terms.burst // 50, NS // 10 // terms.interval_ns))


def share(terms: Terms, processes: int) -> Terms:
    """One process's part of a limit while it cannot be shared: as many intervals as there are processes for each token.

    A bucket smaller than the number of processes leaves one token to each.
    """
    return Terms(terms.interval_ns * processes, max(1, terms.burst // processes))
