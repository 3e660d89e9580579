"""When web servers take the public socket back, what lasts on their private doors is ended properly; else it is not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from tenfold.core.secrets import Secrets
from tenfold.serve import doors as module
from tenfold.serve.doors import Doors
from tenfold.topology.map import NodeMap, map_of
from tenfold.topology.spec import parse_spec


class Lasting:
    """A WebSocket that is ended when it is told so."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def is_quiet(self) -> bool:
        return True

    def end(self) -> None:
        self.ended.set()


class Scene:
    """A web process with both doors open, by the map of step 3."""

    def __init__(self, state: Path) -> None:
        self.state = state
        Secrets(state / "secrets").save("door", "known")
        self.public = socket.create_server(("127.0.0.1", 0))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.doors = Doors("web-1", self.public, lambda door: asyncio.Protocol())

    def follow(self, door: str) -> None:
        spec = parse_spec('[service]\nname = "s"\napp = "a:b"\n', "tenfold.toml")
        made = map_of(spec, root="/r", state=str(self.state), previous=None)
        node = NodeMap("web-1", "web", address=self.address)
        public = msgspec.structs.replace(made.public, door=door)
        self.doors.follow(msgspec.structs.replace(made, nodes=(node,), public=public))

    def come(self) -> Lasting:
        """A WebSocket through the private door."""
        made = Lasting()
        self.doors.private.websockets.add(made)
        return made


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BALANCERS_LEAVE_S", 0.0)
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.001)


def played(state: Path, play: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        scene = Scene(state)
        try:
            scene.follow("balancer")
            await scene.doors.serve()
            await asyncio.wait_for(play(scene), 20)
            scene.doors.leave()
        finally:
            scene.public.close()

    asyncio.run(run())


def test_what_lasts_is_ended_and_so_is_what_comes_by_a_balancer_that_still_accepts(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        first = scene.come()
        scene.follow("web")
        assert scene.doors.private.is_open, "what balancers have begun goes on"
        await first.ended.wait()
        scene.doors.private.websockets.clear()
        second = scene.come()
        await second.ended.wait()

    played(tmp_path, play)


def test_nothing_is_ended_while_balancers_stay_or_once_they_stay_after_all(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        lasting = scene.come()
        scene.follow("balancer")
        scene.follow("web")
        scene.follow("balancer")  # the move was undone
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not lasting.ended.is_set()
        scene.follow("web")
        await lasting.ended.wait()

    played(tmp_path, play)


def test_on_the_way_up_nothing_is_ended(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        fresh = Scene(tmp_path / "other")
        fresh.follow("web")
        await fresh.doors.serve()
        lasting = fresh.come()
        for door in ("web", "balancer"):
            fresh.follow(door)
            for _ in range(10):
                await asyncio.sleep(0.001)
        assert not lasting.ended.is_set()
        fresh.doors.leave()
        fresh.public.close()

    played(tmp_path, play)
