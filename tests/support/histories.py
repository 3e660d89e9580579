"""Small histories: made by hand in one line an operation, or by hypothesis; and what they mean, by definition."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from tenfold.prove.history import Operation, Status
from tenfold.prove.verdict import Findings

INFINITE = 10**9
STATUSES = (Status.OK, Status.OK, Status.OK, Status.UNKNOWN, Status.FAIL)


def op(
    function: str,
    value: Any,
    sent: int,
    end: int,
    status: Status = Status.OK,
    *,
    key: str = "k",
    process: int = 0,
    node: str = "",
    **rest: Any,
) -> Operation:
    """One operation, meant to be sent when it was."""
    return Operation(process, function, key, value, sent, sent, end, status, node, **rest)


def named(findings: Findings) -> dict[str, list[list[Any]]]:
    """What was found: by name, the (function, value) pairs of the operations that show it."""
    found: dict[str, list[list[Any]]] = {}
    for anomaly in findings.evidence:
        found.setdefault(anomaly.name, []).append([(each.function, each.value) for each in anomaly.operations])
    return found


def precedes(one: Operation, other: Operation) -> bool:
    """Real-time order; an unknown operation never ends."""
    return one.status is Status.OK and one.end_us < other.sent_us


@st.composite
def spans(draw: st.DrawFn) -> tuple[int, int]:
    """(sent, end) in a short time, so that much overlaps and ties are common."""
    sent = draw(st.integers(0, 12))
    return sent, sent + draw(st.integers(0, 5))


@st.composite
def registers(draw: st.DrawFn) -> list[Operation]:
    """Up to seven operations on one register: writes of 1, 2 ..., reads of one of them, of nothing, seldom of 9."""
    writes = draw(st.lists(st.tuples(spans(), st.sampled_from(STATUSES)), max_size=4))
    made = [op("write", place + 1, *span, status) for place, (span, status) in enumerate(writes)]
    values = st.sampled_from([None, *(each.value for each in made), *(each.value for each in made), 9])
    for span, value in draw(st.lists(st.tuples(spans(), values), max_size=4)):
        made.append(op("read", value, *span))
    return made


def linearizable(operations: Iterable[Operation], initial: Any = None) -> bool:
    """By definition: some order that keeps real time explains every read. Unknown writes may be left out."""
    judged = [each for each in operations if each.status is Status.OK or each.function == "write"]
    judged = [each for each in judged if each.status is not Status.FAIL]
    seen: set[tuple[frozenset[int], Any]] = set()

    def search(left: frozenset[int], value: Any) -> bool:
        if all(judged[place].status is Status.UNKNOWN for place in left):
            return True
        if (left, value) in seen:
            return False
        seen.add((left, value))
        for place in left:
            one = judged[place]
            if any(precedes(judged[other], one) for other in left):
                continue
            if one.function == "read" and one.value != value:
                continue
            if search(left - {place}, one.value):
                return True
        return False

    return search(frozenset(range(len(judged))), initial)


@st.composite
def sets(draw: st.DrawFn) -> list[Operation]:
    """Up to five adds of 1, 2 ... and four reads of any of them."""
    adds = draw(st.lists(st.tuples(spans(), st.sampled_from(STATUSES)), max_size=5))
    made = [op("add", place + 1, *span, status) for place, (span, status) in enumerate(adds)]
    elements = st.lists(st.sampled_from([*(each.value for each in made), 9]), max_size=6)
    for span, shown in draw(st.lists(st.tuples(spans(), elements), max_size=4)):
        made.append(op("read_all", shown, *span))
    return made


def set_by_definition(operations: list[Operation]) -> dict[str, set[Any]]:
    """The elements of each anomaly, straight from the words of the checker's description."""
    adds = {each.value: each for each in operations if each.function == "add"}
    reads = [each for each in operations if each.function == "read_all"]
    found: dict[str, set[Any]] = {"lost": set(), "stale": set(), "unexpected": set(), "duplicated": set()}
    for value in {value for read in reads for value in read.value}:
        add = adds.get(value)
        shows = [read for read in reads if value in read.value]
        if add is None or add.status is Status.FAIL or any(read.end_us < add.sent_us for read in shows):
            found["unexpected"].add(value)
        if any(read.value.count(value) > 1 for read in reads):
            found["duplicated"].add(value)
    for value, add in adds.items():
        if add.status is Status.FAIL:
            continue
        shows = [read for read in reads if value in read.value]
        known = min([read.end_us for read in shows] + ([add.end_us] if add.status is Status.OK else [INFINITE]))
        without = [read.sent_us for read in reads if value not in read.value and read.sent_us > known]
        if without:
            again = any(read.sent_us >= max(without) for read in shows)
            found["stale" if again else "lost"].add(value)
    return found


