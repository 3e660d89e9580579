from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tenfold.core.errors import Conflict, StorageDamaged, StorageFull, TenfoldError, Unavailable
from tenfold.drivers.sqlite import Writer, WriterLock, open_reader, open_writer, translated
from tenfold.drivers.sqlite.failures import StaleMap, StorageReadOnly
from tenfold.drivers.sqlite.writer import Job

PIECE = "x" * 4000


def create(path: Path) -> Path:
    with contextlib.closing(open_writer(path, create=True)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT UNIQUE) STRICT")
    return path


def add(number: int) -> Callable[[sqlite3.Connection, Job], int]:
    def body(connection: sqlite3.Connection, job: Job) -> int:
        connection.execute("INSERT INTO t (id, text) VALUES (?, ?)", (number, f"{number}{PIECE}"))
        return number

    return body


def ids(path: Path) -> set[int]:
    with contextlib.closing(open_reader(path)) as reader:
        assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {row[0] for row in reader.execute("SELECT id FROM t")}


async def fill(writer: Writer, first: int) -> tuple[set[int], list[BaseException]]:
    """Writes until it fails; what was acknowledged, and the errors of the last batch."""
    acknowledged: set[int] = set()
    for start in range(first, first + 100_000, 20):
        futures = [writer.submit(add(number)) for number in range(start, start + 20)]
        await asyncio.wait(futures)
        errors = [error for future in futures if (error := future.exception()) is not None]
        acknowledged |= {future.result() for future in futures if future.exception() is None}
        if errors:
            return acknowledged, errors
    raise AssertionError("the storage never became full")


async def full_then_free(path: Path, free: Callable[[Writer], object]) -> None:
    writer = Writer(path)
    await writer.start()
    acknowledged, errors = await fill(writer, 0)
    assert len(errors) == 20, "a batch fails as a whole"
    assert all(isinstance(error, StorageFull) and error.status == 507 for error in errors)
    assert "TF-DISK-FULL: There is no room left" in str(errors[0])
    assert acknowledged
    assert ids(path) == acknowledged
    free(writer)
    assert await writer.submit(add(-1)) == -1
    await writer.stop()
    assert ids(path) == {*acknowledged, -1}


