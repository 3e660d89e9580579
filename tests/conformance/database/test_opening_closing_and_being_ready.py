from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bank import FIND, database, note, open_account, run
from databases import Kit, opened

from tenfold.blocks.database import Database, DatabaseConfig
from tenfold.blocks.database.schema import CURRENT_VERSION
from tenfold.core.errors import ContractError, Unavailable


def test_a_closed_database_says_so(kit: Kit, tmp_path: Path) -> None:
    async def refused() -> None:
        assert database.ready() == (False, "the database is not open")
        with pytest.raises(Unavailable, match="TF-CLOSED: The database is not open"):
            await open_account("anna")
        with pytest.raises(Unavailable, match="TF-CLOSED"):
            database.read("anna")
        with pytest.raises(Unavailable, match="TF-CLOSED"):
            database.fanout()
        await database.stop()

    async def work() -> None:
        await refused()
        async with opened(kit, tmp_path, database):
            await open_account("anna")
        await refused()

    run(work())


def test_stopping_finishes_what_began(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            calls = [asyncio.create_task(open_account(f"u{at}")) for at in range(500)]
            await asyncio.sleep(0)
            await database.stop()
            assert await asyncio.gather(*calls) == [None] * 500
            with pytest.raises(Unavailable):
                await open_account("late")
        assert kit.outside("SELECT count(*) FROM accounts") == [(500,)]

    run(work())


def test_scopes_that_outlive_the_database_are_told(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        await database.start(kit.create(tmp_path, database.metadata), print)
        async with database.read("anna") as plain, database.read("anna", snapshot=True) as snapshot:
            assert await snapshot.all(FIND, owner="anna") == []
            await database.stop()
            for db in (plain, snapshot):
                with pytest.raises(Unavailable, match="TF-CLOSING: The database is closing"):
                    await db.one(FIND, owner="anna")

    run(work())


def test_an_opening_that_fails_leaves_nothing_open(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        config = kit.create(tmp_path, database.metadata)
        with pytest.raises(Unavailable):
            await database.start(kit.nowhere(config), print)
        assert database.ready() == (False, "the database is not open")
        await database.start(config, print)
        await open_account("anna")
        await database.stop()

    run(work())


def test_writes_wait_for_their_turn_then_fail_and_the_queue_is_bounded(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database, hold_s=1.0, queue=3):
            with kit.locked():
                calls = [asyncio.create_task(open_account(f"u{at}")) for at in range(5)]
                results = await asyncio.gather(*calls, return_exceptions=True)
            codes = sorted(getattr(result, "code", "committed") for result in results)
            assert codes == ["TF-HELD-TOO-LONG"] * 3 + ["TF-QUEUE-FULL"] * 2
            assert {getattr(result, "status", 0) for result in results} == {503}
            await open_account("later")
        assert kit.outside("SELECT owner FROM accounts") == [("later",)]

    run(work())


def test_live_settings_are_taken_over(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        config = kit.create(tmp_path, database.metadata, queue=1)
        await database.start(config, print)
        results = await asyncio.gather(*[open_account(f"u{n}") for n in range(3)], return_exceptions=True)
        assert [getattr(result, "code", None) for result in results] == [None, "TF-QUEUE-FULL", "TF-QUEUE-FULL"]
        database.adopt(dataclasses.replace(config, queue=100, epoch=2))
        await asyncio.gather(*[open_account(f"v{n}") for n in range(3)])
        await database.stop()

    run(work())


async def ready(config: DatabaseConfig, which: Database = database) -> tuple[bool, str]:
    await which.start(config, print)
    try:
        assert which.ready() == which.ready()
        return which.ready()
    finally:
        await which.stop()


def test_a_fresh_schema_is_ready(kit: Kit, tmp_path: Path) -> None:
    assert run(ready(kit.create(tmp_path, database.metadata))) == (True, "")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("DROP TABLE notes", "table notes lacks id, text: run `tenfold migrate`"),
        ("ALTER TABLE notes RENAME COLUMN text TO words", "table notes lacks text: run `tenfold migrate`"),
        ("DROP TABLE tf_schema", "the database has no tables yet: run `tenfold migrate`"),
        ("DELETE FROM tf_schema", "tenfold's tables have version 0, this code needs 1: run `tenfold migrate`"),
    ],
)
def test_a_schema_that_lacks_something_is_not_ready(kit: Kit, tmp_path: Path, damage: str, reason: str) -> None:
    config = kit.create(tmp_path, database.metadata)
    kit.outside(damage)
    assert run(ready(config)) == (False, reason)


def revision(component: str, name: str, kind: str) -> str:
    return f"INSERT INTO tf_schema (component, revision, kind, at_us) VALUES ('{component}', '{name}', '{kind}', 1)"


def test_a_newer_tenfold_that_only_added_is_fine_and_one_that_removed_is_not(kit: Kit, tmp_path: Path) -> None:
    config = kit.create(tmp_path, database.metadata)
    newer = CURRENT_VERSION + 1
    kit.outside(revision("tenfold", str(newer), "expand"))
    assert run(ready(config)) == (True, "")
    kit.outside(revision("tenfold", str(newer + 1), "contract"))
    assert run(ready(config)) == (False, f"the database belongs to a newer tenfold (version {newer + 1})")


def test_the_range_of_the_services_revisions(kit: Kit, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "versions" / "one.py").write_text('revision = "r1"\ndown_revision = None\n')
    (folder / "versions" / "two.py").write_text('revision: str = "r2"\ndown_revision: str | None = "r1"\n')
    config = kit.create(tmp_path, database.metadata, migrations=folder)
    kit.outside(revision("bank", "r1", "expand"))
    assert run(ready(config)) == (False, "revision r2 has not been applied: run `tenfold migrate`")
    kit.outside(revision("bank", "r2", "expand"))
    assert run(ready(config)) == (True, "")
    kit.outside(revision("bank", "r3", "expand"))
    assert run(ready(config)) == (True, "")
    kit.outside(revision("bank", "r4", "contract"))
    assert run(ready(config)) == (False, "revision r4 removed what this code needs: deploy the newer code")


def test_what_contracts_at_the_end_may_still_be_pending(kit: Kit, tmp_path: Path) -> None:
    """A deploy applies it when the code before has left; then this code is ready already, and stays so."""
    files = {
        "one": 'revision = "r1"\ndown_revision = None',
        "two": 'revision = "r2"\ndown_revision = "r1"\nkind = "contract"',
        "three": 'revision = "r3"\ndown_revision = "r2"',
        "four": 'revision = "r4"\ndown_revision = "r3"\nkind: str = "contract"',
        "five": 'revision = "r5"\ndown_revision = "r4"\nkind = "contract"',
    }
    write_revisions(tmp_path, files)
    config = kit.create(tmp_path, database.metadata, migrations=tmp_path)
    for name, kind in (("r1", "expand"), ("r2", "contract")):
        kit.outside(revision("bank", name, kind))
        assert run(ready(config)) == (False, "revision r3 has not been applied: run `tenfold migrate`")
    for name, kind in (("r3", "expand"), ("r4", "contract"), ("r5", "contract"), ("r6", "expand")):
        kit.outside(revision("bank", name, kind))
        assert run(ready(config)) == (True, ""), name
    kit.outside(revision("bank", "r7", "contract"))
    assert run(ready(config)) == (False, "revision r7 removed what this code needs: deploy the newer code")


def test_revisions_that_only_contract_need_nothing_first(kit: Kit, tmp_path: Path) -> None:
    write_revisions(tmp_path, {"one": 'revision = "r1"\ndown_revision = None\nkind = "contract"'})
    config = kit.create(tmp_path, database.metadata, migrations=tmp_path)
    assert run(ready(config)) == (True, "")
    kit.outside(revision("bank", "r1", "contract"))
    assert run(ready(config)) == (True, "")
    kit.outside(revision("bank", "r2", "contract"))
    assert run(ready(config)) == (False, "revision r2 removed what this code needs: deploy the newer code")


async def until(holds: Callable[[], bool], limit_s: float = 10.0) -> None:
    """Returns when it holds; a change may be noticed a moment later, by a look beside the work."""
    async with asyncio.timeout(limit_s):
        while not holds():
            await asyncio.sleep(0.02)


def test_a_change_of_the_schema_is_noticed_while_open(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            assert database.ready() == (True, "")
            kit.outside("ALTER TABLE notes RENAME COLUMN text TO words")
            await until(lambda: database.ready() == (False, "table notes lacks text: run `tenfold migrate`"))
            kit.outside("ALTER TABLE notes RENAME COLUMN words TO text")
            await until(lambda: database.ready() == (True, ""))
            await note(1, "x")

    run(work())


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (
            {"a": 'revision = "a"\ndown_revision = None', "b": 'revision = "b"\ndown_revision = None'},
            "several heads: a, b",
        ),
        ({"a": "revision = ("}, "cannot be read"),
    ],
)
def test_revisions_that_make_no_sense_are_refused(kit: Kit, tmp_path: Path, files: dict[str, str], what: str) -> None:
    write_revisions(tmp_path, files)
    config = kit.create(tmp_path, database.metadata, migrations=tmp_path)
    with pytest.raises(ContractError, match=f"TF-SCHEMA-2: .*{what}"):
        run(ready(config))


def test_merged_revisions_have_one_head(kit: Kit, tmp_path: Path) -> None:
    files = {
        "a": 'revision = "a"\ndown_revision = None',
        "b": 'revision = "b"\ndown_revision = None',
        "c": 'revision = "c"\ndown_revision = ("a", "b")',
    }
    write_revisions(tmp_path, files)
    config = kit.create(tmp_path, database.metadata, migrations=tmp_path)
    assert run(ready(config)) == (False, "revision c has not been applied: run `tenfold migrate`")


def write_revisions(folder: Path, files: dict[str, Any]) -> None:
    (folder / "versions").mkdir()
    for name, content in files.items():
        (folder / "versions" / f"{name}.py").write_text(content)


def test_capabilities_are_declared(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            assert database.capabilities == kit.capabilities

    run(work())
