"""The Tenfold object as a worker or a web server: whether it runs jobs, how it leaves, its share of the connections."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from own_tables import make_database_file

from tenfold import Tenfold
from tenfold.service import NODE_VARIABLE
from tenfold.topology.map import Map, NodeMap, ServerMap, map_of
from tenfold.topology.spec import parse_spec

SERVER = ServerMap("db.example", 5433, "victim", "victim_web", "secrets/database-web", pool=20)


def a_map(root: Path, epoch: int, *nodes: tuple[str, Any], **database: Any) -> Map:
    text = '[service]\nname = "victim"\napp = "app:app"\n'
    made = map_of(parse_spec(text, "tenfold.toml"), root=str(root), state=str(root / ".tenfold"), previous=None)
    changed = msgspec.structs.replace(made.database, **database)
    listed = tuple(NodeMap(name, name.split("-")[0], traffic=traffic) for name, traffic in nodes)
    return msgspec.structs.replace(made, epoch=epoch, nodes=listed, database=changed)


class Told:
    """A service that notes what its tasks and events are told."""

    def __init__(self, node: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(NODE_VARIABLE, node)
        self.service = Tenfold("victim")
        self.tasks: list[bool] = []
        self.events: list[bool] = []
        self.service.tasks.work = self.tasks.append  # type: ignore[method-assign]
        self.service.events.work = self.events.append  # type: ignore[method-assign]


def test_a_web_server_stops_when_workers_come_and_goes_on_when_they_have_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told("web-1", monkeypatch)
    told.service.adopt(a_map(tmp_path, 1, ("web-1", "on")))
    told.service.adopt(a_map(tmp_path, 2, ("web-1", "on"), ("worker-1", "off")))
    told.service.adopt(a_map(tmp_path, 3, ("web-1", "on"), ("worker-1", "on")))
    told.service.adopt(a_map(tmp_path, 4, ("web-1", "on"), ("worker-1", "off")))
    assert told.tasks == told.events == [True, True, False, True]


def test_a_process_that_leaves_takes_no_job_whatever_later_maps_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told("worker-1", monkeypatch)
    told.service.adopt(a_map(tmp_path, 1, ("web-1", "on"), ("worker-1", "on")))
    assert told.service.works()
    told.service.leave()
    told.service.adopt(a_map(tmp_path, 2, ("web-1", "on"), ("worker-1", "on")))
    assert told.tasks == told.events == [True, False, False]
    assert not told.service.works()


def test_one_that_left_works_again_when_it_is_opened_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    current = a_map(tmp_path, 1, ("worker-1", "on"))
    Path(current.database.path).parent.mkdir(parents=True)
    make_database_file(Path(current.database.path))
    monkeypatch.setenv(NODE_VARIABLE, "worker-1")

    async def work() -> None:
        service = Tenfold("victim")
        service.adopt(current)
        service.leave()
        await service.open()
        assert service.works()
        assert service.busy() == 0
        await service.close()

    asyncio.run(work())


def test_workers_have_their_share_of_the_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / ".tenfold" / "secrets" / "database-web"
    secret.parent.mkdir(parents=True)
    secret.write_text("a secret\n")
    told = Told("worker-2", monkeypatch)
    nodes = [("web-1", "on"), ("web-2", "on"), ("worker-1", "on"), ("worker-2", "off"), ("balancer-1", "on")]
    told.service.adopt(a_map(tmp_path, 1, *nodes, backend="postgres", server=SERVER))
    server = told.service.database_config().server
    assert server is not None
    assert server.pool == 20 // 4
