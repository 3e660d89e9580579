"""The report of a run: one HTML page with everything in it, for people.

The tables are plain HTML and say all that matters; the timeline is drawn from embedded JSON by a small script. A long
run is thinned for the drawing only (`drawn_marks`): percentiles, counts and rows of nodes are over every operation.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import msgspec

from tenfold.prove.history import Operation, Recording, Status, Window
from tenfold.prove.verdict import Anomaly, Outcome, Verdict, passed

MARKS = 20_000
FAILURES = 14_000
SLOWEST = 2_000
ROWS = 48
SLOTS = 1_200
NODES = 32
HELD_US = 1_000_000
"""A request that took this long is drawn as a bar from when it was due to when it was answered."""
TABLE_ROWS = 12
FAULT_ROWS = 1_000
TEXT_MAX = 300

_STATUSES = (Status.OK, Status.FAIL, Status.UNKNOWN)
_QUANTILES = (0.5, 0.95, 0.99, 0.999)
_SHAPES = {
    Outcome.HOLDS: '<circle cx="6" cy="6" r="5.5" fill="currentColor"/><path d="M3.3 6.3l2 2 3.5-4" fill="none" '
    'stroke="var(--card)" stroke-width="1.5"/>',
    Outcome.BROKEN: '<path d="M3.7 .5h4.6l3.2 3.2v4.6l-3.2 3.2H3.7L.5 8.3V3.7Z" fill="currentColor"/>'
    '<path d="M4 4l4 4M8 4l-4 4" fill="none" stroke="var(--card)" stroke-width="1.5"/>',
    Outcome.VACUOUS: '<path d="M6 1.2L11.2 11H.8Z" fill="none" stroke="currentColor" stroke-width="1.5"/>'
    '<path d="M6 4.6v3M6 8.6v1.1" stroke="currentColor" stroke-width="1.3"/>',
    Outcome.NOT_RUN: '<path d="M1.5 6h9" stroke="currentColor" stroke-width="2" stroke-dasharray="2.4 1"/>',
}


def render(recording: Recording, verdicts: Sequence[Verdict], *, title: str, facts: Mapping[str, Any]) -> str:
    """The report as the text of one HTML file that needs nothing else.

    `facts` are added to those of the recording. Three of them have a meaning: `partial` (true, or why) marks the run
    as interrupted, `command` is what repeats it, and `notes` (texts) are shown at the top.
    """
    known = {**recording.facts, **facts}
    parts = {
        "title": escape(title),
        "said": _said(verdicts),
        "loud": _loud(known, recording.notes),
        "tiles": _tiles(recording),
        "verdicts": _verdict_table(verdicts, _origin(recording)),
        "held": duration(HELD_US),
        "latency": _latency_table(recording),
        "faults": _fault_table(recording),
        "nodes": _node_table(recording),
        "repeat": _repeat(recording.seed, known),
        **_timeline(recording),
    }
    page = files(__package__).joinpath("report.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], page)


def drawn_marks(operations: Sequence[Operation]) -> list[tuple[Operation, int]]:
    """What the timeline draws: operations in the order of time, and how many each stands for; about `MARKS` of them.

    Every failure (up to `FAILURES`, then evenly thinned) and the slowest are drawn as they are; of the others, one for
    each cell of a grid over time and the logarithm of the latency.
    """
    if len(operations) <= MARKS:
        return [(operation, 1) for operation in operations]
    failures = [operation for operation in operations if operation.status is not Status.OK]
    passing = sorted((each for each in operations if each.status is Status.OK), key=lambda each: each.latency_us)
    step = max(1, math.ceil(len(failures) / FAILURES))
    marks = [(operation, min(step, len(failures) - i)) for i, operation in enumerate(failures) if i % step == 0]
    marks += [(operation, 1) for operation in passing[-SLOWEST:]]
    marks += _gridded(sorted(passing[:-SLOWEST], key=lambda each: each.start_us), MARKS - len(marks))
    return sorted(marks, key=lambda mark: mark[0].start_us)


def _gridded(operations: Sequence[Operation], room: int) -> list[tuple[Operation, int]]:
    if len(operations) <= room:
        return [(operation, 1) for operation in operations]
    begin = min(operation.start_us for operation in operations)
    span = max(operation.start_us for operation in operations) - begin + 1
    columns = 2 * SLOTS
    while True:
        cells: dict[tuple[int, int], list[Any]] = {}
        for operation in operations:
            row = int(math.log10(max(1, operation.latency_us)) * ROWS / 4)
            cell = cells.setdefault(((operation.start_us - begin) * columns // span, row), [operation, 0])
            cell[1] += 1
        if len(cells) <= room or columns == 1:
            return [(operation, count) for operation, count in cells.values()]
        columns //= 2


def percentile(ordered: Sequence[int], share: float) -> int:
    """The smallest of the values in order that at least this share of them does not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def duration(us: float) -> str:
    """Microseconds as a person reads them: `850 µs`, `12.3 ms`, `4.56 s`."""
    if us < 999.5:
        return f"{us:.0f} µs"
    for unit, size in (("ms", 1e3), ("s", 1e6)):
        if us < 999_500 or unit == "s":
            value = us / size
            return f"{value:,.0f} {unit}" if value >= 99.95 else f"{value:.3g} {unit}"
    raise AssertionError("seconds are the last unit")


