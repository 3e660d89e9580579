"""The probe's secret: made once, by whoever comes first, readable by its owner only."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tenfold.core.errors import StorageDamaged, UsageError
from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.prove.probe.secret import probe_secret, secret_path

TOGETHER = 8


def test_all_who_come_at_once_get_the_same_secret(tmp_path: Path):
    for round_number in range(20):
        state = tmp_path / str(round_number)
        barrier = Barrier(TOGETHER)

        def come(state: Path = state, barrier: Barrier = barrier) -> str:
            barrier.wait()
            return probe_secret(state, SYSTEM_RANDOMNESS)

        with ThreadPoolExecutor(TOGETHER) as threads:
            secrets = {each.result() for each in [threads.submit(come) for _ in range(TOGETHER)]}
        assert len(secrets) == 1
        assert [path.name for path in (state / "secrets").iterdir()] == ["probe"], "no draft stays"


def test_only_its_owner_can_read_it_and_it_stays(tmp_path: Path):
    first = probe_secret(tmp_path, SYSTEM_RANDOMNESS)
    assert len(first) == 64
    assert stat.S_IMODE(secret_path(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(secret_path(tmp_path).parent.stat().st_mode) == 0o700
    assert probe_secret(tmp_path, SYSTEM_RANDOMNESS) == first
    assert probe_secret(tmp_path / "other", SYSTEM_RANDOMNESS) != first


def test_an_empty_file_is_no_secret(tmp_path: Path):
    probe_secret(tmp_path, SYSTEM_RANDOMNESS)
    secret_path(tmp_path).write_text("\n")
    with pytest.raises(StorageDamaged, match="empty or damaged"):
        probe_secret(tmp_path, SYSTEM_RANDOMNESS)


def test_a_place_where_nothing_can_be_made_is_named(tmp_path: Path):
    (tmp_path / "secrets").write_text("in the way")
    with pytest.raises(UsageError, match="secrets"):
        probe_secret(tmp_path, SYSTEM_RANDOMNESS)
