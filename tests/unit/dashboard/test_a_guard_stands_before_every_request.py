"""What stands before every request takes what browsers send, and bounds what others do."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from tenfold.dashboard.guard import COOKIE, Guard
from tenfold.dashboard.policy import Rules, csrf_of, names_of
from tenfold.dashboard.redacting import Redactor
from tenfold.dashboard.server import HEAD_MAX, _config, _Uvicorn

LOCAL = Rules("full", True, names_of("127.0.0.1", []), "key")


async def _done(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("done")(scope, receive, send)


@pytest.mark.parametrize(
    "beside",
    ['settings={"dark": true}', "a=b c", "[odd]=1", "no-value", "other=x; expires", 'b="unended'],
)
def test_odd_cookies_of_what_else_runs_on_this_host_hide_none_of_ours(beside: str, tmp_path: Path) -> None:
    guard = Guard(_done, LOCAL, Redactor(tmp_path), "8001")
    headers = {
        "cookie": f"{beside}; {COOKIE}_8001=browser; {beside}",
        "content-type": "application/json",
        "x-tenfold-csrf": csrf_of(LOCAL, "browser"),
    }

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app=guard)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8001") as client:
            return await client.post("/api/do", content=b"{}", headers=headers)

    assert asyncio.run(asked()).text == "done"


async def _head_of(size: int) -> bytes:
    """How the dashboard's server begins its answer to a head of that size."""
    dashboard: Any = SimpleNamespace(app=_done)
    server = _Uvicorn(_config(dashboard))
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"x" * size)
        if size < HEAD_MAX:
            writer.write(b"\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(12), 10)
        writer.close()
        return answer
    finally:
        server.should_exit = True
        await serving


@pytest.mark.parametrize(("size", "status"), [(HEAD_MAX // 2, b"200"), (HEAD_MAX * 2, b"400")])
def test_a_head_without_an_end_is_not_kept(size: int, status: bytes) -> None:
    assert asyncio.run(_head_of(size)) == b"HTTP/1.1 " + status
