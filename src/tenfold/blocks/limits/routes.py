"""Which limits count a request by themselves: their routes and methods, compiled once for each change of the rules."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tenfold.blocks.limits.rule import Rule

Matched = list[tuple[Rule, str]]
"""Rules with the pattern that the path fits: what the key part `route` is."""


class Routes:
    """The rules that count requests. A path is looked up among exact ones, then fitted to the patterns."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._exact: dict[str, list[tuple[frozenset[str], Rule]]] = {}
        self._patterns: list[tuple[re.Pattern[str], str, frozenset[str], Rule]] = []
        for rule in rules:
            methods = methods_of(rule)
            for route in rule.limit.routes:
                if route.endswith("*") or "{" in route:
                    self._patterns.append((compiled(route), route, methods, rule))
                else:
                    self._exact.setdefault(route, []).append((methods, rule))

    def find(self, method: str, path: str) -> Matched:
        """The rules that count this request, each once (by the first of its routes that fits)."""
        found: dict[Rule, str] = {}
        for methods, rule in self._exact.get(path, ()):
            if not methods or method in methods:
                found[rule] = path
        for pattern, route, methods, rule in self._patterns:
            if rule not in found and (not methods or method in methods) and pattern.fullmatch(path):
                found[rule] = route
        return list(found.items())


def methods_of(rule: Rule) -> frozenset[str]:
    """The methods that a rule counts; empty for all. Whoever may not GET so often may not HEAD either."""
    named = frozenset(rule.limit.methods)
    return named | {"HEAD"} if "GET" in named else named


def compiled(route: str) -> re.Pattern[str]:
    """A route as a pattern: `*` at its end stands for any rest, `{name}` for one segment that is not empty."""
    open_ended = route.endswith("*")
    parts = re.split(r"(\{[^{}/]*\})", route.removesuffix("*"))
    inner = "".join("[^/]+" if part.startswith("{") else re.escape(part) for part in parts)
    return re.compile(inner + (".*" if open_ended else ""), re.DOTALL)
