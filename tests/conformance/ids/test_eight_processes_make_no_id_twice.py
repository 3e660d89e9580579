"""Real processes on one database, with clocks that step and lives that end without giving the node back."""

from __future__ import annotations

import subprocess
import sys
from array import array
from itertools import pairwise
from pathlib import Path

import pytest
from own_tables import make_database_file

PROCESSES = 8
IDS = 200_000
DRAWER = Path(__file__).parents[2] / "support" / "draw_ids.py"


@pytest.fixture
def drawn(tmp_path: Path) -> list[array[int]]:
    """What each process drew, one array of 64-bit numbers a life."""
    path = make_database_file(tmp_path / "ids.db")
    children = [
        subprocess.Popen([sys.executable, str(DRAWER), str(path), str(tmp_path / f"{seed}"), str(IDS), str(seed)])
        for seed in range(PROCESSES)
    ]
    try:
        assert [child.wait(240) for child in children] == [0] * PROCESSES
    finally:
        for child in children:
            child.kill()
            child.wait()
    return [array("Q", file.read_bytes()) for file in sorted(tmp_path.glob("*.life"))]


def test_no_snowflake_twice_and_each_process_increases(drawn: list[array[int]]) -> None:
    assert sum(map(len, drawn)) == PROCESSES * IDS
    assert len(drawn) == 2 * PROCESSES
    assert all(left < right for life in drawn for left, right in pairwise(life))
    everything = sorted(one for life in drawn for one in life)
    assert all(left < right for left, right in pairwise(everything)), "an id was made twice"
    assert len({(one >> 12) & 0x3FF for one in everything}) >= PROCESSES
