"""The response fields of draft-ietf-httpapi-ratelimit-headers: `RateLimit-Policy` and `RateLimit` (RFC 9651 lists)."""

from __future__ import annotations

from tenfold.blocks.limits.decision import Decision
from tenfold.blocks.limits.policy import NS
from tenfold.blocks.limits.rule import Rule

Fields = list[tuple[bytes, bytes]]


def fields_of(decision: Decision) -> Fields:
    """What the client is told: each limit with its quota `q` per window of `w` seconds, `r` left, whole in `t` seconds.

    The quota is the burst, and the window is the time in which that comes back: what a client may rely on. Limits in
    shadow mode are nobody's business.
    """
    shown = [part for part in decision.each() if not part.rule.shadow]
    if not shown:
        return []
    return [
        (b"ratelimit-policy", ", ".join(_policy(part.rule) for part in shown).encode("ascii")),
        (b"ratelimit", ", ".join(_state(part) for part in shown).encode("ascii")),
    ]


def _policy(rule: Rule) -> str:
    return f'"{rule.name}";q={rule.burst};w={max(1, -(-rule.tolerance_ns // NS))}'


def _state(part: Decision) -> str:
    # A refused charge was not made, so what is left is what was left before: nothing that would have sufficed.
    if part.over_ns > 0:
        return f'"{part.rule.name}";r=0;t={max(1, -(-part.over_ns // NS))}'
    return f'"{part.rule.name}";r={part.remaining};t={-int(-part.reset_s // 1)}'