def rate(bound: float | None) -> str:
    """A bound on the rate of violations, in words: `at most 1 in 100 (1 %)`, rounded to what was really proven."""
    if bound is None:
        return "–"
    if bound >= 1 or bound <= 0:
        return "no bound: too few trials"
    size = 10.0 ** (1 - math.floor(math.log10(bound * 100)))
    percent = f"{math.ceil(bound * 100 * size - 1e-9) / size:.2g}\u00a0%"
    return f"at most 1 in {math.floor(1 / bound + 1e-9):,} ({percent})" if bound <= 0.1 else f"at most {percent}"


def embedded(value: Any) -> str:
    """JSON that may stand inside a `<script>` element: nothing in it can end the element or open a comment."""
    text = json.dumps(value, separators=(",", ":"), default=str)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _said(verdicts: Sequence[Verdict]) -> str:
    counts = Counter(verdict.verdict for verdict in verdicts)
    told = " · ".join(f"{outcome.value} {counts[outcome]}" for outcome in Outcome if counts[outcome])
    if passed(verdicts):
        return f"<strong>Everything that was judged holds.</strong> {told}"
    if counts[Outcome.BROKEN]:
        return f"<strong>A promise is broken.</strong> {told}"
    return f"<strong>Nothing is proven.</strong> {told or 'No promise was judged.'}"


def _loud(known: Mapping[str, Any], notes: Iterable[str]) -> str:
    said = [*notes, *(str(note) for note in known.get("notes", ()))]
    partial = known.get("partial", False)
    why = "" if isinstance(partial, bool) else f"{partial}. "
    text = [f"<p>{escape(note)}</p>" for note in said]
    if partial:
        warning = "It ended before its plan did. What is here was judged as far as it went and is not the whole proof."
        text.insert(0, f"<p><strong>Partial run.</strong> {escape(why)}{warning}</p>")
    return f'<div class="loud" role="note">{"".join(text)}</div>' if text else ""


def _tiles(recording: Recording) -> str:
    counts = Counter(operation.status for operation in recording.operations)
    held = sum(operation.latency_us >= HELD_US for operation in recording.operations)
    tiles = [
        ("", "requests", f"{len(recording.operations):,}"),
        ("ok", "ok", f"{counts[Status.OK]:,}"),
        ("fail" if counts[Status.FAIL] else "", "failed", f"{counts[Status.FAIL]:,}"),
        ("unknown" if counts[Status.UNKNOWN] else "", "unknown", f"{counts[Status.UNKNOWN]:,}"),
        ("", f"held {duration(HELD_US)} or longer", f"{held:,}"),
        ("", "faults and moves", f"{len(recording.windows):,}"),
        ("", "length", duration(_end(recording) - _origin(recording))),
        ("", "seed", str(recording.seed)),
    ]
    return "".join(f'<div class="{kind}"><dt>{name}</dt><dd>{value}</dd></div>' for kind, name, value in tiles)


