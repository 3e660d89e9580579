"""The controller makes the ring of keys and follows up each key with a new one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from lifecycle_contract import check_lifecycle

from tenfold.control.place import Place
from tenfold.control.session_keys import ROTATE_AFTER_S, SessionKeys
from tenfold.core.clock import ManualClock
from tenfold.core.keyring import KeyRing, read
from tenfold.core.randomness import SeededRandomness


def keys(folder: Path, clock: ManualClock) -> SessionKeys:
    return SessionKeys(Place(folder), clock, SeededRandomness(1))


def file(folder: Path) -> Path:
    return folder / ".tenfold" / "secrets" / "session-keys"


def test_the_ring_is_made_and_its_key_followed_by_a_new_one(tmp_path: Path) -> None:
    clock = ManualClock()
    kept = keys(tmp_path, clock)
    assert not kept.see_to_it()
    (first,) = read(file(tmp_path).read_text())
    clock.advance(ROTATE_AFTER_S - 2)
    assert not kept.see_to_it()
    clock.advance(2)
    assert kept.see_to_it()
    second, before = read(file(tmp_path).read_text())
    assert (before, second != first) == (first, True)
    for _ in range(5):
        clock.advance(ROTATE_AFTER_S)
        assert kept.see_to_it()
    assert len(read(file(tmp_path).read_text())) == 3, "older ones signed nothing that is still valid"


def test_a_key_made_by_a_wrong_clock_does_not_stay_for_ever(tmp_path: Path) -> None:
    clock = ManualClock()
    KeyRing(file(tmp_path), ManualClock(wall_us=clock.wall_us() * 2), SeededRandomness(2)).ensure()
    assert keys(tmp_path, clock).see_to_it()


def test_it_runs_and_stops_like_everything_in_the_background(tmp_path: Path) -> None:
    async def run() -> None:
        await check_lifecycle(lambda: keys(tmp_path, ManualClock()), lambda kept: kept.running)  # type: ignore[attr-defined]

    asyncio.run(run())


def test_a_ring_that_is_damaged_is_said_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        kept = keys(tmp_path, ManualClock())
        kept.see_to_it()
        file(tmp_path).write_text("nonsense\n")
        damaged = keys(tmp_path, ManualClock())
        await damaged.start()
        async with asyncio.timeout(10):
            while "holds no ring of keys" not in caplog.text:
                await asyncio.sleep(0.001)
        assert damaged.running
        await damaged.stop()

    asyncio.run(run())
