"""Charges against what this process remembers: synchronous, several limits together or none of them."""

from __future__ import annotations

from collections.abc import Sequence

from tenfold.blocks.limits.decision import Decision
from tenfold.blocks.limits.policy import arrive
from tenfold.blocks.limits.rule import Key, Rule

Charge = tuple[Rule, Key, int]


def charge_one(rule: Rule, key: Key, cost: int, now_ns: int) -> Decision:
    """Charges one limit, or refuses and changes nothing. (`policy.arrive`, written out: it runs for each request.)"""
    tats = rule.tats
    tat_ns = tats.get(key)
    if tat_ns is None:
        tat_ns = rule.first(key, now_ns)
        rule.keep(key, tat_ns, now_ns)
    after_ns = (tat_ns if tat_ns > now_ns else now_ns) + cost * rule.interval_ns
    over_ns = after_ns - now_ns - rule.tolerance_ns
    if over_ns > 0:
        return _refused(rule, over_ns)
    rule.allowed += 1
    tats[key] = after_ns
    return Decision(rule, over_ns)


def _refused(rule: Rule, over_ns: int) -> Decision:
    if rule.shadow:
        rule.shadowed += 1
    else:
        rule.refused += 1
    return Decision(rule, over_ns)


def charge_all(charges: Sequence[Charge], now_ns: int) -> Decision:
    """Charges several limits; when one of them refuses, none is charged. A limit in shadow mode refuses nobody."""
    charges = merged(charges)
    parts, after = [], []
    for rule, key, cost in charges:
        tat_ns = rule.tats.get(key)
        if tat_ns is None:
            tat_ns = rule.first(key, now_ns)
            rule.keep(key, tat_ns, now_ns)
        after_ns, over_ns = arrive(tat_ns, now_ns, cost, rule.terms)
        parts.append(Decision(rule, over_ns))
        after.append(after_ns)
    decision = tightest(parts)
    count(decision)
    if decision.allowed:
        for (rule, key, _), part, after_ns in zip(charges, parts, after, strict=True):
            if part.over_ns <= 0:
                rule.tats[key] = after_ns
    return decision


def merged(charges: Sequence[Charge]) -> Sequence[Charge]:
    """The charges with each bucket once: a bucket that was named twice is charged both costs."""
    if len({(id(rule), key) for rule, key, _ in charges}) == len(charges):
        return charges
    costs: dict[tuple[Rule, Key], int] = {}
    for rule, key, cost in charges:
        costs[rule, key] = costs.get((rule, key), 0) + cost
    return [(rule, key, cost) for (rule, key), cost in costs.items()]


def tightest(parts: Sequence[Decision]) -> Decision:
    """The decision on all: the longest wait of those that refuse, else the one with the least left."""
    worst = max(parts, key=_tightness) if len(parts) > 1 else parts[0]
    return Decision(worst.rule, worst.over_ns, tuple(parts), any([part.local for part in parts]))  # noqa: C419 - faster


def _tightness(part: Decision) -> int:
    over_ns = part.over_ns
    if over_ns > 0:
        return 0 if part.rule.shadow else over_ns
    return -(-over_ns // part.rule.interval_ns)


def count(decision: Decision) -> None:
    """Counts what each limit said: refused by those over it, and allowed only when all of them allowed it."""
    allowed = decision.allowed
    for part in decision.parts:
        rule = part.rule
        if part.over_ns <= 0:
            rule.allowed += allowed
        elif rule.shadow:
            rule.shadowed += 1
        else:
            rule.refused += 1
