"""The history of a run: one JSON line an operation, as its client saw it.

Everything a checker may conclude rests on three statuses. `ok`: it was applied, between `sent_us` and `end_us`.
`fail`: surely not applied. `unknown`: may or may not have been applied, at any time after `sent_us`, even long after
`end_us`; the client that got it retires, because its next operation could not be ordered after it.

The file survives its writer: a last line that was cut off by a crash is dropped with a note; damage anywhere else is
refused with the number of the line, because a history with a hole proves nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from tenfold.core.errors import SpecError, UsageError
from tenfold.core.files import storage_errors, write_all

VERSION = 1
BUFFER = 256 * 1024
LIMIT = 4 * 1024**3
"""Bytes of one history file; a soak run is cut into several histories long before."""


class Status(StrEnum):
    """What the client may conclude from the answer it got, or did not get."""

    OK = "ok"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Operation(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="line", tag="op"):
    """What one client asked for, and what it was told. Times are microseconds on the prover's monotonic clock.

    `process` is the client, which does one thing at a time and retires after an unknown one. `value` is what was
    written (unique for each write of a workload) or, in an ok read, what was read. `start_us` is when it was meant to
    be sent (latency counts from there), `sent_us` when it was, `end_us` when the client knew its status.
    """

    process: int
    function: str
    key: str
    value: Any
    start_us: int
    sent_us: int
    end_us: int
    status: Status
    node: str = ""
    token: str = ""
    http: int = 0
    workload: str = ""
    keyed: bool = False
    attempts: int = 1
    safe: bool = False
    """Whether it only reads, so that anybody may send it again."""
    begun: bool = False
    """Whether its response had begun when it was cut off; said only of what was cut off."""
    opened_us: int = 0
    """When the connection that it went over was opened; 0 where that is not known."""
    own_us: int = 0
    """How long it takes by intent: a body that is sent slowly, a handler that was asked to wait."""
    alive_us: int = 0
    """When the server of a connection that was cut last spoke. A busy client hears that later, even after its death;
    0 where that is not known."""

    @property
    def since_us(self) -> int:
        """From when on a death may have ended it."""
        return self.alive_us or self.sent_us

    @property
    def latency_us(self) -> int:
        """Microseconds from the intended send time to the outcome, without what the operation takes by intent: a stall
        delays all that should have been sent."""
        return max(0, self.end_us - self.start_us - self.own_us)


class Window(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="line", tag="window"):
    """A fault or a move during the run; `effect` says whether it was seen to do something (without, it is vacuous)."""

    kind: str
    target: str
    start_us: int
    end_us: int
    effect: bool
    detail: str = ""
    fell_us: int = 0
    """When the victim of a kill was seen to be gone; a busy machine takes its time over that. 0 where nobody dies."""
    role: str = ""
    """The role of the victim; empty in histories that do not say."""
    balanced: bool = False
    """Whether balancers stood before at least two web servers when the fault was made."""


class Head(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="line", tag="run"):
    """The first line: how to repeat the schedule."""

    seed: int
    version: int = VERSION
    facts: dict[str, Any] = {}


class Fact(msgspec.Struct, frozen=True, tag_field="line", tag="fact"):
    """Something about the run that became known on the way; the last one of a name counts."""

    name: str
    value: Any


Line = Head | Operation | Window | Fact


class Recording(msgspec.Struct, frozen=True):
    """A history in memory: operations in the order of their intended send time, faults in the order of their start.

    `notes` says what a reader should know about the file itself (a cut last line).
    """

    operations: tuple[Operation, ...] = ()
    windows: tuple[Window, ...] = ()
    seed: int = 0
    facts: dict[str, Any] = {}
    notes: tuple[str, ...] = ()

    def of(self, workload: str) -> tuple[Operation, ...]:
        """The operations of one workload."""
        return tuple(operation for operation in self.operations if operation.workload == workload)


class History:
    """Writes a history to a new file (mode 0600), in lumps; what was added is on the disk after `flush` or `close`.

    Not for several threads. Raises `UsageError` when the history outgrows `limit` bytes (what was added before stays
    readable), and `StorageFull` or another storage error when the disk refuses.
    """

    def __init__(self, path: Path | str, seed: int, facts: dict[str, Any] | None = None, *, limit: int = LIMIT) -> None:
        self.path = Path(path)
        self._limit = limit
        self._size = 0
        self._buffer = bytearray()
        self._encoder = msgspec.json.Encoder(enc_hook=str)
        with storage_errors("write the history", self.path):
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        self._add(Head(seed, facts=facts or {}))

    def add(self, operation: Operation) -> None:
        """Adds one operation, when its status is known."""
        self._add(operation)

    def add_window(self, window: Window) -> None:
        """Adds a fault or a move, when it is over."""
        self._add(window)

    def add_fact(self, name: str, value: Any) -> None:
        """Adds something about the run; the last value of a name counts."""
        self._add(Fact(name, value))

    def _add(self, line: Line) -> None:
        before = len(self._buffer)
        self._buffer += self._encoder.encode(line)
        self._buffer += b"\n"
        if self._size + len(self._buffer) > self._limit:
            del self._buffer[before:]
            raise UsageError(
                f"The history {self.path} has reached its limit of {self._limit} bytes.",
                hint="Run for a shorter time or at a lower rate; what was recorded until now can be judged.",
            )
        if len(self._buffer) >= BUFFER:
            self._write()

    def flush(self) -> None:
        """Puts everything that was added on the disk."""
        self._write()
        with storage_errors("write the history", self.path):
            os.fsync(self._fd)

    def _write(self) -> None:
        assert self._fd >= 0, "the history is closed"
        with storage_errors("write the history", self.path):
            self._write_or_undo(bytes(self._buffer))
        self._size += len(self._buffer)
        self._buffer = bytearray()

    def _write_or_undo(self, data: bytes) -> None:
        try:
            write_all(self._fd, data)
        except OSError:
            # Half a line in the middle would damage the file once the disk has room again and the next lump follows.
            os.ftruncate(self._fd, self._size)
            os.lseek(self._fd, self._size, os.SEEK_SET)
            raise

    def close(self) -> None:
        """Puts the rest on the disk and closes the file; safe to call twice."""
        if self._fd < 0:
            return
        try:
            self.flush()
        finally:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_history(path: Path | str) -> Recording:
    """The history in a file. A cut last line is dropped, and `notes` says so.

    Raises `SpecError` naming the line that cannot be read, `UsageError` when there is no such file.
    """
    with storage_errors("read the history", path):
        data = Path(path).read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    notes: tuple[str, ...] = ()
    if len(whole) < len(data):
        notes = (
            f"The last line ({len(data) - len(whole)} bytes) was cut off and is left out: the run was interrupted.",
        )
    return recording_of(list(_decoded(whole, path)), notes)


def recording_of(lines: list[Line], notes: tuple[str, ...] = ()) -> Recording:
    """The lines of a history, the head among them, as a `Recording`."""
    facts: dict[str, Any] = {}
    seed = 0
    for line in lines:
        if isinstance(line, Head):
            seed = line.seed
            facts.update(line.facts)
        elif isinstance(line, Fact):
            facts[line.name] = line.value
    operations = sorted((line for line in lines if isinstance(line, Operation)), key=lambda found: found.start_us)
    windows = sorted((line for line in lines if isinstance(line, Window)), key=lambda found: found.start_us)
    return Recording(tuple(operations), tuple(windows), seed, facts, notes)


def _decoded(data: bytes, path: Path | str) -> Iterator[Line]:
    decoder = msgspec.json.Decoder(Line)
    lines = data.split(b"\n")[:-1]
    if not lines:
        raise _damaged(path, 1, "there is no line in it")
    for number, text in enumerate(lines, 1):
        try:
            line: Line = decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _damaged(path, number, str(error)) from error
        if isinstance(line, Head) != (number == 1):
            raise _damaged(path, number, "the head of a history is its first line, and only that")
        if isinstance(line, Head) and line.version != VERSION:
            raise _damaged(path, number, f"it is of version {line.version}, this is version {VERSION}")
        began = line.sent_us if isinstance(line, Operation) else line.start_us if isinstance(line, Window) else 0
        if isinstance(line, Operation | Window) and line.end_us < began:
            raise _damaged(path, number, "it ends before it starts")
        yield line


def _damaged(path: Path | str, number: int, why: str) -> SpecError:
    return SpecError(
        f"The history {path} is damaged in line {number}: {why}.",
        hint="A history with a hole proves nothing: take an intact copy, or run the proof again with its seed.",
    )
