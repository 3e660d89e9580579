"""From a recorded run to the verdicts about the deployment as a whole: requests, moves, kills, connections.

Pure. What concerns one workload is judged by its own checker; this module judges what all of them have in common, by
the windows in which something was done to the deployment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tenfold.prove.checkers import availability, clients, exactly_once, holding, killed, streams
from tenfold.prove.connections import COUNTING, NAMES, STREAMS
from tenfold.prove.excuses import excused, role_of
from tenfold.prove.history import Operation, Recording, Window
from tenfold.prove.moves import CHANGES, MOVE, MOVE_KILLED
from tenfold.prove.verdict import Sometimes, Verdict, judge, not_run

HELD_US = 1_000_000
"""How long a request may be held while a move passes."""
MOVER_KILLED_HELD_US = 25_000_000
"""The same with the mover killed: as long as a gate holds at all."""
DATABASE_HELD_US = 5_000_000
"""The same while the database server is away, with its recovery after a crash."""


def judge_requests(recording: Recording, sometimes: Sequence[Sometimes]) -> list[Verdict]:
    """No request failed that no fault explains; moves and a missing database hold work and fail none of it; a killed
    server costs no more than it may."""
    explained = _explained_by(recording.windows)
    parts = []
    for name in sorted({operation.workload for operation in recording.operations}):
        parts += _judge_workload(name, recording, explained, sometimes)
    whole = clients.check(recording.operations)
    return [
        *parts,
        *_judge_holding(recording),
        *_judge_kills(recording, explained),
        judge("P1", whole, workload="history"),
    ]


def _explained_by(windows: Sequence[Window]) -> Callable[[Operation], bool]:
    return lambda operation: any(excused(operation, window) for window in windows)


def _judge_workload(
    name: str, recording: Recording, explained: Callable[[Operation], bool], sometimes: Sequence[Sometimes]
) -> list[Verdict]:
    if name in STREAMS:
        return [judge("P1", streams.check(recording.of(name), excused=explained), workload=name)]
    seen = availability.check(recording.of(name), excused=explained)
    found = [judge("P1", seen, workload=f"requests of {name}", sometimes=sometimes)]
    if name in COUNTING:
        counted = exactly_once.check(recording.of(name))
        read = [Sometimes("each counter was read at the end", int(not counted.figures["unread"]))]
        found.append(judge("P1", counted, workload=name, sometimes=read))
    return found


def _judge_holding(recording: Recording) -> list[Verdict]:
    """Work is held while a move passes or the database is away, and not failed."""
    moved = [window for window in recording.windows if window.kind == MOVE]
    changed = [window for window in recording.windows if window.kind in CHANGES]
    unlucky = [window for window in recording.windows if window.kind == MOVE_KILLED]
    away = [window for window in recording.windows if _of_database(window)]
    parts = []
    for promise, windows, limit_us, what in (
        ("P1", moved, HELD_US, "requests during moves"),
        ("P1", changed, HELD_US, "requests while the web tier changed"),
        ("P2", unlucky, MOVER_KILLED_HELD_US, "requests while a mover was killed"),
        ("P4", away, DATABASE_HELD_US, "requests without a database"),
    ):
        if windows:
            happened = [Sometimes(f"{what} had a cause", sum(window.effect for window in windows))]
            found = holding.check(recording.operations, windows, limit_us=limit_us)
            parts.append(judge(promise, found, workload=what, sometimes=happened))
    return parts


def _of_database(window: Window) -> bool:
    return window.kind not in (MOVE, MOVE_KILLED, *CHANGES) and role_of(window) == "database"


def _judge_kills(recording: Recording, explained: Callable[[Operation], bool]) -> list[Verdict]:
    """Of each role whose processes were killed behind balancers; what met nobody proves nothing."""
    kills = killed.of_interest(recording.windows)
    if kills and not any(operation.workload in NAMES for operation in recording.operations):
        return [not_run("P3", "needs the clients of connections, and they need the probe", workload="killed servers")]
    parts = []
    for role in killed.ROLES:
        ours = [window for window in kills if role_of(window) == role]
        if not ours:
            continue
        found = killed.check(recording.operations, ours, excused=explained)
        happened = [Sometimes(f"a kill of {role} had an effect", sum(window.effect for window in ours))]
        if role != "balancer":  # the one beside its engine serves nobody itself
            happened.append(Sometimes(f"a killed {role} had requests in flight", int(found.figures["met"])))
        parts.append(judge("P3", found, workload=f"requests while a {role} was killed", sometimes=happened))
    return parts
