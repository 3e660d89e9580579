"""Ids that were drawn: is each given out once, and does each drawing process count upwards?

Source: the `unique-ids` checker of Jepsen (Kingsbury), with the order within a process that the ids block promises.
Draws of one process are ordered only as far as clients can tell: one that ended before another was sent must be lower.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from tenfold.prove.checkers.common import is_number, sweep
from tenfold.prove.history import Operation, Status
from tenfold.prove.verdict import Finder, Findings

CHECKER = "unique-ids"


def node_unless_keyed(operation: Operation) -> Hashable:
    """Who drew an id in order: the node; nobody for keyed requests, whose ids are derived from their key."""
    return None if operation.keyed else operation.node


def check(
    operations: Iterable[Operation],
    *,
    draw: str = "draw",
    ordered_by: Callable[[Operation], Hashable] | None = node_unless_keyed,
) -> Findings:
    """Judges each key of a history as one kind of id; an ok `draw` carries one id (int or text) or a list in draw
    order.

    `ordered_by` names the process that drew (None: no order is promised for that operation); None switches the order
    off. Names `id-twice`, `id-out-of-order`, `not-an-id`. `n` counts the ids. Figures: `keyed` (ids of keyed requests).
    """
    finder = Finder()
    drawn = [each for each in operations if each.function == draw and each.status is Status.OK]
    count = 0
    keyed = 0
    owners: dict[tuple[str, Hashable], Operation] = {}
    for operation in drawn:
        ids = _ids(operation)
        count += len(ids)
        keyed += len(ids) * operation.keyed
        for drawn_id in ids:
            _own(operation, drawn_id, owners, finder)
    if ordered_by is not None:
        for (key, _), group in _by_process(drawn, ordered_by).items():
            _ordered(key, group, finder)
    return finder.findings(CHECKER, count, "ids", {"keyed": keyed})


def _ids(operation: Operation) -> Sequence[Any]:
    value: Any = operation.value
    return value if isinstance(value, list | tuple) else (value,)


def _own(operation: Operation, drawn_id: Any, owners: dict[tuple[str, Hashable], Operation], finder: Finder) -> None:
    if not (is_number(drawn_id) or isinstance(drawn_id, str)):
        finder.add("not-an-id", operation.key, f"a draw returned {drawn_id!r}", operation)
        return
    first = owners.get((operation.key, drawn_id))
    if first is None:
        owners[operation.key, drawn_id] = operation
    else:
        finder.add("id-twice", operation.key, f"{drawn_id!r} was drawn twice", first, operation)


def _by_process(
    drawn: list[Operation], ordered_by: Callable[[Operation], Hashable]
) -> dict[tuple[str, Hashable], list[Operation]]:
    groups: dict[tuple[str, Hashable], list[Operation]] = {}
    for operation in drawn:
        process = ordered_by(operation)
        if process is not None and _comparable(operation):
            groups.setdefault((operation.key, process), []).append(operation)
    return groups


def _comparable(operation: Operation) -> bool:
    ids = _ids(operation)
    return bool(ids) and (all(map(is_number, ids)) or all(isinstance(each, str) for each in ids))


def _ordered(key: str, group: list[Operation], finder: Finder) -> None:
    highest: Operation | None = None
    top: Any = None
    for ended, operation in sweep(group):
        ids = _ids(operation)
        if ended:
            if highest is None or (type(ids[-1]) is type(top) and ids[-1] > top):
                highest, top = operation, ids[-1]
            continue
        for one, next_one in itertools.pairwise(ids):
            if next_one <= one:
                finder.add("id-out-of-order", key, f"{next_one!r} was drawn after {one!r} by one request", operation)
        if highest is not None and type(ids[0]) is type(top) and ids[0] <= top:
            sentence = f"{ids[0]!r} was drawn after {top!r} by the same process"
            finder.add("id-out-of-order", key, sentence, highest, operation)