@st.composite
def counters(draw: st.DrawFn) -> list[Operation]:
    """Changes of one up or down, and reads of small numbers."""
    amounts = draw(st.sampled_from([(1,), (1, -1)]))
    changes = draw(st.lists(st.tuples(spans(), st.sampled_from(STATUSES), st.sampled_from(amounts)), max_size=6))
    made = [op("increment", amount, *span, status) for span, status, amount in changes]
    for span, value in draw(st.lists(st.tuples(spans(), st.integers(-2, 6)), max_size=4)):
        made.append(op("read", value, *span))
    return made


def sum_is_possible(changes: list[tuple[Operation, int]], read: Operation, opening: int, value: int) -> bool:
    """By definition: some choice among the changes that need not be in the read, with all that must be, adds up."""
    must = opening + sum(amount for each, amount in changes if precedes(each, read))
    may = [
        amount
        for each, amount in changes
        if each.status is not Status.FAIL and not precedes(each, read) and each.sent_us <= read.end_us
    ]
    chosen = (choice for size in range(len(may) + 1) for choice in itertools.combinations(may, size))
    return any(must + sum(choice) == value for choice in chosen)


@st.composite
def banks(draw: st.DrawFn) -> list[Operation]:
    """Transfers of one between three accounts that open with two each; reads near what is possible."""
    pairs = st.sampled_from(list(itertools.permutations("abc", 2)))
    transfers = draw(st.lists(st.tuples(spans(), st.sampled_from(STATUSES), pairs), max_size=5))
    made = [op("transfer", {"from": one, "to": to, "amount": 1}, *span, state) for span, state, (one, to) in transfers]
    for span, applied, slip in draw(
        st.lists(st.tuples(spans(), st.integers(0, 31), st.sampled_from([0, 0, 0, 1, -5])), max_size=3)
    ):
        balances = dict.fromkeys("abc", 2)
        for place, each in enumerate(made[: len(transfers)]):
            if applied >> place & 1:
                balances[each.value["from"]] -= 1
                balances[each.value["to"]] += 1
        balances["a"] += slip
        made.append(op("read_all", balances, *span))
    return made


@st.composite
def versions(draw: st.DrawFn) -> list[Operation]:
    """Writes and reads of versions by two clients on two keys and two nodes."""
    made = []
    rows = st.tuples(
        spans(),
        st.sampled_from(["write", "read", "read"]),
        st.integers(0, 5),
        st.integers(1, 2),
        st.sampled_from("ab"),
        st.sampled_from(["", "web-1", "web-2"]),
        st.sampled_from(STATUSES),
    )
    for span, function, version, process, key, node, status in draw(st.lists(rows, max_size=9)):
        value = None if function == "read" and version == 0 else version
        made.append(op(function, value, *span, status, key=key, process=process, node=node))
    return made


def session_violations(operations: list[Operation]) -> dict[str, int]:
    """By definition, over all pairs: how many operations break each guarantee."""
    found: dict[str, int] = {}
    rules = {
        ("write", "read"): "read-your-writes",
        ("read", "read"): "monotonic-reads",
        ("write", "write"): "monotonic-writes",
        ("read", "write"): "writes-follow-reads",
    }
    for (first, second), name in rules.items():
        for later in (each for each in operations if each.function == second and each.status is Status.OK):
            bound = [
                _version(each)
                for each in operations
                if each.function == first and (each.process, each.key) == (later.process, later.key)
                if precedes(each, later)
            ]
            reached = _version(later) - (second == "write")
            found[name] = found.get(name, 0) + any(reached < version for version in bound)
    return {name: count for name, count in found.items() if count}


def stale_reads(operations: list[Operation], same_us: int, others_us: int) -> int:
    """By definition, over all pairs: how many reads are older than allowed."""
    writes = [each for each in operations if each.function == "write" and each.status is Status.OK]
    reads = [each for each in operations if each.function == "read" and each.status is Status.OK]

    def allowed(write: Operation, read: Operation) -> int:
        return same_us if write.node == read.node or not write.node or not read.node else others_us

    return sum(
        any(
            write.key == read.key
            and write.value > _version(read)
            and write.end_us + allowed(write, read) < read.sent_us
            for write in writes
        )
        for read in reads
    )


def _version(operation: Operation) -> int:
    return -1 if operation.value is None else operation.value
