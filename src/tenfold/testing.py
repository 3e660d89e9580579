"""Testing a service as its clients see it: real routes, a real migrated database, no network.

    async def test_shorten(tmp_path):
        async with running("shortener.app:app", tmp_path) as client:
            answer = await client.post("/api/v1/data/shorten", json={"url": "https://example.com/"})
            assert answer.status_code == 201

Needs httpx (`pip install httpx`). For tests only: it brings parts of Tenfold with it that a web process never loads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from tenfold.control.migrate import migrate
from tenfold.core.errors import TenfoldError
from tenfold.serve.asgi import TenfoldASGI
from tenfold.serve.loading import load_app
from tenfold.service import Tenfold
from tenfold.topology.map import Map, map_of
from tenfold.topology.spec import parse_spec

SPEC = "tenfold.toml"


@asynccontextmanager
async def running(
    app: str | TenfoldASGI,
    state: Path,
    *,
    root: Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """The service, open on a migrated database below `state`; gives a client and closes the service afterwards.

    `app` is what tenfold.toml calls `app`, or the object itself. `root` is the service's folder (with its tenfold.toml
    and migrations/), the current one by default. `settings` replace those of tenfold.toml.
    """
    folder = (root or Path.cwd()).absolute()
    application = load_app(app, folder) if isinstance(app, str) else app
    service = application.runtime
    assert isinstance(service, Tenfold), "tf.asgi() makes applications of Tenfold objects"
    current = _map(service.name, folder, state, settings or {})
    await asyncio.to_thread(migrate, service, folder, Path(current.database.path), backup=False)
    service.forget_map()
    application.adopt(current)
    async with _lifespan(application):
        transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            yield client


def _map(name: str, root: Path, state: Path, settings: Mapping[str, Any]) -> Map:
    written = root / SPEC
    text = written.read_text("utf-8") if written.exists() else f'[service]\nname = "{name}"\napp = "app:app"\n'
    made = map_of(parse_spec(text, str(written)), root=str(root), state=str(state.absolute()), previous=None)
    return made if not settings else _with_settings(made, settings)


def _with_settings(made: Map, settings: Mapping[str, Any]) -> Map:
    return msgspec.structs.replace(made, settings={**made.settings, **settings})


@asynccontextmanager
async def _lifespan(application: TenfoldASGI) -> AsyncIterator[None]:
    """Runs the ASGI lifespan of the application around the body."""
    incoming: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}

    async def send(message: Any) -> None:
        await outgoing.put(message)

    task = asyncio.create_task(application(scope, incoming.get, send))
    await incoming.put({"type": "lifespan.startup"})
    await _said(task, outgoing, "startup", application)
    try:
        yield
    finally:
        await incoming.put({"type": "lifespan.shutdown"})
        await _said(task, outgoing, "shutdown", application)
        await task


async def _said(
    task: asyncio.Task[None], outgoing: asyncio.Queue[dict[str, Any]], what: str, application: TenfoldASGI
) -> None:
    answer = asyncio.ensure_future(outgoing.get())
    await asyncio.wait({task, answer}, return_when=asyncio.FIRST_COMPLETED)
    if not answer.done():
        answer.cancel()
        task.result()
        raise TenfoldError(f"The service ended during its {what}.", hint="See the traceback above.")
    message = answer.result()
    if message["type"] == f"lifespan.{what}.failed":
        await asyncio.wait({task})
        raise application.startup_error or TenfoldError(str(message.get("message", "")), hint="It did not start.")
