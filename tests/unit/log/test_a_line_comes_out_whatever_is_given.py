from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tenfold.blocks.database.scope import RequestScope, enter_scope, leave_scope
from tenfold.blocks.log import LineHandler, Log, of_record
from tenfold.blocks.log.policy import stamp
from tenfold.core.clock import ManualClock
from tenfold.core.lines import Lines, Outlet
from tenfold.core.randomness import SeededRandomness
from tenfold.core.redact import Secret
from tenfold.core.trace import Trace


class Written:
    """A log, and what it has written."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log"
        self.lines = Lines(Outlet(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)))
        self.log = Log("shop", ManualClock(), SeededRandomness(3), node="web-1", lines=self.lines)

    def all(self) -> list[dict[str, Any]]:
        self.lines.flush()
        return [json.loads(line) for line in self.path.read_text("utf-8").splitlines()]

    def last(self) -> dict[str, Any]:
        return self.all()[-1]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


def at_level(level: str) -> Any:
    return SimpleNamespace(log=SimpleNamespace(level=level))


def test_a_line_says_what_happened_when_and_where(written: Written) -> None:
    written.log.info("link made", code="abc", n=5, price=1.5, paid=True, plan=None)
    assert written.last() == {
        "time": "2023-11-14T22:13:20.000000Z",
        "level": "info",
        "message": "link made",
        "logger": "shop",
        "node": "web-1",
        "code": "abc",
        "n": 5,
        "price": 1.5,
        "paid": True,
        "plan": None,
    }


def test_a_line_in_a_request_has_its_id_and_its_trace(written: Written) -> None:
    scope = RequestScope(request_id="r-1")
    scope.trace = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    entered = enter_scope(scope)
    try:
        written.log.info("one")
        line = written.last()
        assert (line["request"], line["trace_id"], line["span_id"]) == (
            "r-1",
            scope.trace.trace_id,
            scope.trace.span_id,
        )
        assert written.log.traceparent() == "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    finally:
        leave_scope(entered)
    written.log.info("outside")
    assert not {"request", "trace_id"} & written.last().keys()


def test_the_lines_of_a_job_that_has_no_trace_get_one_together(written: Written) -> None:
    entered = enter_scope(RequestScope(request_id="job-1"))
    try:
        written.log.info("one")
        written.log.info("two")
    finally:
        leave_scope(entered)
    first, second = written.all()
    assert first["trace_id"] == second["trace_id"]
    assert len(first["trace_id"]) == 32
    assert written.log.trace() != written.log.trace(), "outside of work there is nothing to belong to"


def test_the_level_follows_the_map(written: Written) -> None:
    expected = []
    for level in ("debug", "info", "warning", "error"):
        written.log.adopt(at_level(level))
        assert written.log.level == level
        for name in ("debug", "info", "warning", "error"):
            getattr(written.log, name)(level)
    for level, lines in (("debug", 4), ("info", 3), ("warning", 2), ("error", 1)):
        expected += [level] * lines
    assert [line["message"] for line in written.all()] == expected
    assert written.log.stats().lines == {"debug": 1, "info": 2, "warning": 3, "error": 4}


@pytest.mark.parametrize("name", ["password", "api_key", "token", "Authorization", "session_cookie", "client_secret"])
def test_what_stands_under_a_secret_name_is_masked(written: Written, name: str) -> None:
    written.log.info("x", **{name: "hunter2", "body": {name: ["hunter2"], "deep": [{name: "hunter2"}]}})
    assert "hunter2" not in written.path.read_text() + json.dumps(written.last())
    assert written.last()[name] == "***"


@pytest.mark.parametrize(
    "value",
    [
        Secret("hunter2"), "postgres://me:hunter2@db/shop", "Bearer hunter2hunter2", ["Basic hunter2"],
        {"a": {"password": "hunter2"}}, RuntimeError("no: postgres://me:hunter2@db/"),
    ],
)  # fmt: skip
def test_secrets_in_values_are_masked(written: Written, value: Any) -> None:
    written.log.error(f"about {value if isinstance(value, str) else ''}", value=value)
    assert "hunter2" not in json.dumps(written.last())


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class BrokenMapping(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        raise RuntimeError("no")

    def __iter__(self) -> Any:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1


class BrokenError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


@dataclasses.dataclass
class Link:
    code: str
    password: str = "hunter2"


class Made(msgspec.Struct):
    code: str


def endless() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


def deep() -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(100_000):
        made = {"a": made}
    return made


ODD: dict[str, tuple[Any, Any]] = {
    "not a number": (float("nan"), "nan"),
    "infinity": (float("-inf"), "-inf"),
    "a number beyond 64 bits": (1 << 64, "0x10000000000000000"),
    "a number of thousands of digits": (10**5000, "<a number of 16610 bits>"),
    "bytes": (b"\x00" * 10_000_000, "<10000000 bytes>"),
    "a lone surrogate": ("\ud800", "\\ud800"),
    "terminal controls": ("\x1b[2J\x9b2J\x7f", "\x1b[2J\\x9b2J\\x7f"),
    "lines": ("a\nb\r\n", "a\nb\r\n"),
    "itself": (endless(), [[[["…"]]]]),
    "deep": (deep(), {"a": {"a": {"a": {"a": "…"}}}}),
    "a dataclass": (Link("a"), {"code": "a", "password": "***"}),
    "a struct": (Made("a"), {"code": "a"}),
    "a time": (datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01T00:00:00+00:00"),
    "a broken object": (Broken(), "<Broken: cannot be shown>"),
    "a broken mapping": (BrokenMapping(), "<BrokenMapping: cannot be shown>"),
    "a broken exception": (BrokenError(), "<BrokenError: cannot be shown>"),
    "keys of any type": ({1: 1, None: 2, (1, 2): 3, "\x9b": 4}, {"1": 1, "None": 2, "(1, 2)": 3, "\\x9b": 4}),
    "a type": (int, "<class 'int'>"),
    "a set": ({1}, [1]),
}


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_any_value_becomes_json(written: Written, value: tuple[Any, Any]) -> None:
    given, shown = value
    written.log.info("x", value=given, after=1)
    assert written.last()["value"] == shown
    assert written.last()["after"] == 1


@pytest.mark.parametrize("message", ["\x00", "\ud800", "x" * 1_000_000, "", None, 5, b"bytes", Broken(), endless()])
def test_any_message_is_one_line(written: Written, message: Any) -> None:
    written.log.info(message)
    assert len(written.path.read_bytes() or json.dumps(written.last())) < 10_000
    assert len(written.all()) == 1


def test_a_line_is_bounded_however_much_is_given(written: Written) -> None:
    written.log.info("m" * 10**6, **{f"field_{n}": "\x01" * 10**5 for n in range(1000)})
    written.log.info("wide", value=[["\x02" * 1000] * 1000] * 1000)
    written.log.info("name", **{"n" * 100_000: 1})
    written.lines.flush()
    lines = written.path.read_bytes().splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) < 65_536
    assert written.log.stats().cut == 2


def test_a_field_never_replaces_what_the_line_says_itself(written: Written) -> None:
    written.log.info("true", message="false", time="never", level="none", request="x", trace_id="y", node="z", self=1)
    line = written.last()
    assert (line["message"], line["message_"]) == ("true", "false")
    assert (line["level"], line["node"], line["node_"], line["self"]) == ("info", "web-1", "z", 1)
    assert line["time"] == "2023-11-14T22:13:20.000000Z"


def test_an_exception_brings_its_traceback(written: Written) -> None:
    try:
        raise ValueError("the reason\x9b")
    except ValueError as error:
        written.log.error("failed", error=error)
    line = written.last()
    assert line["error"] == "ValueError: the reason\\x9b"
    assert "test_an_exception_brings_its_traceback" in line["trace"]


def test_an_endless_recursion_has_a_bounded_traceback(written: Written) -> None:
    def recurse(n: int) -> None:
        recurse(n + 1)

    try:
        recurse(0)
    except RecursionError as error:
        written.log.error("failed", error=error)
    assert len(written.last()["trace"]) < 20_000


@pytest.mark.parametrize("wall_us", [-(10**18), 10**30, -1, 0])
def test_a_clock_that_is_far_off_costs_no_line(wall_us: int) -> None:
    assert stamp(wall_us).endswith("Z")
    assert stamp(1_700_000_000_000_001) == "2023-11-14T22:13:20.000001Z"


def record(**facts: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "lib", "levelname": "WARNING", "levelno": 30, "msg": "m", **facts})


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"msg": "a %s", "args": ("b",)}, {"message": "a b", "level": "warning", "logger": "lib", "node": "web-1"}),
        ({"msg": "a %d", "args": ("b",)}, {"message": "a %d"}),
        ({"msg": "a %s", "args": (Broken(),)}, {"message": "a %s"}),
        ({"msg": Broken()}, {"message": "<Broken: cannot be shown>"}),
        ({"request": "r-9"}, {"request": "r-9"}),
        ({"password": "hunter2", "code": 5}, {"password": "***", "code": 5}),
        ({"msg": "to postgres://me:hunter2@db/"}, {"message": "to postgres://me:***@db/"}),
        ({"exc_info": (ValueError, ValueError("why"), None)}, {"trace": "ValueError: why\n"}),
        ({"exc_info": (None, None, None)}, {"message": "m"}),
        ({"created": float("nan")}, {"message": "m"}),
    ],
)
def test_records_of_the_standard_library_look_the_same(facts: dict[str, Any], said: dict[str, Any]) -> None:
    line = json.loads(of_record(record(**facts), "web-1"))
    assert said.items() <= line.items()
    assert line["time"].endswith("Z")


def test_a_handler_writes_records_and_the_map_sets_their_level(written: Written) -> None:
    root = logging.getLogger()
    level, handler = root.level, LineHandler(written.lines, node="web-1")
    root.addHandler(handler)
    try:
        written.log.adopt(at_level("debug"))
        logging.getLogger("service.links").debug("looked %s up", "abc", extra={"code": "abc"})
        written.log.adopt(at_level("error"))
        logging.getLogger("service.links").warning("not now")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    found = [line for line in written.all() if line["logger"] == "service.links"]
    assert [(line["message"], line["code"]) for line in found] == [("looked abc up", "abc")]


def test_without_our_handler_the_root_logger_is_left_alone(written: Written) -> None:
    before = logging.getLogger().level
    written.log.adopt(at_level("debug"))
    assert logging.getLogger().level == before


@pytest.mark.parametrize("call", [lambda log: log.error("x"), lambda log: log.info("x")])
def test_without_a_loop_a_line_is_written_at_once(written: Written, call: Callable[[Log], None]) -> None:
    call(written.log)
    assert len(written.path.read_bytes().splitlines()) == 1
