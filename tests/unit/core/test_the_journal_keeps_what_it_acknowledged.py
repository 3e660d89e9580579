"""The journal under torn writes, damage, full disks, successors and kills."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenfold.core.clock import ManualClock
from tenfold.core.errors import StorageDamaged, StorageFull, UsageError
from tenfold.core.journal import RECORD_MAX, Fenced, Journal, Record, read_journal
from tenfold.core.redact import Secret

START_US = 1_700_000_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@contextlib.contextmanager
def opened(path: Path, clock: ManualClock | None = None) -> Iterator[Journal]:
    with contextlib.closing(Journal(path, clock or ManualClock())) as journal:
        yield journal


def filled(path: Path, count: int = 3) -> bytes:
    """A journal with `count` records in epoch 1; its bytes."""
    with opened(path) as journal:
        for number in range(count):
            journal.append("step", {"number": number, "text": "grüße\n\r\u2028"}, 1)
    return path.read_bytes()


def test_a_record_is_one_line_of_json_with_five_fields(path: Path) -> None:
    clock = ManualClock(START_US)
    with opened(path, clock) as journal:
        first = journal.append("move.intent", {"to": 2}, 1)
        clock.advance(1.5)
        journal.append("move.done", {}, 3)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [
        {"epoch": 1, "seq": 1, "at_us": START_US, "kind": "move.intent", "data": {"to": 2}},
        {"epoch": 3, "seq": 2, "at_us": START_US + 1_500_000, "kind": "move.done", "data": {}},
    ]
    assert first == Record(1, 1, START_US, "move.intent", {"to": 2})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_was_appended_is_read_back_by_the_next(path: Path) -> None:
    filled(path)
    with opened(path) as journal:
        assert [(record.seq, record.data["number"]) for record in journal.records] == [(1, 0), (2, 1), (3, 2)]
        assert journal.records[0].data["text"] == "grüße\n\r\u2028"
        assert journal.records == read_journal(path)
        assert journal.append("more", {}, 1).seq == 4


def test_an_empty_or_missing_journal_has_no_records_and_epoch_0(path: Path) -> None:
    assert read_journal(path) == ()
    assert not path.exists()
    with opened(path) as journal:
        assert (journal.records, journal.epoch) == ((), 0)
    assert read_journal(path) == ()


def test_each_record_is_synced_before_it_is_acknowledged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(path) as journal:
        synced: list[int] = []
        real = os.fsync

        def fsync(fd: int) -> None:
            real(fd)
            synced.append(os.fstat(fd).st_size)

        monkeypatch.setattr("tenfold.core.journal.os.fsync", fsync)
        for _ in range(3):
            journal.append("x", {}, 1)
            assert synced[-1] == path.stat().st_size
        assert len(synced) == 3


def test_a_record_torn_at_any_byte_is_dropped_and_the_rest_kept(path: Path) -> None:
    whole = filled(path)
    last = whole[:-1].rfind(b"\n") + 1
    for cut in range(last, len(whole)):
        path.write_bytes(whole[:cut])
        assert len(read_journal(path)) == 2
        assert path.read_bytes() == whole[:cut], "a reader changes nothing"
        with opened(path) as journal:
            assert path.read_bytes() == whole[:last]
            assert journal.append("again", {}, 1).seq == 3
        assert [record.kind for record in read_journal(path)] == ["step", "step", "again"]


def test_zeros_that_a_crash_left_at_the_end_are_a_torn_line(path: Path) -> None:
    whole = filled(path)
    path.write_bytes(whole + b"\0" * 4096)
    with opened(path) as journal:
        assert len(journal.records) == 3
    assert path.read_bytes() == whole


DAMAGE: dict[str, bytes] = {
    "not JSON": b"{nonsense}",
    "empty": b"",
    "zeros": b"\0\0\0",
    "not UTF-8": b'{"epoch":1,"seq":2,"at_us":1,"kind":"\xff","data":{}}',
    "another kind of JSON": b"[1,2,3]",
    "a gap": b'{"epoch":1,"seq":3,"at_us":1,"kind":"x","data":{}}',
    "a repetition": b'{"epoch":1,"seq":1,"at_us":1,"kind":"x","data":{}}',
    "an older epoch": b'{"epoch":4,"seq":2,"at_us":1,"kind":"x","data":{}}',
    "epoch 0": b'{"epoch":0,"seq":2,"at_us":1,"kind":"x","data":{}}',
    "a truth for a number": b'{"epoch":5,"seq":2,"at_us":true,"kind":"x","data":{}}',
    "a number for a text": b'{"epoch":5,"seq":2,"at_us":1,"kind":7,"data":{}}',
    "a list for an object": b'{"epoch":5,"seq":2,"at_us":1,"kind":"x","data":[]}',
    "a field too many": b'{"epoch":5,"seq":2,"at_us":1,"kind":"x","data":{},"more":1}',
    "a field too few": b'{"epoch":5,"seq":2,"at_us":1,"kind":"x"}',
    "deep nesting": b"[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
@pytest.mark.parametrize("last", [False, True], ids=["in the middle", "in the last line"])
def test_damage_in_a_whole_line_is_refused_by_number_and_left_alone(path: Path, damage: bytes, last: bool) -> None:
    good = [b'{"epoch":5,"seq":%d,"at_us":1,"kind":"x","data":{}}' % seq for seq in (1, 2, 3)]
    lines = [good[0], damage] if last else [good[0], damage, good[2]]
    path.write_bytes(b"\n".join(lines) + b"\n")
    before = path.read_bytes()
    for read in (read_journal, lambda p: Journal(p, ManualClock())):
        with pytest.raises(
            StorageDamaged, match=r"journal\.jsonl is damaged in line 2: that is not record 2"
        ) as caught:
            read(path)
        assert caught.value.hint
    assert path.read_bytes() == before


def test_every_flipped_bit_is_found_or_changes_only_what_a_record_says(path: Path) -> None:
    whole = filled(path, 2)
    for at in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
            try:
                records = read_journal(path)
            except StorageDamaged:
                continue
            assert [record.seq for record in records] in ([1, 2], [1]), f"bit {bit} of byte {at}"


def test_a_predecessor_is_fenced_and_writes_nothing(path: Path) -> None:
    with opened(path) as old, opened(path) as new:
        old.append("x", {}, 4)
        new.append("x", {}, 5)
        before = path.read_bytes()
        with pytest.raises(Fenced, match="belongs to epoch 5; epoch 4 may not write"):
            old.append("x", {}, 4)
        assert path.read_bytes() == before
        assert old.epoch == 5
        assert old.append("x", {}, 5).seq == 3, "the same epoch may go on"


def test_an_epoch_below_the_first_is_a_mistake(path: Path) -> None:
    with opened(path) as journal, pytest.raises(AssertionError, match="count from 1"):
        journal.append("x", {}, 0)


def test_processes_that_append_at_once_share_one_sequence(path: Path) -> None:
    code = """
