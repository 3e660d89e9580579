"""The buffer of `record`: when it is written, in what portions, what happens when that fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import MetaData

from tenfold.blocks.database import Database
from tenfold.blocks.events import recorder
from tenfold.blocks.events.recorder import FLUSH_BYTES, FLUSH_EVENTS, Recorder
from tenfold.core.clock import ManualClock
from tenfold.core.errors import UnknownOutcome
from tenfold.core.randomness import SeededRandomness


def data_of(rows: list[dict[str, Any]]) -> list[Any]:
    """The data of all events in the rows."""
    found: list[Any] = []
    for row in rows:
        data = json.loads(row["data"])
        found += [each for _, each in data] if row["events"] > 1 else [data]
    return found


class Buffer:
    """A recorder whose database is a list of the portions that were written."""

    def __init__(self) -> None:
        self.portions: list[list[Any]] = []
        self.write: Callable[[list[dict[str, Any]]], object] = lambda rows: self.portions.append(data_of(rows))
        database = Database(MetaData())
        self.recorder = Recorder(database, ManualClock(), SeededRandomness(1), lambda: None)

        async def write(rows: list[dict[str, Any]]) -> None:
            await asyncio.sleep(0)
            self.write(rows)

        self.recorder._write = write  # type: ignore[assignment]
        self.recorder.start()

    async def settled(self) -> None:
        for _ in range(2_000):
            if not self.recorder.buffered:
                return
            await asyncio.sleep(0.001)
        raise AssertionError("it is never written")


def run(main: Callable[[], Any]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(main(), 20)

    asyncio.run(bounded())


def test_a_few_wait_for_the_timer_and_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "FLUSH_S", 0.01)

    async def main() -> None:
        buffer = Buffer()
        for n in range(5):
            buffer.recorder.add("t", str(n))
        await asyncio.sleep(0)
        assert not buffer.portions
        await buffer.settled()
        assert buffer.portions == [[0, 1, 2, 3, 4]]

    run(main)


@pytest.mark.parametrize(("text", "count"), [("1", FLUSH_EVENTS), (f'"{"x" * 1022}"', FLUSH_BYTES // 1024)])
def test_a_full_portion_does_not_wait(text: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "FLUSH_S", 3600.0)

    async def main() -> None:
        buffer = Buffer()
        for _ in range(count):
            buffer.recorder.add("t", text)
        await buffer.settled()
        assert [len(portion) for portion in buffer.portions] == [count]

    run(main)


def test_a_write_of_unknown_outcome_is_written_again_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "FLUSH_S", 0.001)

    async def main() -> None:
        buffer = Buffer()
        real, failures = buffer.write, [2]

        def fails(rows: list[dict[str, Any]]) -> None:
            if failures[0]:
                failures[0] -= 1
                raise UnknownOutcome("nobody knows")
            real(rows)

        buffer.write = fails
        for n in range(3):
            buffer.recorder.add("t", str(n))
        await buffer.settled()
        assert buffer.portions == [[0, 1, 2]]

    run(main)


def test_stop_writes_what_is_left_and_gives_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "LAST_S", 0.05)

    async def main() -> None:
        buffer = Buffer()
        buffer.recorder.add("t", "1")
        await buffer.recorder.stop()
        assert len(buffer.portions) == 1

        stuck = Buffer()

        def fails(rows: list[dict[str, Any]]) -> None:
            raise UnknownOutcome("for ever")

        stuck.write = fails
        stuck.recorder.add("t", "1")
        await stuck.recorder.stop()
        assert (stuck.recorder.dropped, stuck.recorder.buffered) == (1, 0)

    run(main)


def test_bytes_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "KEPT_BYTES", 10_000)

    async def main() -> None:
        buffer = Buffer()
        buffer.recorder._loop = None  # not started
        for _ in range(30):
            buffer.recorder.add("t", "x" * 1_000)
        assert buffer.recorder.buffered == 10
        assert buffer.recorder.dropped == 20

    run(main)
