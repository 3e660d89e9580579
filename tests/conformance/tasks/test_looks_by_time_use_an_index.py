"""What a worker asks again and again finds its rows in an index, however many jobs wait for their time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from databases import Kit
from tasks_lab import Process

from tenfold.blocks.tasks import statements as sql

JOBS = 3_000
LOOKS = [
    pytest.param(sql.NEXT_DUE, {}, "tf_job_due", id="next due"),
    pytest.param(sql.DUE, {"now": 5, "count": 10}, "tf_job_due", id="due"),
    pytest.param(sql.FORGET, {"now": 5, "count": 10}, "tf_job_kept", id="forget"),
]


@pytest.mark.parametrize(("statement", "params", "index"), LOOKS)
def test_a_look_by_time_reads_the_index_of_its_state(
    kit: Kit, tmp_path: Path, statement: Any, params: dict[str, int], index: str
) -> None:
    kit.create(tmp_path, Process().database.metadata)
    kit.outside(_jobs())
    kit.outside("ANALYZE")
    plan = kit.explained(statement, **params)
    assert index in plan, plan
    assert "tf_job_turn" not in plan, plan


def _jobs() -> str:
    """Rows of many lanes, scheduled and kept: as many as make a scan worth avoiding."""
    some = (f"('j{n}', 0, 'q', 'n', 'lane{n % 7}', {(2, 5)[n % 2]}, {n}, {n}, 0, '{{}}')" for n in range(JOBS))
    columns = "id, bucket, queue, name, lane, state, rank, due_us, priority, payload"
    return f"INSERT INTO tf_job ({columns}) VALUES {', '.join(some)}"