def _verdict_table(verdicts: Sequence[Verdict], origin: int) -> str:
    rows = "".join(_verdict_row(verdict, origin) for verdict in verdicts)
    if not rows:
        return "<p>No promise was judged.</p>"
    head = _head("promise", "verdict", "#n", "bound on violations (95 %)", "detail")
    return f'<table class="stack" role="table">{head}<tbody role="rowgroup">{rows}</tbody></table>'


def _verdict_row(verdict: Verdict, origin: int) -> str:
    more = _parts(verdict) + _evidence(verdict, origin)
    return (
        f'<tr role="row"><th role="rowheader" scope="row">{escape(verdict.id)}</th>'
        f'<td role="cell">{_badge(verdict.verdict)}</td>'
        f'<td role="cell" class="number" data-label="n">{verdict.n:,}</td>'
        f'<td role="cell" data-label="bound (95 %)">{rate(verdict.bound)}</td>'
        f'<td role="cell">{escape(verdict.detail)}{more}</td></tr>'
    )


def _badge(outcome: Outcome) -> str:
    shape = f'<svg viewBox="0 0 12 12" aria-hidden="true">{_SHAPES[outcome]}</svg>'
    return f'<span class="badge {outcome.value.replace(" ", "-")}">{shape}{outcome.value}</span>'


def _parts(verdict: Verdict) -> str:
    if len(verdict.parts) < 2:
        return ""
    rows = "".join(
        f"<tr><td>{escape(part.workload)}</td><td>{escape(part.checker)}</td><td>{_badge(part.verdict)}</td>"
        f'<td class="number">{part.n:,}</td><td>{escape(part.detail)}</td></tr>'
        for part in verdict.parts
    )
    head = _head("workload", "checker", "verdict", "#n", "detail")
    table = f'<table class="parts">{head}<tbody>{rows}</tbody></table>'
    return f"<details><summary>{len(verdict.parts)} parts</summary>{_scroll(table, 'Parts of ' + verdict.id)}</details>"


def _evidence(verdict: Verdict, origin: int) -> str:
    if not verdict.evidence:
        return ""
    found = "".join(_anomaly(anomaly, origin) for anomaly in verdict.evidence)
    total = max(sum(verdict.anomalies.values()), len(verdict.evidence))
    return f"<details open><summary>Evidence: {len(verdict.evidence)} of {total:,} shown</summary>{found}</details>"


def _anomaly(anomaly: Anomaly, origin: int) -> str:
    key = f" <code>{escape(anomaly.key)}</code>" if anomaly.key else ""
    told = f'<div class="anomaly"><strong>{escape(anomaly.name)}</strong>{key}<br>{escape(anomaly.sentence)}'
    rows = "".join(_operation_row(operation, origin) for operation in anomaly.operations)
    head = _head("client", "function", "key", "value", "#sent", "#ended", "status", "node")
    table = f"<table>{head}<tbody>{rows}</tbody></table>" if rows else ""
    return f"{told}{_scroll(table, 'Operations that show it')}</div>"


def _operation_row(operation: Operation, origin: int) -> str:
    status = f"{operation.status.value} ({operation.http})" if operation.http else operation.status.value
    sent, ended = _at(operation.sent_us, origin), _at(operation.end_us, origin)
    return (
        f"<tr><td>{operation.process}</td><td>{escape(operation.function)}</td>"
        f'<td class="value">{escape(_short(operation.key))}</td>'
        f'<td class="value">{escape(_short(operation.value))}</td>'
        f'<td class="number">{sent}</td><td class="number">{ended}</td>'
        f"<td>{status}</td><td>{escape(operation.node or '–')}</td></tr>"
    )


def _latency_table(recording: Recording) -> str:
    spans = _merged(recording.windows)
    groups: dict[str, list[Operation]] = {"all requests": list(recording.operations)}
    if spans:
        inside = [_meets(operation, spans) for operation in recording.operations]
        pairs = list(zip(recording.operations, inside, strict=True))
        groups["during a fault or move"] = [operation for operation, met in pairs if met]
        groups["outside of them"] = [operation for operation, met in pairs if not met]
    for operation in recording.operations:
        if operation.workload:
            groups.setdefault(f"workload {operation.workload}", []).append(operation)
    rows = "".join(_latency_row(name, group) for name, group in groups.items())
    head = _head("", "#requests", "#ok", "#failed", "#unknown", "#p50", "#p95", "#p99", "#p99.9", "#slowest")
    caption = "<caption>Latency counts from when a request was due, whatever became of it.</caption>"
    return _scroll(f"<table>{caption}{head}<tbody>{rows}</tbody></table>", "Latency and outcomes")


