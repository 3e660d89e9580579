from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import pytest
from serving import FakeRuntime, call

from tenfold.core import lines
from tenfold.core.clock import ManualClock
from tenfold.serve.access import AccessLog
from tenfold.serve.asgi import TenfoldASGI
from tenfold.serve.hot import Response


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def test_a_line_says_when_who_what_and_how_long(file: Path) -> None:
    clock = ManualClock(wall_us=1_700_000_000_250_000, monotonic=50.0)
    log = AccessLog(opened(file), clock)

    async def two_requests() -> None:
        log.add((49.5, "id-1", "4bf9", "GET", "/ä\n", 200, 0.0123456, 17))
        log.add((50.0, "id-2", "4bf9", "POST", "/x", 500, 1.0, 0))
        log.close()

    asyncio.run(two_requests())
    first, second = (msgspec.json.decode(line) for line in file.read_bytes().splitlines())
    assert first == {
        "time": "2023-11-14T22:13:19.750000Z",
        "id": "id-1",
        "trace_id": "4bf9",
        "method": "GET",
        "path": "/ä\n",
        "status": 200,
        "ms": 12.346,
        "bytes": 17,
    }
    assert second["time"] == "2023-11-14T22:13:20.250000Z"


def test_many_requests_are_one_write(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    real = os.write
    monkeypatch.setattr(lines.os, "write", lambda fd, data: writes.append(len(data)) or real(fd, data))
    log = AccessLog(opened(file), ManualClock())

    async def burst() -> None:
        for number in range(100):
            log.add((0.0, str(number), "4bf9", "GET", "/", 200, 0.0, 0))
        assert writes == []
        async with asyncio.timeout(5):
            while not writes:
                await asyncio.sleep(0.005)

    asyncio.run(burst())
    assert len(writes) == 1
    assert len(file.read_bytes().splitlines()) == 100


def test_a_full_disk_drops_lines_and_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_PENDING_BYTES", 3000)
    app = TenfoldASGI(None, FakeRuntime(), {"/{code}": lambda request, code: Response.text(code)})
    app.access = AccessLog(os.open("/dev/full", os.O_WRONLY), app.runtime.clock)
    for _ in range(100):
        assert call(app, "GET", "/a").status == 200
        app.access.flush()
    assert 50 < app.access.dropped < 100
    exposition = call(app, "GET", "/metrics", client=("127.0.0.1", 1)).body
    assert f"tenfold_access_log_dropped_total {float(app.access.dropped)}".encode() in exposition


def test_a_pipe_that_nobody_reads_does_not_block_and_no_line_is_torn() -> None:
    reader, writer = os.pipe()
    log = AccessLog(writer, ManualClock())

    async def more_than_a_pipe_holds() -> None:
        for number in range(5000):
            log.add((0.0, str(number), "4bf9", "GET", "/" + "x" * 300, 200, 0.0, 0))
        log.flush()

    asyncio.run(more_than_a_pipe_holds())
    assert os.get_blocking(writer), "others who write to the same pipe keep their blocking descriptor"
    received = b""
    os.set_blocking(reader, False)
    for _ in range(100):
        log.flush()
        try:
            received += os.read(reader, 1 << 20)
        except BlockingIOError:
            break
    whole = received.splitlines()
    assert log.dropped + len(whole) == 5000
    assert 100 < len(whole) < 5000
    assert all(msgspec.json.decode(line)["method"] == "GET" for line in whole)
    log.close()


def test_the_log_can_be_switched_off_by_the_map(file: Path) -> None:
    app = TenfoldASGI(None, FakeRuntime(), {"/{code}": lambda request, code: Response.text(code)})
    app.access = AccessLog(opened(file), app.runtime.clock)
    app._settings = type(app._settings)(access_log=False)
    call(app, "GET", "/a")
    app.access.flush()
    assert file.read_bytes() == b""


def test_query_strings_stay_out_of_the_log(file: Path) -> None:
    app = TenfoldASGI(None, FakeRuntime(), {"/{code}": lambda request, code: Response.text(code)})
    app.access = AccessLog(opened(file), app.runtime.clock)
    call(app, "GET", "/a", query_string=b"password=hunter2")
    app.access.flush()
    assert b"/a" in file.read_bytes()
    assert b"hunter2" not in file.read_bytes()