def test_a_full_file_fails_whole_batches_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    path = create(tmp_path / "x.db")
    writers: list[Writer] = []

    async def work() -> None:
        original = Writer.start

        async def limited(self: Writer) -> None:
            await original(self)
            writers.append(self)
            self._connection.execute("PRAGMA max_page_count = 300")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Writer, "start", limited)
            await full_then_free(path, lambda writer: writer._connection.execute("PRAGMA max_page_count = 100000"))

    asyncio.run(work())
    assert len(writers) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB of its own."""
    if os.geteuid() != 0:
        pytest.skip("not run: mounting needs root")
    mounted = tmp_path / "disk"
    mounted.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(mounted)], check=False)
    if done.returncode != 0:
        pytest.skip("not run: this machine does not allow mounts")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)


@pytest.mark.root
def test_a_full_disk_fails_whole_batches_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    path = create(small_disk / "x.db")
    ballast.write_bytes(bytes(500_000))
    asyncio.run(full_then_free(path, lambda writer: ballast.unlink()))


@pytest.mark.root
def test_a_disk_that_is_full_from_the_start_is_named(small_disk: Path) -> None:
    path = create(small_disk / "x.db")
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "ballast").write_bytes(bytes(4_000_000))

    async def work() -> None:
        writer = Writer(path)
        await writer.start()
        with pytest.raises(StorageFull, match="TF-DISK-FULL"):
            await writer.submit(add(1))
        await writer.stop()

    with pytest.raises(StorageFull):
        asyncio.run(work())
    (small_disk / "ballast").unlink()
    assert ids(path) == set()


@pytest.mark.root
def test_a_read_only_disk_is_named(small_disk: Path) -> None:
    path = create(small_disk / "x.db")

    async def work() -> None:
        writer = Writer(path)
        try:
            await writer.start()
            await writer.submit(add(2))
        finally:
            await writer.stop()

    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StorageReadOnly, match="TF-READ-ONLY") as caught:
        asyncio.run(work())
    assert "mounted read-only" in caught.value.hint
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    asyncio.run(work())
    assert ids(path) == {2}


def start(path: Path) -> None:
    async def work() -> None:
        writer = Writer(path)
        await writer.start()
        await writer.stop()

    asyncio.run(work())


def grown(path: Path) -> Path:
    create(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(n, f"{n}{PIECE}") for n in range(100)])
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def test_files_that_are_no_databases_are_refused(tmp_path: Path) -> None:
    for name, content in (("text", b"this is a text, not a database\n" * 400), ("zeros and ones", b"\x00\xff" * 4096)):
        path = tmp_path / name
        path.write_bytes(content)
        for opening in (start, open_reader):
            with pytest.raises(
                StorageDamaged, match=r"TF-DAMAGED: .* is damaged or is not a SQLite database"
            ) as caught:
                opening(path)
            assert "restore a copy" in caught.value.hint
        assert path.read_bytes() == content, "the file is left as it was found"


def test_a_damaged_header_is_named(tmp_path: Path) -> None:
    path = grown(tmp_path / "x.db")
    with path.open("r+b") as file:
        file.write(b"garbage!" * 12)
    with pytest.raises(StorageDamaged, match="TF-DAMAGED"):
        start(path)


def test_a_truncated_file_is_named_by_reads_and_writes(tmp_path: Path) -> None:
    path = grown(tmp_path / "x.db")
    os.truncate(path, path.stat().st_size // 2)
    assert_named(path)


def test_damage_in_the_middle_is_named_by_reads_and_writes(tmp_path: Path) -> None:
    path = grown(tmp_path / "x.db")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    assert_named(path)


def assert_named(path: Path) -> None:
    def read(connection: sqlite3.Connection) -> None:
        connection.execute("SELECT count(text), sum(length(text)) FROM t NOT INDEXED").fetchall()
        connection.execute("INSERT INTO t VALUES (1000, 'x')")

    async def work() -> None:
        writer = Writer(path)
        await writer.start()
        try:
            await writer.submit(lambda connection, job: read(connection))
        finally:
            await writer.stop()

    with pytest.raises((StorageDamaged, sqlite3.DatabaseError)) as caught:
        asyncio.run(work())
    error = caught.value
    named = translated(error, str(path)) if isinstance(error, sqlite3.Error) else error
    assert isinstance(named, StorageDamaged)
    assert str(path) in str(named)


def test_a_missing_file_is_not_made_by_accident(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    for opening in (start, open_reader):
        with pytest.raises(Unavailable, match=r"TF-NO-DATABASE: There is no database at .*x\.db.*tenfold migrate"):
            opening(path)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_its_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageDamaged, match="is a directory, not a database file"):
        start(tmp_path)


def test_a_folder_without_the_lock_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageReadOnly, match=r"x\.db\.lock cannot be opened: No such file"):
        WriterLock(tmp_path / "gone" / "x.db").acquire()


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    path = create(tmp_path / "x.db")
    with contextlib.closing(open_reader(path)) as reader:
        for sql in ("INSERT INTO t VALUES (1, 'x')", "DELETE FROM t", "CREATE TABLE u (x)", "DROP TABLE t"):
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.execute(sql)


def test_a_writer_is_durable_and_strict_about_references(tmp_path: Path) -> None:
    path = create(tmp_path / "x.db")
    with contextlib.closing(open_writer(path)) as connection:
        asked: dict[str, Any] = {
            "journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "recursive_triggers": 1,
        }  # fmt: skip
        assert {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in asked} == asked


def error_of(name: str, text: str = "x", kind: type[sqlite3.Error] = sqlite3.OperationalError) -> sqlite3.Error:
    error = kind(text)
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("error", "expected", "code"),
    [
        (error_of("SQLITE_FULL"), StorageFull, "TF-DISK-FULL"),
        (error_of("SQLITE_IOERR_SHMSIZE"), StorageFull, "TF-DISK-FULL"),
        (error_of("SQLITE_CORRUPT_INDEX"), StorageDamaged, "TF-DAMAGED"),
        (error_of("SQLITE_NOTADB"), StorageDamaged, "TF-DAMAGED"),
        (error_of("SQLITE_READONLY_DBMOVED"), StorageReadOnly, "TF-READ-ONLY"),
        (error_of("SQLITE_CANTOPEN"), StorageReadOnly, "TF-READ-ONLY"),
        (error_of("SQLITE_IOERR_READ"), StorageDamaged, "TF-DAMAGED"),
        (error_of("SQLITE_BUSY"), Unavailable, "TF-UNAVAILABLE"),
        (error_of("SQLITE_LOCKED"), Unavailable, "TF-UNAVAILABLE"),
        (error_of("SQLITE_PROTOCOL"), Unavailable, "TF-UNAVAILABLE"),
        (error_of("SQLITE_INTERRUPT"), TenfoldError, "TF-READ-3"),
        (error_of("SQLITE_ERROR"), TenfoldError, "TF-SQL"),
        (sqlite3.ProgrammingError("x"), TenfoldError, "TF-SQL"),
        (error_of("", "UNIQUE constraint failed: t.id", sqlite3.IntegrityError), Conflict, "TF-CONFLICT"),
        (error_of("", "CHECK constraint failed: c", sqlite3.IntegrityError), Conflict, "TF-CONFLICT"),
        (error_of("", "TF001 moved", sqlite3.IntegrityError), StaleMap, "TF001"),
    ],
)
def test_each_failure_of_sqlite_has_a_name(error: sqlite3.Error, expected: type[TenfoldError], code: str) -> None:
    named = translated(error, "/data/x.db")
    assert isinstance(named, expected)
    assert named.code == code
    assert named.message.endswith(".")
    assert named.for_clients.endswith(".") or not named.public
    assert not re.search(r"/data/x\.db|SQLITE|constraint|t\.id", named.for_clients)
