"""Crons: jobs that are enqueued by the clock, each time of firing once, however many workers look at it.

The row of a cron holds the last time it fired and only grows: whoever moves it on enqueues the job in the same
transaction. A clock that steps back fires nothing again; it is quiet until it has passed that time.
"""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.database.keys import HOME_BUCKET
from tenfold.blocks.tasks import statements as sql
from tenfold.blocks.tasks.task import Task
from tenfold.core.clock import Clock
from tenfold.core.errors import Conflict, ContractError

if TYPE_CHECKING:
    from tenfold.blocks.tasks.enqueueing import Enqueueing

Missed = Literal["once", "skip"]
LATE_US = 60_000_000
"""A time of firing that is so long ago was missed: nobody looked, because no worker ran."""

NET_S = 30.0


@dataclass(frozen=True, slots=True)
class Cron:
    """When a task is enqueued: five fields, in the hours of a zone (summer time included)."""

    task: Task[Any, Any]
    expression: str
    zone: zoneinfo.ZoneInfo
    missed: Missed

    @property
    def name(self) -> str:
        """What its row is called; another expression is another cron."""
        return f"{self.expression} {self.zone.key} {self.task.name}"


def made(task: Task[Any, Any], expression: str, missed: str, zone: str) -> Cron:
    """The cron; `ContractError` TF-TASK-CRON when it is not one."""
    found = f"@cron({expression!r}, missed={missed!r}, zone={zone!r}) on {task.name}"
    if missed not in ("once", "skip"):
        raise ContractError(f"{found}: missed is 'once' or 'skip'.", code="TF-TASK-CRON")
    needed = [each.name for each in task.codec.parameters.values() if each.default is each.empty]
    if needed:
        raise ContractError(
            f"{found}: the task needs {', '.join(needed)}.", hint="A cron passes no arguments.", code="TF-TASK-CRON"
        )
    try:
        cron = Cron(task, expression, zoneinfo.ZoneInfo(zone), "once" if missed == "once" else "skip")
        first_after(cron, 0)
    except Exception as error:  # noqa: BLE001 - an expression and a zone can be wrong in many ways
        raise ContractError(
            f"{found}: {error}.", hint='Five fields, such as "*/5 * * * *", and a zone such as "Asia/Seoul".',
            code="TF-TASK-CRON",
        ) from None  # fmt: skip
    if len(cron.name) > 200:
        raise ContractError(f"{found}: expression, zone and name have over 200 characters.", code="TF-TASK-CRON")
    return cron


def first_after(cron: Cron, us: int) -> int:
    """The first time of firing after a moment."""
    from cronsim import CronSim  # noqa: PLC0415 - only services with crons pay for it

    return _us(next(CronSim(cron.expression, _at(us, cron.zone))))


def last_until(cron: Cron, us: int) -> int:
    """The last time of firing up to a moment."""
    from cronsim import CronSim  # noqa: PLC0415

    second = (us // 1_000_000 + 1) * 1_000_000
    return _us(next(CronSim(cron.expression, _at(second, cron.zone), reverse=True)))


def due(cron: Cron, fired_us: int, now_us: int) -> tuple[int, bool] | None:
    """What a cron that last fired at `fired_us` does now: the time it moves on to, and whether a job is enqueued.

    However many times were missed, there is at most one job; none when missed ones are skipped.
    """
    if first_after(cron, fired_us) > now_us:
        return None
    latest = last_until(cron, now_us)
    return latest, cron.missed == "once" or now_us - latest < LATE_US


def _at(us: int, zone: zoneinfo.ZoneInfo) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, UTC).astimezone(zone)


def _us(moment: datetime) -> int:
    return round(moment.timestamp()) * 1_000_000


class Crons:
    """The crons of a service, looked at by the workers."""

    def __init__(self, database: Database, clock: Clock, enqueueing: Enqueueing) -> None:
        self.known: list[Cron] = []
        self._clock = clock
        self._enqueueing = enqueueing
        self._fired: dict[str, int] = {}
        self._next: dict[str, int] = {}
        self._look = database.transaction(isolation="read committed")(self._looked_up)
        self._fire = database.transaction(isolation="read committed")(self._fires)

    def forget(self) -> None:
        """Begins anew: when each one fired is in the database, and another one may be open now."""
        self._fired.clear()
        self._next.clear()

    async def step(self) -> float:
        """Fires what is due; seconds until there may be more."""
        waits = [NET_S]
        for cron in self.known:
            await self._judge(cron)
            waits.append((self._next[cron.name] - self._clock.wall_us()) / 1e6)
        return max(min(waits), 0.01)

    async def _judge(self, cron: Cron) -> None:
        name, now_us = cron.name, self._clock.wall_us()
        if name not in self._fired:
            self._know(cron, await self._seen(name, now_us))
        if now_us < self._next[name]:
            return
        found = due(cron, self._fired[name], now_us)
        if found is not None:
            self._know(cron, await self._fire(cron, *found))

    def _know(self, cron: Cron, fired_us: int) -> None:
        self._fired[cron.name] = fired_us
        self._next[cron.name] = first_after(cron, fired_us)

    async def _seen(self, name: str, now_us: int) -> int:
        try:
            return await self._look(name, now_us)
        except Conflict:  # another worker has seen it first, in the same moment
            return await self._look(name, now_us)

    async def _looked_up(self, tx: Transaction, name: str, now_us: int) -> int:
        """When it last fired; a cron that nobody has seen before begins now."""
        fired: int | None = await tx.scalar(sql.FIRED, of=name)
        if fired is None:
            await tx.run(sql.FIRST_SEEN, name=name, fired_us=now_us)
            return now_us
        return fired

    async def _fires(self, tx: Transaction, cron: Cron, fire_us: int, enqueues: bool) -> int:
        """Moves it on and enqueues its job, if nobody else has; when it last fired."""
        if not await tx.run(sql.FIRE, of=cron.name, to_fired=fire_us):
            return int(await tx.scalar(sql.FIRED, of=cron.name) or fire_us)
        if enqueues:
            row = self._enqueueing.row(cron.task.plain, (), {}, HOME_BUCKET)
            await self._enqueueing.add(tx, row)
        return fire_us
