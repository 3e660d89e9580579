"""Did a killed server cost its clients anything that it need not have cost them (P3)?

Behind balancers, a web server that dies takes no read and no keyed write with it whose response had not begun: the
balancer sends it to another one. A balancer that dies takes what was open on its own connections and nothing else: what
is sent afterwards is answered by the other one, or waits in the listening socket. The process beside a balancer's
engine may die without any effect.

A kill that met nobody proves nothing. A request that takes a known time (`own_us`) and ended so long after the kill was
run again; a stream that was cut by it shows the same for connections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tenfold.prove.checkers.availability import failure, quantile
from tenfold.prove.checkers.common import overlapping
from tenfold.prove.excuses import SLACK_US, died_us, open_at_the_end_of, repeatable, role_of
from tenfold.prove.history import Operation, Status, Window
from tenfold.prove.verdict import Finder, Findings

CHECKER = "killed"
ROLES = ("web", "haproxy", "balancer")


def of_interest(windows: Iterable[Window]) -> list[Window]:
    """The kills that P3 speaks of: of web servers and balancers, where balancers stand before several web servers."""
    return [each for each in windows if each.kind == "kill" and each.balanced and role_of(each) in ROLES]


def check(
    operations: Iterable[Operation],
    kills: Sequence[Window],
    *,
    excused: Callable[[Operation], bool] = lambda operation: False,
    slack_us: int = SLACK_US,
) -> Findings:
    """Judges the requests that those kills could have met. `excused` says which failures another fault explains: an
    operation may outlast one kill and meet the next.

    After a web server's death: the reads and keyed writes that were open at that moment, the response not begun. After
    a balancer's: all that were sent between its death and the moment when it was whole again. Of the process beside it:
    all that were open meanwhile. Names `failed` (a keyed one that its client had to send again has failed). `n` counts
    these requests. Figures: `kills`, `met` (operations that a kill of a web server or of a balancer is seen to have
    hit), `cut_off` (what it was allowed to cost), `longest_hold_us`, `held_p99_us`.
    """
    finder = Finder()
    trials: dict[int, Operation] = {}
    met = cut = 0
    near = overlapping(operations, kills, slack_us)
    for kill in kills:
        for operation in near:
            if not _is_trial(operation, kill, slack_us):
                hurt = open_at_the_end_of(kill, operation, slack_us) and _failed(operation)
                met, cut = met + hurt, cut + hurt
                continue
            trials[id(operation)] = operation
            met += _was_run_again(operation, kill)
    judged = [operation for operation in trials.values() if not (_failed(operation) and excused(operation))]
    for operation in judged:
        if _failed(operation):
            sentence = f"a {operation.function} that was open while a server was killed ended with {_how(operation)}"
            finder.add("failed", operation.key, sentence, operation)
    latencies = sorted(each.latency_us for each in judged if each.status is Status.OK)
    figures = {
        "kills": float(len(kills)),
        "met": float(met),
        "cut_off": float(cut),
        "held_p99_us": float(quantile(latencies, 0.99)),
        "longest_hold_us": float(latencies[-1] if latencies else 0),
    }
    return finder.findings(CHECKER, len(judged), "requests", figures)


def _is_trial(operation: Operation, kill: Window, slack_us: int) -> bool:
    role = role_of(kill)
    if role == "web":
        return open_at_the_end_of(kill, operation, slack_us) and repeatable(operation)
    if operation.since_us > kill.end_us or operation.end_us < kill.start_us:
        return False
    return role == "balancer" or operation.since_us > died_us(kill) + slack_us


def _was_run_again(operation: Operation, kill: Window) -> bool:
    """A request whose handler takes `own_us`, sent before the kill, that ended as much after it, began anew then."""
    again = operation.own_us > 0 and operation.end_us - kill.start_us >= operation.own_us
    return role_of(kill) == "web" and operation.sent_us < kill.start_us and again


def _failed(operation: Operation) -> bool:
    return failure(operation) is not None or operation.attempts > 1


def _how(operation: Operation) -> str:
    if failure(operation) is None:
        return f"an answer to its attempt number {operation.attempts} only"
    return f"status {operation.http}" if operation.http else "no answer"
