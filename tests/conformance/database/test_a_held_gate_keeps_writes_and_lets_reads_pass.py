"""What a map that holds means for a service, on every backend."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

from bank import COUNT_ACCOUNTS, FIND, database, open_account, run
from databases import Kit

from tenfold.blocks.database.scope import RequestScope, enter_scope
from tenfold.core.errors import Unavailable


async def all_wait(count: int) -> None:
    while database.holding.now < count:
        await asyncio.sleep(0.001)


def test_writes_wait_reads_pass_and_nothing_fails(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        config = kit.create(tmp_path, database.metadata)
        await database.start(config, print)
        try:
            await open_account("ann", 1)
            database.adopt(dataclasses.replace(config, epoch=2, held=True))
            calls = [asyncio.create_task(open_account(f"u{number}")) for number in range(50)]
            await all_wait(50)
            async with database.read(key="ann") as db:
                assert (await db.one(FIND, owner="ann")).balance == 1
            async with database.fanout() as db:
                assert await db.scalar(COUNT_ACCOUNTS) == 1
            assert database.ready()[0]
            database.adopt(dataclasses.replace(config, epoch=3))
            await asyncio.gather(*calls)
            async with database.fanout() as db:
                assert await db.scalar(COUNT_ACCOUNTS) == 51
            assert database.holding.total == 50
        finally:
            await database.stop()

    run(work())


def test_a_caller_who_leaves_while_it_waits_has_done_nothing(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        config = kit.create(tmp_path, database.metadata)
        await database.start(config, print)
        try:
            database.adopt(dataclasses.replace(config, epoch=2, held=True))
            leaves, stays = asyncio.create_task(open_account("leaves")), asyncio.create_task(open_account("stays"))
            await all_wait(2)
            leaves.cancel()
            database.adopt(dataclasses.replace(config, epoch=3))
            await stays
        finally:
            await database.stop()
        assert kit.outside("SELECT owner FROM accounts") == [("stays",)]

    run(work())


def test_bounds_of_time_and_number_end_in_unavailable(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        config = kit.create(tmp_path, database.metadata, hold_s=0.1, queue=2)
        await database.start(config, print)
        try:
            database.adopt(dataclasses.replace(config, epoch=2, held=True))
            calls = [asyncio.create_task(open_account(f"u{number}")) for number in range(3)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            codes = [result.code for result in results if isinstance(result, Unavailable)]
            assert codes == ["TF-HELD-TOO-LONG", "TF-HELD-TOO-LONG", "TF-QUEUE-FULL"]
            database.adopt(dataclasses.replace(config, epoch=3, hold_s=25.0))
            await open_account("later")
        finally:
            await database.stop()
        assert kit.outside("SELECT owner FROM accounts") == [("later",)]

    run(work())


def test_a_client_carries_the_newest_map_that_it_has_written_by(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        config = kit.create(tmp_path, database.metadata, epoch=4)
        await database.start(config, print)
        try:
            request = RequestScope()
            enter_scope(request)
            await open_account("ann")
            assert request.token.epoch == 4
            database.adopt(dataclasses.replace(config, epoch=9))
            await open_account("bob")
            assert request.token.epoch == 9, "so that a process with an older map looks for it first"
        finally:
            await database.stop()

    run(work())
