"""The files block's lifecycle, what it takes from a map, and drafts of processes that died."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from files_lab import map_for, on_disk, started
from lifecycle_contract import check_lifecycle
from own_tables import make_database_file, opened
from sqlalchemy import MetaData

from tenfold.blocks.database import Database
from tenfold.blocks.files import Files, QuotaExceeded, caretaker
from tenfold.blocks.files.local import LocalStore
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.errors import ContractError, StorageFull
from tenfold.core.randomness import SYSTEM_RANDOMNESS

DIES = """
import asyncio, os, sys
from pathlib import Path
from tenfold.blocks.files.local import LocalStore
from tenfold.core.randomness import SYSTEM_RANDOMNESS

async def main():
    draft = await LocalStore(Path(sys.argv[1]), SYSTEM_RANDOMNESS).begin("abc")
    await draft.write(b"half")
    os._exit(0)

asyncio.run(main())
"""


def running(files: object) -> bool:
    found = cast("Files", files)._caretaker
    return found is not None and found.running


def test_it_starts_and_stops_as_everything_does(tmp_path: Path) -> None:
    def make() -> Files:
        files = Files(Database(MetaData()), SYSTEM_CLOCK, SYSTEM_RANDOMNESS)
        files.adopt(map_for(tmp_path))
        return files

    asyncio.run(check_lifecycle(make, running))


def test_the_map_says_the_folder_at_the_start_and_the_quotas_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(make_database_file(tmp_path / "a.db")) as database:
            files = Files(database, SYSTEM_CLOCK, SYSTEM_RANDOMNESS)
            files.adopt(map_for(tmp_path, f'[files]\nfolder = "{tmp_path}/elsewhere"'))
            await files.start()
            await files.save(b"x" * 2_000, owner="a")
            assert len(on_disk(tmp_path / "elsewhere")) == 1
            files.adopt(map_for(tmp_path, '[files]\nfolder = "data/files"\nowner_quota = "1KB"', epoch=2))
            with pytest.raises(QuotaExceeded):
                await files.save(b"x", owner="a")
            await files.save(b"x", owner="b")
            assert len(on_disk(tmp_path / "elsewhere")) == 2
            await files.stop()

    asyncio.run(main())


def test_uploads_before_the_start_are_refused(tmp_path: Path) -> None:
    files = Files(Database(MetaData()), SYSTEM_CLOCK, SYSTEM_RANDOMNESS)
    with pytest.raises(ContractError, match="not open"):
        asyncio.run(files.save(b"x"))


def test_a_draft_is_tidied_away_when_its_writer_died_and_not_before(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DIES, str(tmp_path / "files")], check=True, timeout=30)

    async def main() -> None:
        store = LocalStore(tmp_path / "files", SYSTEM_RANDOMNESS)
        alive = await store.begin("def")
        assert len(on_disk(tmp_path / "files")) == 2
        assert await store.tidy() == 1
        await alive.finish()
        assert on_disk(tmp_path / "files") == ["objects/ef/def"]

    asyncio.run(main())


def test_it_tidies_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caretaker, "EVERY_S", 0.002)
    subprocess.run([sys.executable, "-c", DIES, str(tmp_path / "files")], check=True, timeout=30)

    async def main() -> None:
        async with opened(make_database_file(tmp_path / "a.db")) as database, started(database, tmp_path):
            async with asyncio.timeout(20):
                while on_disk(tmp_path / "files"):
                    await asyncio.sleep(0.005)

    asyncio.run(main())


def test_a_disk_that_is_really_full_is_told(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")

    async def main() -> None:
        async with opened(make_database_file(tmp_path / "a.db")) as database:
            store = LocalStore(tmp_path / "files", SYSTEM_RANDOMNESS)
            begin = store.begin

            async def on_full(name: str, *, durable: bool = True) -> object:
                draft = await begin(name, durable=durable)
                if durable:
                    with full.open("wb", buffering=0) as device:
                        assert draft._fd is not None
                        os.dup2(device.fileno(), draft._fd)
                return draft

            store.begin = on_full  # type: ignore[method-assign,assignment]
            async with started(database, tmp_path, store=store) as files:
                with pytest.raises(StorageFull) as caught:
                    await files.save(b"x" * 1_000)
                assert (caught.value.status, str(tmp_path) in str(caught.value)) == (507, False)
                assert on_disk(tmp_path / "files") == []

    asyncio.run(main())
