"""From what a checker found to a verdict per promise.

A promise *holds* only when enough happened for it to have been broken. Therefore three ways not to hold: `broken` (an
anomaly, with the operations that show it), `vacuous` (nothing was judged, no fault had an effect, or something that
must happen sometimes never did), `not run` (this machine or user could not do it). Nothing becomes success silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from tenfold.prove.history import Operation, Window

EVIDENCE_MAX = 5
"""Anomalies of one name that are kept with their operations; all of them are counted."""
VALUES_MAX = 20
RULE_OF_THREE = 3.0


class Outcome(StrEnum):
    """What a run says about a promise."""

    HOLDS = "holds"
    BROKEN = "broken"
    VACUOUS = "vacuous"
    NOT_RUN = "not run"


class Anomaly(msgspec.Struct, frozen=True, omit_defaults=True):
    """One violation: its name (`lost`, `stale-read` ...), one sentence, and the operations that show it."""

    name: str
    key: str
    sentence: str
    operations: tuple[Operation, ...] = ()


class Findings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a checker has found. `n` is how many `unit`s it judged, `anomalies` counts violations by name.

    `evidence` keeps the first few of each name; `figures` is what is worth knowing and is no violation.
    """

    checker: str
    n: int
    unit: str
    anomalies: dict[str, int] = {}
    evidence: tuple[Anomaly, ...] = ()
    figures: dict[str, float] = {}

    @property
    def clean(self) -> bool:
        """Whether there is no violation."""
        return not self.anomalies


