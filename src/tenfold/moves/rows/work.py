"""What the stages of a move over rows share: the deployment, the two databases, the tables, and how to say things."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ParamSpec, TypeVar

import asyncpg

from tenfold.core.errors import TenfoldError
from tenfold.moves.base import Progress, Stage
from tenfold.moves.context import HELD_PATIENCE_S, Context
from tenfold.moves.publishing import publish_to_all
from tenfold.moves.rows.file import File
from tenfold.moves.rows.pacing import Pacer
from tenfold.moves.rows.server import Server, Session
from tenfold.moves.rows.tables import Moved, moved_tables
from tenfold.topology.map import Map

CONNECT_S = 10.0

P = ParamSpec("P")
T = TypeVar("T")


class Changed(TenfoldError):
    """The tables were changed while the move was under way."""

    code = "TF-MOVE-SCHEMA"


@dataclass
class Work:
    """One move over the rows of a deployment, as one mover does it."""

    context: Context
    pacer: Pacer = field(default_factory=Pacer)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _writes_seen: int = -1
    acting: bool = False
    """Whether a stage has begun; a plan only looks, and takes nothing over."""

    @cached_property
    def tables(self) -> tuple[Moved, ...]:
        """The tables that move."""
        return moved_tables(self.context.metadata)

    @cached_property
    def file(self) -> File:
        """The SQLite file."""
        return File(self.context.sqlite_path, self.context.term, self.context.move_id, acting=self.acting)

    @cached_property
    def server(self) -> Server:
        """The service's database on PostgreSQL."""
        return Server(self._connect, self.context.term, self.context.move_id, acting=self.acting)

    async def _connect(self) -> Session:
        access = await self.context.connect_owner()
        tls: Any = access.tls
        return await asyncpg.connect(
            host=access.host,
            port=access.port,
            database=access.database,
            user=access.user,
            password=access.password.reveal(),
            ssl=tls,
            timeout=CONNECT_S,
            server_settings={"application_name": "tenfold mover"},
        )

    async def close(self) -> None:
        """Closes both connections; what is used afterwards opens anew."""
        for name in ("file", "server"):
            side = self.__dict__.pop(name, None)
            if side is not None:
                await side.close()

    async def publish_to_all(self, change: Callable[[Map], Map]) -> None:
        """Publishes a map that every process must have; `NotTakenOver` names those that did not take it."""
        await publish_to_all(self.context, change)

    async def publish_while_held(self, change: Callable[[Map], Map]) -> None:
        """Publishes a map; a process that is silent is not waited for long, because the fence stops its writes."""
        await self.context.publish(change, patience_s=HELD_PATIENCE_S)

    def acted(self, stages: Iterable[Stage]) -> tuple[Stage, ...]:
        """The stages, each of which takes the databases over before it looks or acts."""
        return tuple(
            dataclasses.replace(
                stage, do=self._taking(stage.do), check=self._taking(stage.check), undo=self._taking(stage.undo)
            )
            for stage in stages
        )

    def _taking(self, act: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        async def taken(*args: P.args, **named: P.kwargs) -> T:
            self.acting = True
            return await act(*args, **named)

        return taken

    async def rest(self, took_s: float) -> None:
        """Leaves the service its share after work of `took_s` seconds; not when it wrote nothing meanwhile."""
        last = await self.file.look(_writes)
        busy, self._writes_seen = last != self._writes_seen, last
        pause = self.pacer.pause(took_s, busy)
        if pause > 0:
            await self.sleep(pause)

    @property
    def epoch(self) -> int:
        """The epoch of the map as it is now."""
        return self.context.current().epoch


def _writes(connection: sqlite3.Connection) -> int:
    """The number of the last batch that the service committed in the file."""
    return int((connection.execute("SELECT seq FROM tf_clock WHERE id = 1").fetchone() or (0,))[0])


@dataclass
class Meter:
    """Tells progress in rows with a rate, at most so many times a second as is worth reading."""

    progress: Progress
    doing: str
    total: int
    clock: Callable[[], float]
    done: int = 0
    began: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.clock()

    def add(self, rows: int, doing: str = "") -> None:
        """So many more rows are done."""
        self.done += rows
        self.progress.say(
            doing or self.doing, done=self.done, total=max(self.total, self.done), unit="rows", rate=self.rate
        )

    @property
    def rate(self) -> float:
        """Rows a second since it began."""
        took = self.clock() - self.began
        return self.done / took if took > 0 else 0.0


def plural(count: int, word: str) -> str:
    """A number with its word: "1 row", "2,000 rows"."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def shown_keys(keys: dict[str, list[Any]], limit: int = 5) -> Sequence[str]:
    """The first keys of each table, for a record."""
    return [f"{name} {key}" for name, found in keys.items() for key in found[:limit]]