def _latency_row(name: str, operations: Sequence[Operation]) -> str:
    counts = Counter(operation.status for operation in operations)
    ordered = sorted(operation.latency_us for operation in operations)
    cells = [f"{len(operations):,}", *(f"{counts[status]:,}" for status in _STATUSES)]
    cells += [duration(percentile(ordered, share)) if ordered else "–" for share in (*_QUANTILES, 1.0)]
    numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
    return f'<tr><th scope="row">{escape(name)}</th>{numbers}</tr>'


def _merged(windows: Sequence[Window]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for window in sorted(windows, key=lambda each: each.start_us):
        if spans and window.start_us <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], window.end_us))
        else:
            spans.append((window.start_us, window.end_us))
    return spans


def _meets(operation: Operation, spans: Sequence[tuple[int, int]]) -> bool:
    last = bisect_right(spans, (operation.end_us, math.inf)) - 1
    return last >= 0 and spans[last][1] >= operation.start_us


def _fault_table(recording: Recording) -> str:
    if not recording.windows:
        return "<p>None: this run shows only how the service does in peace.</p>"
    origin, shown = _origin(recording), recording.windows[:FAULT_ROWS]
    rows = "".join(
        f'<tr><th scope="row">{escape(window.kind)} {escape(window.target)}</th>'
        f'<td class="number">{_at(window.start_us, origin)}</td><td class="number">{_at(window.end_us, origin)}</td>'
        f"<td>{'seen' if window.effect else '<strong>none seen</strong>'}{_detail(window)}</td></tr>"
        for window in shown
    )
    table = f"<table>{_head('what', '#from', '#to', 'effect')}<tbody>{rows}</tbody></table>"
    kinds = Counter(window.kind for window in recording.windows)
    told = ", ".join(f"{count} × {escape(kind)}" for kind, count in sorted(kinds.items()))
    cut = f" The first {FAULT_ROWS:,} are listed." if len(shown) < len(recording.windows) else ""
    return f"<p>{told}.{cut}</p>{_folded(_scroll(table, 'Faults and moves'), len(shown))}"


def _detail(window: Window) -> str:
    return f": {escape(window.detail)}" if window.detail else ""


def _node_table(recording: Recording) -> str:
    origin, rows = _origin(recording), ""
    answers = _answers(recording.operations)
    for name, ends in answers.items():
        gap, at = max(((b - a, a) for a, b in itertools.pairwise(ends)), default=(0, ends[0]))
        rows += (
            f'<tr><th scope="row">{escape(name)}</th><td class="number">{len(ends):,}</td>'
            f'<td class="number">{_at(ends[0], origin)}</td><td class="number">{_at(ends[-1], origin)}</td>'
            f'<td class="number">{duration(gap)}<br><small>from {_at(at, origin)}</small></td></tr>'
        )
    head = _head("node", "#answers", "#first", "#last", "#longest silence")
    table = _scroll(f"<table>{head}<tbody>{rows}</tbody></table>", "Nodes")
    return _folded(table, len(answers)) if rows else "<p>No answer named the node that it came from.</p>"


def _answers(operations: Sequence[Operation]) -> dict[str, list[int]]:
    """When each node answered, in order; an answer that names no node is nobody's."""
    ends: dict[str, list[int]] = {}
    for operation in operations:
        if operation.node:
            ends.setdefault(operation.node, []).append(operation.end_us)
    return {name: sorted(ends[name]) for name in sorted(ends)}


def _repeat(seed: int, known: Mapping[str, Any]) -> str:
    command = str(known.get("command", f"tenfold prove --seed {seed}"))
    told = f"<p>The seed repeats the schedule of requests and faults.</p><pre><code>{escape(command)}</code></pre>"
    rest = {name: value for name, value in known.items() if name not in ("command", "notes", "partial")}
    rows = "".join(
        f'<tr><th scope="row">{escape(str(name))}</th><td class="value">{escape(_short(value))}</td></tr>'
        for name, value in rest.items()
    )
    return told + (f"<table><caption>About this run</caption><tbody>{rows}</tbody></table>" if rows else "")


