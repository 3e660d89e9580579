"""The Tenfold object and its maps: which database, with which password, and what happens when that cannot be."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from own_tables import make_database_file

from tenfold import Tenfold
from tenfold.core.errors import SpecError
from tenfold.topology.map import Map, NodeMap, ServerMap, map_of
from tenfold.topology.spec import parse_spec

SERVER = ServerMap("db.example", 5433, "victim", "victim_web", "secrets/database-web", pool=20, tls="require")


def a_map(root: Path, epoch: int = 1, processes: int = 1, **database: Any) -> Map:
    text = '[service]\nname = "victim"\napp = "app:app"\n'
    made = map_of(parse_spec(text, "tenfold.toml"), root=str(root), state=str(root / ".tenfold"), previous=None)
    changed = msgspec.structs.replace(made.database, **database)
    nodes = tuple(NodeMap(f"web-{number}", "web") for number in range(processes))
    return msgspec.structs.replace(made, epoch=epoch, database=changed, nodes=nodes)


def password(root: Path, text: str = "a secret\n") -> Path:
    path = root / ".tenfold" / "secrets" / "database-web"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_the_server_comes_with_its_password_and_this_process_share(tmp_path: Path) -> None:
    password(tmp_path)
    service = Tenfold("victim")
    service.adopt(a_map(tmp_path, 7, 3, backend="postgres", standby="sqlite", gate="held", server=SERVER))
    config = service.database_config()
    assert (config.backend, config.standby, config.held, config.epoch) == ("postgres", "sqlite", True, 7)
    assert config.server is not None
    assert (config.server.host, config.server.port, config.server.user) == ("db.example", 5433, "victim_web")
    assert (config.server.password, config.server.tls) == ("a secret", "require")
    assert config.server.pool == 20 // 3
    assert "a secret" not in repr(config)


def test_a_process_has_a_few_connections_however_many_there_are(tmp_path: Path) -> None:
    password(tmp_path)
    service = Tenfold("victim")
    service.adopt(a_map(tmp_path, 1, 40, backend="postgres", server=SERVER))
    config = service.database_config()
    assert config.server is not None
    assert config.server.pool == 2


def test_a_password_file_that_cannot_be_read_is_named_and_not_shown(tmp_path: Path) -> None:
    service = Tenfold("victim")
    service.adopt(a_map(tmp_path, 1, backend="sqlite", server=SERVER))
    assert service.database_config().server is None, "nobody asks for what is not needed"
    service.adopt(a_map(tmp_path, 2, standby="postgres", server=SERVER))
    with pytest.raises(SpecError, match="database-web"):
        service.database_config()
    path = password(tmp_path)
    path.write_bytes(b"\xff\xfe secret")
    with pytest.raises(SpecError, match="not text") as refused:
        service.database_config()
    assert "secret\\" not in str(refused.value)


def test_a_map_that_cannot_be_met_leaves_the_one_before_in_force(tmp_path: Path) -> None:
    first = a_map(tmp_path)
    make_file(first)

    async def work() -> None:
        service = Tenfold("victim")
        service.adopt(first)
        await service.open()
        with pytest.raises(SpecError):
            service.adopt(a_map(tmp_path, 2, standby="postgres", server=SERVER))
        assert service.map is first
        service.adopt(a_map(tmp_path, 2))
        await service.close()

    asyncio.run(work())


def make_file(current: Map) -> None:
    path = Path(current.database.path)
    path.parent.mkdir(parents=True)
    make_database_file(path)


def test_a_map_that_comes_while_the_service_opens_is_not_missed(tmp_path: Path) -> None:
    held = a_map(tmp_path, 2, gate="held")
    make_file(held)

    async def work() -> None:
        service = Tenfold("victim")
        service.adopt(held)
        opening = asyncio.create_task(service.open())
        while not service.holding.now:  # the lease of the ids waits at the gate
            await asyncio.sleep(0.001)
        service.adopt(a_map(tmp_path, 3))
        await asyncio.wait_for(opening, 10)
        assert service.holding.closed is False
        service.ids.snowflake()
        await service.close()

    asyncio.run(work())


def test_without_a_web_process_the_map_file_is_looked_at_when_the_database_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = a_map(tmp_path)
    make_file(first)
    file = tmp_path / "map.json"
    file.write_bytes(msgspec.json.encode(first))
    monkeypatch.setenv("TENFOLD_MAP", str(file))

    async def work() -> None:
        service = Tenfold("victim")
        await service.open()
        file.write_bytes(b"damaged")
        service.database.look()  # is logged
        assert service.map is not None
        assert service.map.epoch == 1
        file.write_bytes(msgspec.json.encode(a_map(tmp_path, 2)))
        service.database.look()
        assert service.map.epoch == 2
        await service.close()

    asyncio.run(work())


def test_the_driver_of_a_server_is_loaded_when_a_map_names_one() -> None:
    code = "import sys, tenfold; tenfold.Tenfold; sys.exit('asyncpg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
