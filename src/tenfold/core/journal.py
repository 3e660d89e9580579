"""An append-only file of what was intended and what was done, one JSON object a line.

Whoever carries out something long writes an intent before each effect and a done after it; after a crash the successor
reads the file and knows where to go on. So a record is on the disk when `append` returns, a crash in the middle of one
leaves everything before it readable, and a predecessor that is still alive cannot write once its successor has.

Line: `{"epoch": 3, "seq": 17, "at_us": 1700000000000000, "kind": "move.intent", "data": {...}}`; `seq` counts from 1
without gaps, epochs never go down. A last line without its line feed was never acknowledged; it is dropped.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.core.clock import Clock
from tenfold.core.errors import Conflict, StorageDamaged, StorageFull
from tenfold.core.files import storage_error, storage_errors, sync_dir, write_all

RECORD_MAX = 1024 * 1024
"""Bytes of one record. A journal says what happened; it is not a place for data."""


class Fenced(Conflict):
    """A successor has written to the journal: this writer is no longer in charge and must stop what it does."""

    code = "TF-FENCED"
    title = "Somebody else is in charge now"


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the journal; `at_us` is wall time in microseconds, for people (the order is that of `seq`)."""

    epoch: int
    seq: int
    at_us: int
    kind: str
    data: dict[str, Any]


class Journal:
    """The journal in a file, which is made when it is missing (mode 0600).

    Several processes may have it open: each append holds a kernel lock and first reads what others have added, so
    `seq` has no gaps and fencing is certain. Blocks for an fsync: call it from a thread (one at a time) where a loop
    must go on.
    """

    def __init__(self, path: Path | str, clock: Clock) -> None:
        """Reads the whole file; `StorageDamaged` names a line that is not a record, else see `storage_error`."""
        self.path = Path(path)
        self._clock = clock
        self._records: list[Record] = []
        self._size = 0
        self._broken = False
        with storage_errors("open the journal", self.path):
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            sync_dir(self.path.parent)
        try:
            with self._locked():
                self._catch_up()
        except BaseException:
            self.close()
            raise

    @property
    def records(self) -> tuple[Record, ...]:
        """Everything that this object has read or written, oldest first."""
        return tuple(self._records)

    @property
    def epoch(self) -> int:
        """The epoch of the last record; 0 when there is none. A successor begins with one above it."""
        return self._records[-1].epoch if self._records else 0

    def claim(self, kind: str, data: Mapping[str, Any], *, after: int) -> Record:
        """`append` under the epoch after `after`, which fences everybody before; the record has the new epoch.

        Raises `Fenced` when the epoch of the journal is not `after` any more: somebody else has claimed it.
        """
        return self._append(kind, data, after + 1, expected=after)

    def append(self, kind: str, data: Mapping[str, Any], epoch: int) -> Record:
        """Adds a record; it is on the disk when this returns.

        Raises `Fenced` when the journal has a higher epoch already, `StorageFull` when the disk is full (the file is as
        it was, and appending may be tried again), `StorageDamaged` when the disk fails (open the journal anew then),
        `TypeError` or `ValueError` for data that JSON cannot carry.
        """
        return self._append(kind, data, epoch)

    def _append(self, kind: str, data: Mapping[str, Any], epoch: int, expected: int | None = None) -> Record:
        assert epoch >= 1, "epochs count from 1"
        assert not self._broken, "after a failed fsync nobody knows what is on the disk; open the journal anew"
        with self._locked():
            self._catch_up()
            if epoch < self.epoch or expected not in (None, self.epoch):
                raise Fenced(
                    f"The journal {self.path} belongs to epoch {self.epoch}; epoch {epoch} may not write to it now.",
                    hint="Stop: another process has taken over, and goes on from what the journal says.",
                )
            line = _encode(Record(epoch, len(self._records) + 1, self._clock.wall_us(), kind, dict(data)))
            self._write(line)
        record = _record(line)  # as a successor will read it, and out of reach of whoever changes `data` later
        assert record is not None, "a record is read back as it was written"
        self._records.append(record)
        self._size += len(line)
        return record

    def refresh(self) -> int:
        """Reads what others have added; the epoch of the last record. See `append` for what it raises."""
        with self._locked():
            self._catch_up()
        return self.epoch

    def close(self) -> None:
        """Closes the file; safe to call twice."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        assert self._fd >= 0, "the journal is closed"
        with storage_errors("lock the journal", self.path):
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _catch_up(self) -> None:
        """Reads what was added since the last look, and cuts off a torn last line, which nobody can be writing now."""
        with storage_errors("read the journal", self.path):
            found = os.fstat(self._fd).st_size
            if found < self._size:
                raise StorageDamaged(
                    f"The journal {self.path} has become shorter while it was open.",
                    hint="Somebody else has changed it; look at it, then start anew.",
                )
            added = os.pread(self._fd, found - self._size, self._size)
            whole = added[: added.rfind(b"\n") + 1]
            self._records.extend(list(_decode(whole, self.path, self._records[-1] if self._records else None)))
            self._size += len(whole)
            if self._size < found:
                os.ftruncate(self._fd, self._size)

    def _write(self, line: bytes) -> None:
        try:
            os.lseek(self._fd, self._size, os.SEEK_SET)
            write_all(self._fd, line)
            os.fsync(self._fd)
        except OSError as error:
            problem = storage_error(error, "write the journal", self.path)
            self._undo()
            self._broken = self._broken or not isinstance(problem, StorageFull)
            raise problem from error

    def _undo(self) -> None:
        """Takes back a record of which a part may have been written."""
        try:
            os.ftruncate(self._fd, self._size)
            os.fsync(self._fd)
        except OSError:
            self._broken = True


def read_journal(path: Path | str) -> tuple[Record, ...]:
    """The records in a file that somebody else may be writing; changes nothing. Empty when there is no file.

    Raises `StorageDamaged` naming the line that is not a record.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise storage_error(error, "read the journal", path) from error
    return tuple(_decode(data[: data.rfind(b"\n") + 1], Path(path), None))


def _encode(record: Record) -> bytes:
    facts = {name: getattr(record, name) for name in Record.__slots__}
    line = json.dumps(facts, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    if len(line) > RECORD_MAX:
        raise ValueError(f"a record of {len(line)} bytes; at most {RECORD_MAX} are allowed")
    return line


def _decode(data: bytes, path: Path, last: Record | None) -> Iterator[Record]:
    for line in data.split(b"\n")[:-1]:
        record = _record(line)
        seq = last.seq + 1 if last else 1
        if record is None or record.seq != seq or (last is not None and record.epoch < last.epoch):
            raise StorageDamaged(
                f"The journal {path} is damaged in line {seq}: that is not record {seq}.",
                hint="Keep a copy; then restore a backup, or cut it off before that line, and run the command again.",
            )
        yield record
        last = record


def _record(line: bytes) -> Record | None:
    """The record in a line; None when it is none."""
    try:
        facts = json.loads(line)
        record = Record(**facts)
    except (ValueError, TypeError, RecursionError):
        return None
    numbers = (record.epoch, record.seq, record.at_us)
    if not all(type(number) is int for number in numbers) or record.epoch < 1:
        return None
    return record if isinstance(record.kind, str) and isinstance(record.data, dict) else None