def _timeline(recording: Recording) -> dict[str, str]:
    marks = drawn_marks(recording.operations)
    origin, total = _origin(recording), len(recording.operations)
    drawn = f"All {total:,} requests are drawn."
    if len(marks) < total:
        drawn = f"{total:,} requests are drawn as {len(marks):,} marks: the slowest and the failures each by itself"
        thinned = any(count > 1 for each, count in marks if each.status is not Status.OK)
        drawn += " as far as there was room" if thinned else ""
        drawn += ", the others by one mark for many alike. The tables count every request."
    length = duration(_end(recording) - origin)
    nodes = _answers(recording.operations)
    alternative = f"Latency of {total:,} requests over {length}, with {len(recording.windows):,} faults or moves and"
    if len(nodes) > NODES:
        drawn += f" The first {NODES} of {len(nodes)} nodes have a row."
    data = {
        "span": max(1, _end(recording) - origin),
        "held": HELD_US,
        "slots": SLOTS,
        "faults": [_fault(window, origin) for window in recording.windows],
        "rates": _rates(recording),
        "nodes": [{"name": name, "answers": _slotted(nodes[name], recording)} for name in list(nodes)[:NODES]],
        **_columns(marks, origin),
    }
    told = f"{alternative} a row for each of {len(nodes)} nodes. The tables below say the same in text."
    return {"data": embedded(data), "drawn": escape(drawn), "alternative": escape(told)}


def _fault(window: Window, origin: int) -> dict[str, Any]:
    begin, end = window.start_us - origin, window.end_us - origin
    return {"kind": window.kind, "target": window.target, "from": begin, "to": end, "effect": window.effect}


def _columns(marks: Sequence[tuple[Operation, int]], origin: int) -> dict[str, Any]:
    labels: dict[str, int] = {}
    names = [" · ".join(filter(None, (each.workload, each.function, each.node))) for each, _ in marks]
    columns = {
        "t": [operation.start_us - origin for operation, _ in marks],
        "l": [operation.latency_us for operation, _ in marks],
        "s": [_STATUSES.index(operation.status) for operation, _ in marks],
        "c": [count for _, count in marks],
        "w": [labels.setdefault(name, len(labels)) for name in names],
    }
    return {"marks": columns, "labels": list(labels)}


def _rates(recording: Recording) -> list[list[int]]:
    return [
        _slotted([each.start_us for each in recording.operations if each.status is status], recording)
        for status in _STATUSES
    ]


def _slotted(times: Iterable[int], recording: Recording) -> list[int]:
    """How many of the times fall into each of `SLOTS` equal parts of the run."""
    counts, origin = [0] * SLOTS, _origin(recording)
    span = max(1, _end(recording) - origin)
    for time in times:
        counts[min(SLOTS - 1, (time - origin) * SLOTS // span)] += 1
    return counts


def _origin(recording: Recording) -> int:
    """The first thing that was due; both are in the order of their start."""
    return min((each[0].start_us for each in (recording.operations, recording.windows) if each), default=0)


def _end(recording: Recording) -> int:
    last = max((operation.end_us for operation in recording.operations), default=0)
    return max(last, max((window.end_us for window in recording.windows), default=0))


def _at(time: int, origin: int) -> str:
    return f"{(time - origin) / 1e6:.3f} s"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=str).decode()
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}…"


def _head(*names: str) -> str:
    """The head of a table; a name that starts with `#` is a column of numbers."""
    cells = (
        f'<th scope="col" class="number">{name[1:]}</th>' if name.startswith("#") else f'<th scope="col">{name}</th>'
        for name in names
    )
    return f"<thead><tr>{''.join(cells)}</tr></thead>".replace('<th scope="col"></th>', "<td></td>")


def _scroll(table: str, name: str) -> str:
    label = escape(name)
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{label}">{table}</div>' if table else ""


def _folded(table: str, rows: int) -> str:
    return table if rows <= TABLE_ROWS else f"<details><summary>All {rows:,}</summary>{table}</details>"
