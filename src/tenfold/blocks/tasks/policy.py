"""The decisions of the tasks block: values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from tenfold.core.errors import ContractError, UsageError
from tenfold.core.randomness import Randomness
from tenfold.core.retry import Backoff
from tenfold.core.units import parse_duration

AGE_US = 60_000_000
"""What one point of priority is worth: a job goes before those that are due up to a minute earlier."""

PRIORITIES = 100
"""From minus this to this. So a job of the lowest priority waits at most 200 minutes for those of the highest."""

CRASHES = 3
"""A job whose process died under it this often is parked."""

BATCH = 100
"""Jobs that are claimed at once at most."""

SILENT_S = 10.0
"""A worker that has not been heard of for so long is dead: the lease of its jobs."""

LOOK_LIMIT_S = 4.0
"""What one look adds to a worker's silence at most, so that a pause of the one who looks is not taken for theirs."""

SLACK_US = 2_000_000
"""How far below the first job of a claim the next one begins to look."""

LONGEST_S = 100 * 365 * 86_400
"""Of any duration: beyond some, times do not fit into a row, and a row that nobody can write holds up others."""

NOWHERE = -(2**62)
"""Below every rank."""


class State(IntEnum):
    """Where a job is in its life; a job that is done, and not kept, has no row."""

    READY = 0
    RUNNING = 1
    SCHEDULED = 2
    DEAD = 3
    UNKNOWN = 4
    DONE = 5


WAITING = (State.READY, State.SCHEDULED, State.UNKNOWN)
"""States of a job that nobody runs, and that somebody will."""

SUSPECTS = "tf:suspects"
"""The lane of jobs under which two processes have died: one of them runs at a time, so that the guilty one is found."""


def rank(due_us: int, priority: int) -> int:
    """A job's place: the smaller, the sooner. Priority is a head start in time, so whoever waits gets its turn."""
    return due_us - priority * AGE_US


@dataclass(frozen=True, slots=True, init=False)
class Retry:
    """When a failed job runs again: after `first`, twice that, and so on up to `limit`, each less up to `jitter` of it.

    `max` attempts in all, the first one included. An exception of a class in `give_up` ends it at once. What is over
    is a dead letter.
    """

    max: int
    first_s: float
    limit_s: float
    jitter: float
    give_up: tuple[type[BaseException], ...]

    def __init__(
        self,
        max: int = 5,
        first: str | float = "1s",
        limit: str | float = "10m",
        jitter: float = 0.5,
        give_up: tuple[type[BaseException], ...] = (),
    ) -> None:
        first_s, limit_s = parse_duration(first), parse_duration(limit)
        found = (max, first_s, limit_s, jitter)
        if isinstance(max, bool) or not 1 <= max <= 1000 or not 0 < first_s <= limit_s or not 0 <= jitter <= 1:
            raise ContractError(
                f"Retry{found} is not possible.",
                hint="max is 1 to 1000, first is above 0 and at most limit, jitter is 0 to 1.",
                code="TF-TASK-OPTIONS",
            )
        names = ("max", "first_s", "limit_s", "jitter", "give_up")
        for name, value in zip(names, (*found, tuple(give_up)), strict=True):
            object.__setattr__(self, name, value)

    def wait_s(self, attempt: int, randomness: Randomness) -> float:
        """Seconds to wait after the `attempt`-th attempt has failed."""
        return Backoff(self.first_s, 2.0, self.limit_s, self.jitter).wait_s(max(attempt, 1), randomness)

    def goes_on(self, attempt: int, error: BaseException) -> bool:
        """Whether there is another attempt after the `attempt`-th one, which failed with `error`."""
        return attempt < self.max and not isinstance(error, self.give_up)


def duration_us(value: str | float, what: str) -> int:
    """Microseconds of a duration in a task's options; `ContractError` names the option."""
    try:
        seconds = parse_duration(value)
    except UsageError as error:
        raise ContractError(f"{what}: {error.message}", code="TF-TASK-OPTIONS") from None
    if seconds > LONGEST_S:
        raise ContractError(f"{what} is {value!r}; allowed: up to 100 years.", code="TF-TASK-OPTIONS")
    return round(seconds * 1e6)


class Silence:
    """How long each worker has not been heard of, added up look by look with one clock: that of the one who looks.

    No clock of another process or host takes part: a worker counts its `beat` up, and whoever looks sees whether it
    has moved. A look adds `LOOK_LIMIT_S` at most, so a pause of the looker (or of the database) condemns nobody.
    """

    def __init__(self, limit_s: float = SILENT_S) -> None:
        self._limit_s = limit_s
        self._looked_at: float | None = None
        self._known: dict[str, tuple[int, float]] = {}

    def look(self, now: float, beats: Mapping[str, int]) -> list[str]:
        """The workers that are dead, given the beat of each; `now` is a monotonic clock's."""
        passed = 0.0 if self._looked_at is None else min(now - self._looked_at, LOOK_LIMIT_S)
        self._looked_at = now
        known = {worker: self._heard(worker, beat, passed) for worker, beat in beats.items()}
        self._known = known
        return [worker for worker, (_, silent_s) in known.items() if silent_s > self._limit_s]

    def _heard(self, worker: str, beat: int, passed: float) -> tuple[int, float]:
        before = self._known.get(worker)
        if before is None or before[0] != beat:
            return beat, 0.0
        return beat, before[1] + passed


def free_in_lanes(limits: Mapping[str, int], running: Iterable[tuple[str, int]]) -> dict[str, int]:
    """How many jobs of each lane may begin, given its limit and how many run over all workers."""
    busy = dict(running)
    free = {lane: limit - busy.get(lane, 0) for lane, limit in limits.items()}
    return {lane: count for lane, count in free.items() if count > 0}


def watermark(before: int, first_rank: int | None, now_us: int) -> int:
    """Where the next claim begins to look, after one that found `first_rank` as its first job, or none.

    Rows before it are those of jobs that are gone: a long transaction elsewhere may keep them in the index, and each
    claim would step over all of them. What comes in before it (a higher priority, a slow commit) is found by the next
    claim that looks from the beginning.
    """
    found = now_us if first_rank is None else first_rank
    return max(before, min(found, now_us) - SLACK_US)


def poll_s(empty: int) -> float:
    """Seconds until the next look without being told of a job, after so many looks that found none."""
    return min(0.1 * 2.0 ** min(empty, 10), 2.0)
