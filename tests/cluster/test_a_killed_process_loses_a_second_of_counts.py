"""What the page says of SIGKILL: `add` may lose what came since the last write, `add_in` loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from own_tables import make_database_file

from tenfold import Tenfold

COUNTS = """
import asyncio, signal, sys
from tenfold import Tenfold

tf = Tenfold("shop")
clicks, paid = tf.metrics.count("clicks"), tf.metrics.count("paid")

@tf.database.transaction()
async def pay(tx):
    await paid.add_in(tx)

async def main():
    going = True
    def leave():
        nonlocal going
        going = False
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave)
    await tf.open()
    count = 0
    while going:
        count += 1
        clicks.add()
        await pay()
        written = tf.metrics.stats().flushes
        print(count, written, flush=True)
        await asyncio.sleep(0.001)
    await tf.close()

asyncio.run(main())
"""


@contextlib.contextmanager
def counting(folder: Path) -> Iterator[subprocess.Popen[str]]:
    (folder / ".tenfold" / "data").mkdir(parents=True)
    make_database_file(folder / ".tenfold" / "data" / "shop.db")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TENFOLD_")}
    with subprocess.Popen(
        [sys.executable, "-c", COUNTS], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until_written(process: subprocess.Popen[str], times: int) -> list[tuple[int, int]]:
    """What the process said until it has written so often: (what it counted, how often it has written)."""
    said: list[tuple[int, int]] = []
    assert process.stdout is not None
    while not said or said[-1][1] < times:
        count, written = process.stdout.readline().split()
        said.append((int(count), int(written)))
    return said


def last_of(process: subprocess.Popen[str], said: list[tuple[int, int]]) -> int:
    """What it had counted when it said its last line. (`communicate` would not give what is in the buffer already.)"""
    assert process.stdout is not None
    rest = process.stdout.read().split("\n")[:-1]
    return int(rest[-1].split()[0]) if rest else said[-1][0]


def read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What is there afterwards, for another process."""
    monkeypatch.chdir(folder)
    tf = Tenfold("shop")
    for name in ("clicks", "paid"):
        tf.metrics.count(name)

    async def run() -> dict[str, int]:
        await tf.open()
        try:
            return {
                name: sum(int(day.value) for day in await tf.metrics.read(name, days=2)) for name in ("clicks", "paid")
            }
        finally:
            await tf.close()

    return asyncio.run(run())


def test_a_kill_loses_what_was_not_written_and_no_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with counting(tmp_path) as process:
        said = until_written(process, 2)
        process.send_signal(signal.SIGKILL)
        counted = last_of(process, said)
    before = next(count for count, times in said if times == 1)  # was counted when the second write began
    found = read(tmp_path, monkeypatch)
    assert found["paid"] in (counted, counted + 1), "one may have committed after its process could say so"
    assert before <= found["clicks"] <= counted + 1


def test_an_end_in_order_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with counting(tmp_path) as process:
        said = until_written(process, 1)
        process.send_signal(signal.SIGTERM)
        counted = last_of(process, said)
        assert process.wait(20) == 0
    assert read(tmp_path, monkeypatch) == {"clicks": counted, "paid": counted}
