"""The scopes of the PostgreSQL backend: what a body's `tx` and a reader's `db` are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from tenfold.blocks.database.backend import Call
from tenfold.blocks.database.body import Operation, asked
from tenfold.blocks.database.meter import Meter
from tenfold.blocks.database.policy import Scope
from tenfold.blocks.database.postgres.points import Found, Lane, few, many
from tenfold.blocks.database.scopes import Access, at_most_one, bounded, exactly_one, maker, over, swallowed
from tenfold.blocks.database.statement import Plan, Plans
from tenfold.core.errors import ContractError, TenfoldError
from tenfold.drivers.postgres import Link


class Home(Protocol):
    """What a scope needs of its backend."""

    plans: Plans
    meter: Meter

    def lane(self, plan: Plan) -> Lane:
        """The point reads of a plan."""
        ...

    async def fetch(self, sql: str, values: Sequence[Any]) -> Found:
        """The rows of one statement, in a snapshot of its own."""
        ...

    async def borrow(self) -> Link:
        """A connection of one's own, in a transaction that sees one state."""
        ...

    def give_back(self, link: Link, *, broken: bool) -> None:
        """Takes a borrowed connection back."""
        ...

    async def ask(self, link: Link, sql: str, values: Sequence[Any]) -> Found:
        """The rows of one statement on a borrowed connection."""
        ...

    def announce(self, keys: list[str]) -> None:
        """Tells the other processes."""
        ...


def bound(plan: Plan, params: Mapping[str, Any], *, point: bool, home: Home) -> tuple[str, Sequence[Any]]:
    """The text and the values of one run."""
    if plan.expand is not None:
        sql, values = plan.expand(params)
        return (sql if plan.writes else few(sql) if point else many(sql)), values
    if plan.writes:
        return plan.sql, plan.bind(params)
    lane = home.lane(plan)
    return (lane.few if point else lane.all), plan.bind(params)


async def metered(fetching: Awaitable[Found], meter: Meter) -> Found:
    """The rows of a read that begins now; it is counted, however it ends."""
    began = meter.now()
    try:
        return await fetching
    except TenfoldError as error:
        meter.judge(error)
        raise
    finally:
        meter.read(began)


class PostgresReader(Access):
    """A read scope whose statements each see a snapshot of their own."""

    __slots__ = ("_home",)

    def __init__(self, home: Home, scope: Scope, keys: tuple[Any, ...] | None) -> None:
        super().__init__(home.plans, scope, keys)
        self._home = home

    async def __aenter__(self) -> PostgresReader:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def _point(self, statement: Any, params: Mapping[str, Any]) -> list[Any]:
        plan = self._plan(statement, params)
        make = maker(plan)
        if plan.expand is None:
            fetching = self._home.lane(plan).fetch(tuple(plan.bind(params)))
        else:
            fetching = self._home.fetch(*bound(plan, params, point=True, home=self._home))
        return [make(row) for row in await metered(fetching, self._home.meter)]

    async def one(self, statement: Any, /, **params: Any) -> Any:
        return exactly_one(await self._point(statement, params))

    async def one_or_none(self, statement: Any, /, **params: Any) -> Any:
        return at_most_one(await self._point(statement, params))

    async def scalar(self, statement: Any, /, **params: Any) -> Any:
        row = at_most_one(await self._point(statement, params))
        return None if row is None else row[0]

    async def all(self, statement: Any, /, **params: Any) -> list[Any]:
        plan = self._plan(statement, params)
        make = maker(plan)
        fetching = self._home.fetch(*bound(plan, params, point=False, home=self._home))
        rows = await metered(fetching, self._home.meter)
        return bounded([make(row) for row in rows])


class PostgresSnapshot(Access):
    """A read scope with one snapshot for all its statements, on a connection of its own."""

    __slots__ = ("_broken", "_home", "_link")

    def __init__(self, home: Home, scope: Scope, keys: tuple[Any, ...] | None) -> None:
        super().__init__(home.plans, scope, keys)
        self._home = home
        self._link: Link | None = None
        self._broken = False

    async def __aenter__(self) -> PostgresSnapshot:
        self._link = await self._home.borrow()
        return self

    async def __aexit__(self, *exc: object) -> None:
        link, self._link = self._link, None
        if link is not None:
            self._home.give_back(link, broken=self._broken)

    async def _fetch(self, statement: Any, params: Mapping[str, Any], point: bool) -> list[Any]:
        if self._link is None:
            raise over("A read scope was used after its end.")
        plan = self._plan(statement, params)
        make = maker(plan)
        sql, values = bound(plan, params, point=point, home=self._home)
        try:
            rows = await metered(self._home.ask(self._link, sql, values), self._home.meter)
        except BaseException:
            self._broken = True  # its transaction is void, or a cancelled statement still runs
            raise
        return [make(row) for row in rows]

    async def one(self, statement: Any, /, **params: Any) -> Any:
        return exactly_one(await self._fetch(statement, params, True))

    async def one_or_none(self, statement: Any, /, **params: Any) -> Any:
        return at_most_one(await self._fetch(statement, params, True))

    async def all(self, statement: Any, /, **params: Any) -> list[Any]:
        return bounded(await self._fetch(statement, params, False))

    async def scalar(self, statement: Any, /, **params: Any) -> Any:
        row = at_most_one(await self._fetch(statement, params, True))
        return None if row is None else row[0]