import sys
from tenfold.core.clock import SystemClock
from tenfold.core.journal import Journal
journal = Journal(sys.argv[1], SystemClock())
for n in range(40):
    journal.append(sys.argv[2], {"n": n}, 1)
"""
    running = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "abc"]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    records = read_journal(path)
    assert [record.seq for record in records] == list(range(1, 121))
    for name in "abc":
        assert [record.data["n"] for record in records if record.kind == name] == list(range(40))


def test_a_writer_that_is_killed_loses_nothing_it_acknowledged(path: Path) -> None:
    code = """
import sys
from tenfold.core.clock import SystemClock
from tenfold.core.journal import Journal
journal = Journal(sys.argv[1], SystemClock())
while True:
    record = journal.append("x", {"pad": "x" * 2000}, 1)
    print(record.seq, flush=True)
"""
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(20):
                acknowledged = int(process.stdout.readline())
            process.kill()
            rest = process.stdout.read().splitlines()
        acknowledged = int(rest[-1]) if rest else acknowledged
        with opened(path) as journal:
            assert len(journal.records) >= acknowledged


def test_a_full_disk_keeps_what_was_there_and_may_be_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = filled(path)
    with opened(path) as journal:
        real = os.write
        calls: list[int] = []

        def half(fd: int, data: bytes) -> int:
            calls.append(fd)
            if len(calls) > 1:
                raise OSError(errno.ENOSPC, "full")
            return real(fd, data[:10])

        with monkeypatch.context() as broken:
            broken.setattr("tenfold.core.files.os.write", half)
            with pytest.raises(StorageFull, match="Cannot write the journal"):
                journal.append("x", {}, 1)
        assert path.read_bytes() == before
        assert len(journal.records) == 3
        assert journal.append("x", {}, 1).seq == 4
    assert len(read_journal(path)) == 4


def fail_with(number: int) -> Any:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_after_a_failed_sync_only_a_journal_opened_anew_may_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(path)
    with opened(path) as journal:
        with monkeypatch.context() as broken:
            broken.setattr("tenfold.core.journal.os.fsync", fail_with(errno.EIO))
            with pytest.raises(StorageDamaged, match="Input/output error"):
                journal.append("x", {}, 1)
        with pytest.raises(AssertionError, match="open the journal anew"):
            journal.append("x", {}, 1)
    with opened(path) as journal:
        assert len(journal.records) == 3
        assert journal.append("x", {}, 1).seq == 4


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"x": float("nan")}, ValueError),
        ({"x": object()}, TypeError),
        ({"x": Secret("hunter2")}, TypeError),
        ({"x": "\ud800"}, ValueError),
        ({"x": "y" * RECORD_MAX}, ValueError),
    ],
    ids=["nan", "object", "secret", "surrogate", "too long"],
)
def test_data_that_json_cannot_carry_is_refused_before_anything_is_written(
    path: Path, data: dict[str, Any], kind: type[Exception]
) -> None:
    before = filled(path)
    with opened(path) as journal:
        with pytest.raises(kind):
            journal.append("x", data, 1)
        assert path.read_bytes() == before
        assert journal.append("x", {}, 1).seq == 4


def test_what_the_caller_changes_later_does_not_change_the_record(path: Path) -> None:
    data: dict[str, Any] = {"list": (1, 2)}
    with opened(path) as journal:
        record = journal.append("x", data, 1)
        data["list"] = None
        assert record.data == {"list": [1, 2]}
        assert journal.records == read_journal(path)


def test_a_journal_that_became_shorter_is_not_written_over(path: Path) -> None:
    whole = filled(path)
    with opened(path) as journal:
        path.write_bytes(whole[:50])
        with pytest.raises(StorageDamaged, match="become shorter"):
            journal.append("x", {}, 1)
        assert path.read_bytes() == whole[:50]


def test_a_missing_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Cannot open the journal"):
        Journal(tmp_path / "nowhere" / "x", ManualClock())
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="Cannot read the journal"):
        read_journal(tmp_path / "folder")


def test_closing_twice_is_fine_and_writing_afterwards_is_not(path: Path) -> None:
    journal = Journal(str(path), ManualClock())
    journal.close()
    journal.close()
    with pytest.raises(AssertionError, match="closed"):
        journal.append("x", {}, 1)


def test_a_damaged_journal_leaves_no_open_file(path: Path) -> None:
    path.write_bytes(b"nonsense\n")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(StorageDamaged):
        Journal(path, ManualClock())
    assert os.listdir("/proc/self/fd") == before
