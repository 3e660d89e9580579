"""What was recorded is read back as it was; a cut last line costs that line; other damage is named by its line."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import pytest
from histories import op
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.core.errors import SpecError, StorageFull, UsageError
from tenfold.prove.history import BUFFER, History, Operation, Status, Window, read_history, recording_of

KILL = Window("kill", "web-1", 10, 20, True, "pid 7")


def recorded(path: Path, count: int = 3) -> Path:
    with History(path, 42, {"rate": 100}) as history:
        for number in range(count):
            history.add(op("add", number, number, number + 5, workload="set"))
        history.add_window(KILL)
        history.add_fact("rate reached", 99.5)
    return path


values = st.none() | st.integers(-(2**63), 2**63) | st.text() | st.lists(st.integers() | st.text(), max_size=3)
operations = st.builds(
    Operation,
    process=st.integers(0, 9),
    function=st.sampled_from(["add", "read"]),
    key=st.text(),
    value=values,
    start_us=st.integers(0, 100),
    sent_us=st.integers(0, 100),
    end_us=st.integers(100, 200),
    status=st.sampled_from(Status),
    node=st.text(),
    token=st.text(),
    http=st.integers(0, 599),
    keyed=st.booleans(),
    attempts=st.integers(1, 3),
)


@given(st.lists(operations, max_size=5))
@settings(max_examples=100, deadline=None)
def test_what_was_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, made: list[Operation]) -> None:
    path = tmp_path_factory.getbasetemp() / "history"
    with History(path, 1) as history:
        for each in made:
            history.add(each)
    assert read_history(path).operations == tuple(sorted(made, key=lambda each: each.start_us))


def test_faults_seed_and_facts_come_back_too(tmp_path: Path) -> None:
    found = read_history(recorded(tmp_path / "h"))
    assert (found.seed, found.windows, found.notes) == (42, (KILL,), ())
    assert found.facts == {"rate": 100, "rate reached": 99.5}
    assert [each.value for each in found.of("set")] == [0, 1, 2]
    assert found.of("bank") == ()


def test_only_its_user_can_read_a_history(tmp_path: Path) -> None:
    assert stat.S_IMODE(recorded(tmp_path / "h").stat().st_mode) == 0o600


def test_a_last_line_cut_anywhere_is_left_out_with_a_note(tmp_path: Path) -> None:
    path = recorded(tmp_path / "h")
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for cut in range(last + 1, len(whole)):
        path.write_bytes(whole[:cut])
        found = read_history(path)
        assert (len(found.operations), found.windows) == (3, (KILL,))
        assert "rate reached" not in found.facts
        assert f"({cut - last} bytes) was cut off" in found.notes[0]


@pytest.mark.parametrize("line", [1, 3, 5])
@pytest.mark.parametrize("damage", [b"", b"{", b"\x00\xff", b"[1]", b'{"line":"op"}', b'{"line":"else"}', b"[" * 5_000])
def test_damage_in_the_middle_is_named_by_its_line(tmp_path: Path, line: int, damage: bytes) -> None:
    path = recorded(tmp_path / "h")
    lines = path.read_bytes().split(b"\n")
    lines[line - 1] = damage
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(SpecError, match=rf"damaged in line {line}: "):
        read_history(path)


def test_lines_that_say_the_impossible_are_named(tmp_path: Path) -> None:
    path = recorded(tmp_path / "h")
    head, *rest = path.read_bytes().split(b"\n")
    backwards = msgspec.json.encode(op("add", 1, 9, 8))
    for lines, number in (([head, backwards, *rest], 2), ([head, rest[0], head, *rest], 3), (rest, 1)):
        path.write_bytes(b"\n".join(lines))
        with pytest.raises(SpecError, match=rf"damaged in line {number}: "):
            read_history(path)
    path.write_bytes(head.replace(b'"seed":42', b'"seed":42,"version":7') + b"\n")
    with pytest.raises(SpecError, match="it is of version 7, this is version 1"):
        read_history(path)


@pytest.mark.parametrize("content", [b"", b"{"])
def test_a_file_without_a_line_is_no_history(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "h").write_bytes(content)
    with pytest.raises(SpecError, match="damaged in line 1: there is no line in it"):
        read_history(tmp_path / "h")


def test_a_history_that_is_not_there_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_history(tmp_path / "h")


def test_a_history_has_a_limit_and_keeps_what_it_had(tmp_path: Path) -> None:
    history = History(tmp_path / "h", 1, limit=1_200)
    line = op("add", "x" * 100, 0, 1)
    for _ in range(4):
        history.add(line)
    with pytest.raises(UsageError, match="has reached its limit of 1200 bytes"):
        history.add(msgspec.structs.replace(line, value="x" * 600))
    history.add(line)
    history.close()
    history.close()
    assert (tmp_path / "h").stat().st_size <= 1_200
    assert read_history(tmp_path / "h").operations == (line,) * 5


def test_a_full_disk_is_named_and_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(tmp_path / "h", 1)
    for number in range(5):
        history.add(op("add", number, 0, 1))
    history.flush()
    whole = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda fd, data: whole(fd, bytes(data)[:7]) if len(data) > 7 else _no_space())
        history.add(op("add", 5, 0, 1))
        with pytest.raises(StorageFull):
            history.flush()
    history.close()
    assert [each.value for each in read_history(tmp_path / "h").operations] == list(range(6))


def _no_space() -> int:
    raise OSError(28, "No space left on device")


def test_what_was_flushed_is_there_while_the_writer_lives(tmp_path: Path) -> None:
    history = History(tmp_path / "h", 1)
    history.add(op("add", 1, 0, 1))
    history.flush()
    assert len(read_history(tmp_path / "h").operations) == 1
    history.add(op("add", "x" * BUFFER, 0, 1))
    assert len(read_history(tmp_path / "h").operations) == 2
    history.close()


def test_a_recording_is_ordered_by_when_things_were_meant_to_start() -> None:
    late, early = op("add", 1, 5, 6), op("add", 2, 3, 9)
    assert recording_of([late, early]).operations == (early, late)
    assert Operation(1, "read", "k", None, 10, 12, 30, Status.OK).latency_us == 20
