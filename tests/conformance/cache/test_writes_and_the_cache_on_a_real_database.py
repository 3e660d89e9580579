"""P9 with real transactions: group commit in a thread, rolled back bodies, readers that never stop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import databases
import pytest
from cache_backends import BACKENDS
from databases import Kit
from sqlalchemy import MetaData, bindparam, insert, select, update

from tenfold import Column, Int64, Text, sharded_by
from tenfold.blocks.cache import MISSING, Cache
from tenfold.blocks.database import Database, Transaction
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.errors import Conflict, ContractError
from tenfold.core.randomness import SYSTEM_RANDOMNESS


class Service:
    """Links with a version, read through the cache, written in transactions that invalidate."""

    def __init__(self, make: Callable[..., Cache]) -> None:
        self.slow_turns = 0
        self.database = database = Database(MetaData())
        self.links = database.table(
            "links",
            Column("code", Text(32), primary_key=True),
            Column("version", Int64(), nullable=False),
            home=sharded_by("code"),
        )
        self.cache = make(SYSTEM_CLOCK, SYSTEM_RANDOMNESS, in_transaction=database.in_transaction)
        find_row = select(self.links.c.version).where(self.links.c.code == bindparam("code"))
        add = insert(self.links)
        bump = (
            update(self.links)
            .where(self.links.c.code == bindparam("of"))
            .values(version=self.links.c.version + bindparam("by"))
        )

        @self.cache.read("link:{code}", ttl="1h")
        async def find(code: str) -> int | None:
            async with database.read(key=code) as db:
                version: int | None = await db.scalar(find_row, code=code)
            for _ in range(self.slow_turns):  # the value is on its way while writes commit
                await asyncio.sleep(0)
            return version

        @database.transaction(key="code")
        async def create(tx: Transaction, code: str) -> None:
            await tx.run(add, code=code, version=1)
            self.cache.invalidate(tx, find, code)

        @database.transaction(key="code")
        async def change(tx: Transaction, code: str, fails: bool = False) -> int:
            await tx.run(bump, of=code, by=1)
            self.cache.invalidate(tx, find, code)
            if fails:
                raise Conflict("Changed one's mind.")
            return int(await tx.scalar(find_row, code=code))

        @database.transaction(key="code")
        async def read_inside(tx: Transaction, code: str) -> int:
            return await find(code) or 0

        self.find, self.create, self.change, self.read_inside = find, create, change, read_inside

    async def open(self, kit: Kit, folder: Path) -> None:
        await self.database.start(kit.create(folder, self.database.metadata), lambda error: None)


@pytest.fixture(params=BACKENDS)
def made(request: pytest.FixtureRequest) -> Callable[..., Cache]:
    return BACKENDS[request.param]


@pytest.fixture(params=databases.PARAMETERS)
def run(
    request: pytest.FixtureRequest, made: Callable[..., Cache], tmp_path: Path
) -> Callable[[Callable[[Service], Coroutine[Any, Any, None]]], None]:
    def with_service(body: Callable[[Service], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            service = Service(made)
            await service.open(databases.BACKENDS[request.param](), tmp_path)
            try:
                await asyncio.wait_for(body(service), 60)
            finally:
                await service.database.stop()

        asyncio.run(whole())

    return with_service


def test_a_code_that_was_unknown_is_found_after_it_was_created(run: Callable[..., None]) -> None:
    async def body(service: Service) -> None:
        assert await service.find("a") is None
        assert service.find.peek("a") is None
        await service.create("a")
        assert service.find.peek("a") is MISSING
        assert await service.find("a") == 1

    run(body)


def test_a_body_that_is_rolled_back_invalidates_nothing(run: Callable[..., None]) -> None:
    async def body(service: Service) -> None:
        await service.create("a")
        await service.find("a")
        with pytest.raises(Conflict):
            await service.change("a", fails=True)
        assert service.find.peek("a") == 1
        assert await service.change("a") == 2
        assert service.find.peek("a") is MISSING

    run(body)


def test_a_body_that_reads_through_the_cache_is_told_so_on_a_hit_too(run: Callable[..., None]) -> None:
    async def body(service: Service) -> None:
        await service.create("a")
        await service.find("a")
        with pytest.raises(ContractError, match="TF-CACHE-TX"):
            await service.read_inside("a")

    run(body)


def test_no_reader_sees_less_than_what_was_acknowledged_before_it_began(run: Callable[..., None]) -> None:
    async def body(service: Service) -> None:
        service.slow_turns = 20
        codes = [f"c{number}" for number in range(4)]
        acknowledged = dict.fromkeys(codes, 1)
        draw, reads, writing = random.Random(7), 0, True
        await asyncio.gather(*map(service.create, codes))

        def enough() -> bool:
            stats = service.cache.stats()
            return sum(acknowledged.values()) > 400 and reads > 1_000 and stats.hits > 100 and stats.loads > 50

        async def writer(code: str) -> None:
            while not enough():  # a run that reads, hits or loads too little would prove nothing
                fails = draw.random() < 0.2
                try:
                    version = await service.change(code, fails=fails)
                except Conflict:
                    continue
                acknowledged[code] = max(acknowledged[code], version)
                peeked = service.find.peek(code)
                assert peeked is MISSING or (peeked or 0) >= version

        async def reader() -> None:
            nonlocal reads
            while writing:
                code = draw.choice(codes)
                before = acknowledged[code]
                assert (await service.find(code) or 0) >= before
                reads += 1
                await asyncio.sleep(0)

        readers = [asyncio.create_task(reader()) for _ in range(20)]
        await asyncio.gather(*(writer(code) for code in codes * 2))
        writing = False
        await asyncio.gather(*readers)
        assert enough()

    run(body)
