"""What the checkers of the proof cost on one core: operations made in memory, one history for each checker."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from bench.report import median, table
from tenfold.prove.checkers import (
    availability,
    bank,
    clients,
    counter,
    register,
    sessions,
    set_full,
    staleness,
    unique_ids,
)
from tenfold.prove.history import Operation, Status
from tenfold.prove.verdict import Findings

ROUNDS = 3
ACCOUNTS = 10


def operation(number: int, function: str, key: str, value: Any, unknown: bool = False) -> Operation:
    """The `number`th operation of sixteen clients: sent every 100 us, each open for 1.5 ms."""
    at, status = number * 100, Status.UNKNOWN if unknown else Status.OK
    return Operation(number % 16, function, key, value, at, at, at + 1_500, status, f"web-{number % 2}")


def of_a_set(count: int) -> list[Operation]:
    """Adds, one in a thousand unknown and half of those applied, and ten reads of the whole set."""
    made, inside = [], []
    for number in range(count):
        if number % (count // 10) == count // 10 - 1:
            made.append(operation(number, "read_all", "", list(inside)))
            continue
        unknown = number % 1000 == 7
        made.append(operation(number, "add", "", number, unknown))
        if number % 2000 != 7:
            inside.append(number)
    made.append(operation(count + 100, "read_all", "", list(inside)))
    return made


def of_registers(count: int) -> list[Operation]:
    """One write to four reads, 100 keys; a read returns what was there when it was sent."""
    random_ = random.Random(1)
    made = []
    values: dict[str, Any] = {}
    for number in range(count):
        key = f"k{random_.randrange(100)}"
        writes = random_.random() < 0.2
        values[key] = number if writes else values.get(key)
        made.append(operation(number, "write" if writes else "read", key, values[key]))
    return made


def of_counters(count: int) -> list[Operation]:
    """Nine increments to one read, ten keys."""
    made = []
    values = dict.fromkeys((f"k{number}" for number in range(10)), 0)
    for number in range(count):
        key = f"k{number // 10 % 10}"
        if number % 10:
            values[key] += 1
            made.append(operation(number, "increment", key, 1))
        else:
            made.append(operation(number, "read", key, values[key]))
    return made


def of_a_bank(count: int) -> list[Operation]:
    """Nine transfers to one read of ten accounts."""
    random_ = random.Random(1)
    made = []
    balances = {str(number): 10 * count for number in range(ACCOUNTS)}
    for number in range(count):
        if number % 10:
            one, other = random_.sample(sorted(balances), 2)
            balances[one] -= 1
            balances[other] += 1
            made.append(operation(number, "transfer", "", {"from": one, "to": other, "amount": 1}))
        else:
            made.append(operation(number, "read_all", "", dict(balances)))
    return made


def of_versions(count: int) -> list[Operation]:
    """One write to four reads, 1000 keys, versions that grow."""
    random_ = random.Random(1)
    made = []
    versions: dict[str, int] = {}
    for number in range(count):
        key = f"k{random_.randrange(1000)}"
        writes = random_.random() < 0.2
        versions[key] = versions.get(key, 0) + writes
        made.append(operation(number, "write" if writes else "read", key, versions[key]))
    return made


def of_ids(count: int) -> list[Operation]:
    """Draws that count upwards."""
    return [operation(number, "draw", "snowflake", number) for number in range(count)]


def judge_bank(made: list[Operation]) -> Findings:
    """The bank opens with what its history was made from."""
    return bank.check(made, {str(number): 10 * len(made) for number in range(ACCOUNTS)})


CASES: tuple[
    tuple[str, int, Callable[[int], list[Operation]], Callable[[list[Operation]], Findings], float | None], ...
] = (
    ("set-full", 1_000_000, of_a_set, set_full.check, 2.0),
    ("register-zones", 100_000, of_registers, register.check, 1.0),
    ("register-zones", 1_000_000, of_registers, register.check, None),
    ("counter-bounds", 1_000_000, of_counters, counter.check, None),
    ("bank-totals", 100_000, of_a_bank, judge_bank, None),
    ("unique-ids", 1_000_000, of_ids, unique_ids.check, None),
    ("session-guarantees", 1_000_000, of_versions, sessions.check, None),
    ("staleness", 1_000_000, of_versions, staleness.check, None),
    ("availability", 1_000_000, of_versions, availability.check, None),
    ("clients", 1_000_000, of_versions, clients.check, None),
)


def seconds(check: Callable[[list[Operation]], Findings], made: list[Operation]) -> tuple[float, Findings]:
    """CPU seconds of one check (one core, whatever else runs), and what it found."""
    began = time.process_time()
    found = check(made)
    return time.process_time() - began, found


def main() -> None:
    """Prints the table; fails when a budget is missed or a clean history is called broken."""
    rows, missed = [], []
    for name, count, make, check, budget in CASES:
        made = make(count)
        timed = [seconds(check, made) for _ in range(ROUNDS)]
        taken, found = median([each for each, _ in timed]), timed[0][1]
        assert found.clean, (name, found.anomalies)
        rows.append(
            (
                name,
                f"{count:,}",
                f"{taken:.2f} s",
                "" if budget is None else f"<= {budget:.0f} s",
                f"{found.n:,} {found.unit}",
            )
        )
        if budget is not None and taken > budget:
            missed.append(f"{name}: {taken:.2f} s")
    print(table("Checkers of the proof, one core", ("checker", "operations", "CPU", "budget", "judged"), rows))
    if missed:
        raise SystemExit(f"Over budget: {'; '.join(missed)}.")
