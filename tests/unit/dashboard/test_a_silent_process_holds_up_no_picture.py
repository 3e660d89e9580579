"""What is gathered of a deployment besides its figures, over real sockets: who is silent delays one look only."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from tenfold.control.place import Place
from tenfold.control.standing import LOOKS
from tenfold.core.files import atomic_write
from tenfold.dashboard import gathering as room
from tenfold.dashboard.gathering import Gathering
from tenfold.hosts import wire
from tenfold.serve.node import Facts, NodeSocket
from tenfold.topology.map import encode, map_of
from tenfold.topology.spec import parse_spec


class World:
    """A keeper that answers, and web servers that a test opens."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.children: list[Facts] = []
        self.gathering = Gathering(place)

    async def hello(self, _: Facts) -> Facts:
        return {"pid": 1, "host": "", "port": 1, "stopping": False}

    async def list(self, _: Facts) -> Facts:
        return {"nodes": self.children}

    async def status(self, _: Facts) -> Facts:
        return {"ready": True}

    async def refuses(self, _: Facts) -> Facts:
        return {"ok": False, "error": {"code": "TF-X", "message": "No.", "hint": ""}}

    def runs(self, name: str) -> Path:
        self.children.append(
            {"node": name, "state": "running", "pid": 1, "restarts": 0, "crash_loop": False, "exit_code": None,
             "report": None}
        )  # fmt: skip
        return self.place.run / f"{name}.sock"

    async def ready(self) -> dict[str, bool]:
        """One look: which web servers say that they are ready."""
        seen = await self.gathering.look()
        return {node["node"]: bool(node.get("ready")) for node in seen.facts["nodes"]}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.prepare()
    return made


def played(place: Place, play: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        world = World(place)
        keeper = NodeSocket(place.run / "keeper.sock", {"hello": world.hello, "list": world.list})
        await keeper.start()
        try:
            await play(world)
        finally:
            world.gathering.close()
            await keeper.stop()

    asyncio.run(run())


def _waiting(listener: socket.socket) -> list[bytes]:
    """What those who have connected sent, each."""
    listener.settimeout(0)
    found: list[bytes] = []
    while True:
        try:
            conn, _ = listener.accept()
        except BlockingIOError:
            return found
        with conn:
            found.append(conn.recv(4096))


def test_a_paused_web_server_finds_one_question_when_it_goes_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LIMIT_S", 0.5)

    async def play(world: World) -> None:
        well = NodeSocket(world.runs("web-1"), {"status": world.status})
        await well.start()
        with wire.listen_unix(world.runs("web-2")) as paused:
            for _ in range(6):
                assert await world.ready() == {"web-1": True, "web-2": False}
            assert await asyncio.gather(*(world.gathering.ask("web-2", "told") for _ in range(6))) == [None] * 6
            assert sorted(_waiting(paused)) == [b'{"op":"status"}\n', b'{"op":"told"}\n']
        goes_on = NodeSocket(place.run / "web-2.sock", {"status": world.status})
        await goes_on.start()
        assert await world.ready() == {"web-1": True, "web-2": True}
        await goes_on.stop()
        await well.stop()

    played(place, play)


def test_who_refuses_has_no_answer_and_who_is_gone_is_forgotten(place: Place) -> None:
    async def play(world: World) -> None:
        node = NodeSocket(world.runs("web-1"), {"status": world.refuses})
        await node.start()
        assert await world.ready() == {"web-1": False}
        assert {name for name, _op in world.gathering._lines} == {"keeper", "controller", "web-1"}
        world.children.clear()
        assert await world.ready() == {}
        assert {name for name, _op in world.gathering._lines} == {"keeper", "controller"}
        await node.stop()

    played(place, play)


def test_a_map_that_changes_while_everybody_is_asked_is_not_held_against_the_answers(place: Place) -> None:
    """By the map of before, what a move has just ended would look as if it had failed."""
    spec = parse_spec('[service]\nname = "shop"\napp = "shop:app"\n')
    first = map_of(spec, root="/s", state="/s/.tenfold", previous=None)

    async def play(world: World, changes: int) -> tuple[int, int]:
        place.map_file.parent.mkdir(parents=True, exist_ok=True)
        place.map_file.write_bytes(encode(first))
        asked = 0

        async def lists(_: Facts) -> Facts:
            nonlocal asked
            asked += 1
            if asked <= changes:
                atomic_write(place.map_file, encode(msgspec.structs.replace(first, epoch=first.epoch + asked)))
            return {"nodes": []}

        keeper = NodeSocket(place.run / "keeper.sock", {"hello": world.hello, "list": lists})
        await keeper.start()
        try:
            seen = await world.gathering.look()
        finally:
            world.gathering.close()
            await keeper.stop()
        assert seen.current is not None
        return asked, seen.current.epoch - first.epoch

    assert asyncio.run(play(World(place), 0)) == (1, 0)
    assert asyncio.run(play(World(place), 1)) == (2, 1)
    assert asyncio.run(play(World(place), 99)) == (LOOKS, LOOKS - 1), (
        "a map that always changes does not stop the picture"
    )
