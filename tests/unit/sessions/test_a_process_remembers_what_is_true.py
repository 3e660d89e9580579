"""The memory of one process: never an older version over a newer one, never a load from before a drop."""

from __future__ import annotations

from typing import Any

from tenfold.blocks.sessions.memory import KEPT_S, Memory, Record

ID, OTHER = b"a" * 32, b"b" * 32


def record(version: int = 1, id_: bytes = ID, size: int = 10) -> Record:
    values: dict[str, Any] = {"v": version}
    return Record(id_, None, version, 0, 0, values, size)


def version(memory: Memory, now: float = 0.0, id_: bytes = ID) -> int | None:
    found = memory.find(id_, now)
    return None if found is None else found.version


def test_a_load_that_began_before_a_drop_is_not_kept() -> None:
    memory = Memory()
    mark = memory.loading(ID)
    memory.drop(ID)
    memory.loaded(ID, mark, record(), 0.0)
    assert version(memory) is None
    memory.loaded(ID, memory.loading(ID), record(), 0.0)
    assert version(memory) == 1


def test_a_load_that_began_before_a_write_or_a_clear_is_not_kept() -> None:
    memory = Memory()
    mark = memory.loading(ID)
    memory.put(record(2), 0.0)
    memory.loaded(ID, mark, record(1), 0.0)
    assert version(memory) == 2
    mark = memory.loading(ID)
    memory.clear()
    memory.loaded(ID, mark, record(2), 0.0)
    assert (version(memory), memory.bytes) == (None, 0)


def test_of_two_loads_only_the_later_is_kept_and_failed_ones_leave_nothing() -> None:
    memory = Memory()
    first, second = memory.loading(ID), memory.loading(ID)
    memory.loaded(ID, second, record(2), 0.0)
    memory.loaded(ID, first, record(1), 0.0)
    assert version(memory) == 2
    memory.loaded(OTHER, memory.loading(OTHER), None, 0.0)
    assert memory._loading == {}


def test_an_older_version_never_takes_the_place_of_a_newer_one() -> None:
    memory = Memory()
    memory.put(record(3), 0.0)
    memory.put(record(2), 0.0)
    assert version(memory) == 3


def test_nothing_is_believed_for_ever() -> None:
    memory = Memory()
    memory.put(record(), 10.0)
    assert version(memory, 10.0 + KEPT_S - 0.01) == 1
    assert version(memory, 10.0 + KEPT_S) is None


def test_the_session_that_another_id_leads_to_is_not_kept_under_that_id() -> None:
    memory = Memory()
    memory.loaded(OTHER, memory.loading(OTHER), record(), 0.0)
    assert (version(memory), version(memory, id_=OTHER)) == (None, None)


def test_bounds_hold() -> None:
    memory = Memory(entries=3, bytes_limit=100)
    for number in range(10):
        memory.put(record(1, bytes([number]) * 32), 0.0)
        assert len(memory) <= 3
    assert (memory.bytes, memory.evictions) == (30, 7)
    memory.put(record(1, b"z" * 32, size=95), 0.0)
    assert (len(memory), memory.bytes) == (1, 95)
    memory.put(record(1, b"y" * 32, size=101), 0.0)
    assert (len(memory), memory.bytes) == (0, 0)