class Ask(Operation):
    """A statement that a body asks its driver for; `rows` for a row of values each."""

    __slots__ = ("rows", "sql", "values", "wanted")

    def __init__(
        self, sql: str, values: Sequence[Any], *, wanted: bool, rows: Sequence[Sequence[Any]] | None = None
    ) -> None:
        self.sql = sql
        self.values = values
        self.wanted = wanted
        self.rows = rows

    async def perform(self, link: Link, begin: str) -> Any:
        """The rows when they are wanted, otherwise how many were touched. `begin`, if any, begins the transaction."""
        if begin and self.rows is None and not self.wanted:
            return await link.touch_first(begin, self.sql, self.values)
        if begin:
            await link.execute(begin)
        if self.rows is not None:
            await link.touch_many(self.sql, self.rows)
            return len(self.rows)
        if self.wanted:
            return await link.fetch(self.sql, self.values)
        return await link.touch(self.sql, self.values)


class PostgresTransaction(Access):
    """A body's tx. Its methods suspend the body until the driver has performed what they ask for."""

    __slots__ = ("_home", "after", "begin", "driven", "failed", "open", "wrote")

    def __init__(self, home: Home, call: Call, begin: str) -> None:
        super().__init__(home.plans, call.scope, call.keys)
        self._home = home
        self.begin = begin
        """What begins the transaction, until it has been sent: it travels with the first statement."""
        self.open = True
        self.driven = False
        """Whether the body runs at this moment."""
        self.wrote = False
        self.failed: BaseException | None = None
        self.after: list[Callable[[], object]] | None = None

    def _admitted(self, statement: Any, params: Mapping[str, Any]) -> Plan:
        if not self.open:
            raise over("A tx was used after its transaction had ended.")
        if self.failed is not None:
            raise swallowed("this body", self.failed)
        if not self.driven:
            raise ContractError(
                "A tx was used by another task than its body.",
                hint="Await its statements one after another, in the body itself.",
                code="TF-TX-1",
            )
        plan = self._plan(statement, params)
        self.wrote = self.wrote or plan.writes
        return plan

    async def _rows(self, statement: Any, params: Mapping[str, Any], point: bool) -> list[Any]:
        plan = self._admitted(statement, params)
        make = maker(plan)
        sql, values = bound(plan, params, point=point, home=self._home)
        rows = await asked(Ask(sql, values, wanted=True))
        return [make(row) for row in rows]

    async def one(self, statement: Any, /, **params: Any) -> Any:
        return exactly_one(await self._rows(statement, params, True))

    async def one_or_none(self, statement: Any, /, **params: Any) -> Any:
        return at_most_one(await self._rows(statement, params, True))

    async def all(self, statement: Any, /, **params: Any) -> list[Any]:
        return bounded(await self._rows(statement, params, False))

    async def scalar(self, statement: Any, /, **params: Any) -> Any:
        row = at_most_one(await self._rows(statement, params, True))
        return None if row is None else row[0]

    async def run(self, statement: Any, /, **params: Any) -> int:
        plan = self._admitted(statement, params)
        sql, values = (plan.sql, plan.bind(params)) if plan.expand is None else plan.expand(params)
        return int(await asked(Ask(sql, values, wanted=False)))

    async def run_many(self, statement: Any, rows: list[dict[str, Any]], /) -> int:
        touched, at = 0, 0
        while at < len(rows):
            plan = self._admitted(statement, rows[at])
            alike = self._alike(plan, statement, rows, at) if plan.counts else []
            if len(alike) > 1:
                touched += int(await asked(Ask(plan.sql, (), wanted=False, rows=alike)))
                at += len(alike)
            else:
                touched += await self.run(statement, **rows[at])
                at += 1
        return touched

    def _alike(self, plan: Plan, statement: Any, rows: list[dict[str, Any]], start: int) -> list[Sequence[Any]]:
        """The values of the rows from `start` on that have the same plan; each is judged."""
        values = []
        for params in rows[start:]:
            if self._plan(statement, params) is not plan:
                break
            values.append(plan.bind(params))
        return values

    def on_commit(self, callback: Callable[[], object]) -> None:
        if not self.open:
            raise over("A tx was used after its transaction had ended.")
        if self.after is None:
            self.after = []
        self.after.append(callback)

    def announce(self, key: str) -> None:
        self.on_commit(partial(self._home.announce, [key]))