class Finder:
    """Collects the anomalies of one check: counts all, keeps the operations of the first few of each name."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._kept: list[Anomaly] = []

    def add(self, name: str, key: str, sentence: str, *operations: Operation) -> None:
        """Counts one violation."""
        count = self._counts[name] = self._counts.get(name, 0) + 1
        if count <= EVIDENCE_MAX:
            self._kept.append(Anomaly(name, key, sentence, tuple(map(trimmed, operations))))

    def findings(self, checker: str, n: int, unit: str, figures: dict[str, float] | None = None) -> Findings:
        """What was found, as a value."""
        return Findings(checker, n, unit, dict(self._counts), tuple(self._kept), figures or {})


def trimmed(operation: Operation) -> Operation:
    """The operation with a long list of values replaced by their number: evidence is for people to read."""
    value = operation.value
    if isinstance(value, list | tuple | set | frozenset | dict) and len(value) > VALUES_MAX:
        return msgspec.structs.replace(operation, value=f"{len(value)} values")
    return operation


class Sometimes(msgspec.Struct, frozen=True):
    """Something that must have happened in a run for its outcome to mean anything, and how often it did."""

    name: str
    happened: int


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run says about one promise (`id`: `P1`...), by one checker over one workload, or combined from `parts`.

    `bound` is what `n` clean trials say about the rate of violations: at most that, with 95 % confidence (see
    `rule_of_three`); it is there only when the promise holds.
    """

    id: str
    verdict: Outcome
    n: int
    unit: str = ""
    detail: str = ""
    workload: str = ""
    checker: str = ""
    bound: float | None = None
    anomalies: dict[str, int] = {}
    evidence: tuple[Anomaly, ...] = ()
    figures: dict[str, float] = {}
    parts: tuple[Verdict, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether a run with this verdict may exit with 0: it holds, or was openly not run."""
        return self.verdict in (Outcome.HOLDS, Outcome.NOT_RUN)


def rule_of_three(n: int) -> float | None:
    """The highest rate of failures that `n` independent trials without one leave possible (95 %); None without trials.

    Hanley and Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249 (1983).
    """
    return min(1.0, RULE_OF_THREE / n) if n > 0 else None


def faults_took_effect(windows: Iterable[Window]) -> list[Sometimes]:
    """One assertion a kind of fault: at least one of that kind was seen to do something."""
    effects: dict[str, int] = {}
    for window in windows:
        effects[window.kind] = effects.get(window.kind, 0) + window.effect
    return [Sometimes(f"a fault '{kind}' had an effect", count) for kind, count in sorted(effects.items())]


def judge(promise: str, findings: Findings, *, workload: str = "", sometimes: Sequence[Sometimes] = ()) -> Verdict:
    """The verdict of one checker: broken on any anomaly, else vacuous without trials or a needed event, else holds."""
    outcome, detail = Outcome.HOLDS, f"0 violations in {findings.n} {findings.unit}"
    missing = [assertion.name for assertion in sometimes if assertion.happened <= 0]
    if not findings.clean:
        counts = ", ".join(f"{count} {name}" for name, count in sorted(findings.anomalies.items()))
        outcome, detail = Outcome.BROKEN, f"{counts} in {findings.n} {findings.unit}"
    elif findings.n <= 0:
        outcome, detail = Outcome.VACUOUS, f"no {findings.unit} to judge"
    elif missing:
        outcome, detail = Outcome.VACUOUS, f"never happened: {'; '.join(missing)}"
    return Verdict(
        id=promise,
        verdict=outcome,
        n=findings.n,
        unit=findings.unit,
        detail=detail,
        workload=workload,
        checker=findings.checker,
        bound=rule_of_three(findings.n) if outcome is Outcome.HOLDS else None,
        anomalies=findings.anomalies,
        evidence=findings.evidence,
        figures=findings.figures,
    )


def not_run(promise: str, why: str, *, workload: str = "") -> Verdict:
    """The verdict for what this machine or user cannot do; `why` is a phrase such as "needs root"."""
    return Verdict(id=promise, verdict=Outcome.NOT_RUN, n=0, detail=why, workload=workload)


_WORST_FIRST = (Outcome.BROKEN, Outcome.VACUOUS, Outcome.HOLDS, Outcome.NOT_RUN)


def combine(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """One verdict a promise, in the order of their ids: the worst of its parts counts.

    Parts that were not run never hide: beside others that hold, the detail names them.
    """
    by_promise: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_promise.setdefault(verdict.id, []).append(verdict)
    return [_combined(promise, by_promise[promise]) for promise in sorted(by_promise, key=_order)]


def _combined(promise: str, parts: list[Verdict]) -> Verdict:
    outcome = next(worst for worst in _WORST_FIRST if any(part.verdict is worst for part in parts))
    told = [part for part in parts if part.verdict in (outcome, Outcome.NOT_RUN)]
    # Parts judge the same operations from several sides, so their sum would promise too much.
    largest = max(parts, key=lambda part: part.n)
    n = largest.n
    return Verdict(
        id=promise,
        verdict=outcome,
        n=n,
        unit=largest.unit,
        detail="; ".join(_told(part, outcome) for part in told),
        bound=rule_of_three(n) if outcome is Outcome.HOLDS else None,
        anomalies=_sum(part.anomalies for part in parts),
        evidence=tuple(anomaly for part in parts for anomaly in part.evidence),
        parts=tuple(parts),
    )


def _told(part: Verdict, outcome: Outcome) -> str:
    name = part.workload or part.checker
    hidden = "not run: " if part.verdict is Outcome.NOT_RUN and outcome is not Outcome.NOT_RUN else ""
    return f"{name}: {hidden}{part.detail}" if name else f"{hidden}{part.detail}"


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total


def _order(promise: str) -> tuple[int, str]:
    """P2 before P10."""
    digits = promise.lstrip("P")
    return (int(digits), promise) if digits.isdigit() else (10_000, promise)


def passed(verdicts: Iterable[Verdict]) -> bool:
    """Whether a run may exit with 0: nothing is broken or vacuous, and something was proven."""
    found = list(verdicts)
    return all(verdict.passed for verdict in found) and any(verdict.verdict is Outcome.HOLDS for verdict in found)


def as_json(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """The verdicts as plain values for `--json` and the report."""
    plain: list[dict[str, Any]] = msgspec.to_builtins(list(verdicts))
    return plain
