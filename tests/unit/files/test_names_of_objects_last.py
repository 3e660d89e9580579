"""An object that was finished is there after a power cut: its name is synced, and those of all folders above it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tenfold.blocks.files import local
from tenfold.blocks.files.local import LocalStore
from tenfold.core.randomness import SeededRandomness


def test_every_folder_that_was_made_is_synced_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(local, "sync_dir", synced.append)
    folder = tmp_path / "state" / "files"
    store = LocalStore(folder, SeededRandomness(1))

    async def put(name: str) -> None:
        draft = await store.begin(name)
        await draft.write(b"x")
        await draft.finish()

    asyncio.run(put("0123456789abcdef"))
    assert synced[:3] == [tmp_path, tmp_path / "state", folder], "the store's own folders, with the first draft"
    assert synced[3:] == [folder, folder / "objects", folder / "objects" / "ef"]
    synced.clear()
    asyncio.run(put("0123456789abcdff"))
    assert synced == [folder / "objects", folder / "objects" / "ff"]
