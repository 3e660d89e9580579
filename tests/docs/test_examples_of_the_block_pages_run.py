"""The Python on the pages of docs/blocks is run as it stands: its tables are made, then its `main()`."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from own_tables import make_database_file
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from tenfold import Tenfold
from tenfold.drivers.sqlite import open_writer

PAGES = Path(__file__).parents[2] / "docs" / "blocks"


@pytest.mark.parametrize(
    "page",
    [
        "cache.md",
        "database.md",
        "events.md",
        "files.md",
        "ids.md",
        "kv.md",
        "limits.md",
        "log.md",
        "metrics.md",
        "sessions.md",
        "tasks.md",
    ],
)
def test_the_example_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (source,) = re.findall(r"```python\n(.*?)```", (PAGES / page).read_text("utf-8"), re.DOTALL)
    example: dict[str, Any] = {"__name__": "example"}
    exec(compile(source, page, "exec"), example)
    tf: Tenfold = example["tf"]

    async def run() -> None:
        await tf.open()
        try:
            await example["main"]()
        finally:
            await tf.close()

    make_tables(tf, tmp_path)
    asyncio.run(run())


def make_tables(tf: Tenfold, root: Path) -> None:
    path = root / ".tenfold" / "data" / f"{tf.name}.db"
    path.parent.mkdir(parents=True)
    connection = open_writer(make_database_file(path))
    for table in tf.metadata.sorted_tables:
        connection.execute(str(CreateTable(table).compile(dialect=sqlite.dialect())))
    connection.close()
