"""An account that ends in the moment in which a link is listed for it: nothing is left behind, on PostgreSQL too."""

from __future__ import annotations

import asyncio
from pathlib import Path

from postgres import needs_postgres
from postgres_kit import PostgresKit

from shortener.accounts.leaving import mark_gone
from shortener.links.listing import links_of, list_link
from shortener.links.table import Link
from shortener.model import now, tf

OWNER = "owner-0123456789"


@needs_postgres
def test_a_link_is_not_listed_behind_the_end_of_its_account(tmp_path: Path) -> None:
    kit = PostgresKit()

    async def blocked() -> bool:
        found = await asyncio.to_thread(
            kit.outside, "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'owned_links'::regclass"
        )
        return bool(found)

    async def main() -> None:
        await tf.database.start(kit.create(tmp_path, tf.database.metadata), lambda error: None)
        tf.tasks.work(False)
        await tf.tasks.start()
        server = kit.server
        holder = server.errands.run(server.connection(kit.database))
        try:
            # Who inserts waits; who reads does not.
            server.errands.run(holder.execute("BEGIN; LOCK TABLE owned_links IN EXCLUSIVE MODE"))
            link = Link("late", "https://example.com/", now(), None, OWNER)
            listing = asyncio.ensure_future(list_link(OWNER, "late", link))
            async with asyncio.timeout(20):
                while not await blocked():
                    await asyncio.sleep(0.01)
            await mark_gone(OWNER, now())
            assert (await links_of(OWNER)).links == ()
            server.errands.run(holder.execute("ROLLBACK"))
            await asyncio.wait_for(listing, 20)
            assert (await links_of(OWNER)).links == (), "the job has looked already: nobody would delete it"
            assert kit.outside("SELECT name FROM tf_job") == [("delete-left",)]
        finally:
            server.errands.run(holder.close())
            await tf.tasks.stop()
            await tf.database.stop()

    asyncio.run(main())
