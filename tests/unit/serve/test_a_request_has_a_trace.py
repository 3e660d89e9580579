from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from serving import FakeRuntime, call

from tenfold.blocks.database.scope import current_scope
from tenfold.core.trace import Trace
from tenfold.serve.access import AccessLog
from tenfold.serve.asgi import TenfoldASGI
from tenfold.serve.hot import Response

ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{ID}-{SPAN}-01"


class Seen:
    """An application, and the traces of the requests that reached it."""

    def __init__(self, folder: Path) -> None:
        self.traces: list[Trace] = []
        self.headers: list[list[tuple[bytes, bytes]]] = []
        self.file = folder / "access.log"
        self.app = TenfoldASGI(self.framework, FakeRuntime(), {"/hot": self.hot})
        self.app.access = AccessLog(os.open(self.file, os.O_WRONLY | os.O_CREAT), self.app.runtime.clock)

    def note(self) -> None:
        scope = current_scope()
        assert scope is not None
        assert scope.trace is not None
        self.traces.append(scope.trace)

    def hot(self, request: Any) -> Response:
        self.note()
        return Response.text("x")

    async def framework(self, scope: Any, receive: Any, send: Any) -> None:
        self.note()
        self.headers.append(scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def logged(self) -> list[str]:
        assert self.app.access is not None
        self.app.access.flush()
        return [json.loads(line)["trace_id"] for line in self.file.read_bytes().splitlines()]


@pytest.mark.parametrize("path", ["/hot", "/framework"])
def test_a_callers_trace_goes_on(tmp_path: Path, path: str) -> None:
    seen = Seen(tmp_path)
    call(seen.app, "GET", path, [("traceparent", GOOD)])
    call(seen.app, "GET", path, [("traceparent", f"00-{ID}-{SPAN}-00")])
    assert [(trace.trace_id, trace.parent_id, trace.sampled) for trace in seen.traces] == [
        (ID, SPAN, True),
        (ID, SPAN, False),
    ]
    assert seen.traces[0].span_id != seen.traces[1].span_id
    assert seen.logged() == [ID, ID]


@pytest.mark.parametrize(
    "headers",
    [[], [("traceparent", GOOD + "x")], [("traceparent", GOOD), ("traceparent", GOOD)], [("traceparent", "")]],
)
def test_otherwise_one_begins_here(tmp_path: Path, headers: list[tuple[str, str]]) -> None:
    seen = Seen(tmp_path)
    call(seen.app, "GET", "/hot", headers)
    call(seen.app, "GET", "/framework", headers)
    first, second = seen.traces
    assert len({first.trace_id, second.trace_id, ID}) == 3
    assert first.parent_id == ""
    assert seen.logged() == [first.trace_id, second.trace_id]


def test_the_framework_gets_the_header_as_it_came(tmp_path: Path) -> None:
    """Tenfold exports no spans: it stands beside a caller and an instrumented framework, not between them."""
    seen = Seen(tmp_path)
    call(seen.app, "GET", "/framework", [("traceparent", GOOD), ("tracestate", "vendor=1")])
    call(seen.app, "GET", "/framework")
    first, second = (dict(headers) for headers in seen.headers)
    assert (first[b"traceparent"], first[b"tracestate"]) == (GOOD.encode(), b"vendor=1")
    assert b"traceparent" not in second
