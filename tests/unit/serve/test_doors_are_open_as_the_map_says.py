"""Which doors a map wants of a process, and how `Doors` gets there; listeners are real, time is short."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from itertools import product
from pathlib import Path

import msgspec
import pytest

from tenfold.core.errors import Unavailable
from tenfold.core.secrets import Secrets
from tenfold.serve.door import Door
from tenfold.serve.doors import Doors, WantedDoors, private_listener, wanted_doors
from tenfold.topology.map import Map, NodeMap, map_of
from tenfold.topology.spec import parse_spec


def a_map(state: Path | str, *nodes: NodeMap, door: str = "web") -> Map:
    spec = parse_spec('[service]\nname = "s"\napp = "a:b"\n', "tenfold.toml")
    made = map_of(spec, root="/r", state=str(state), previous=None)
    public = msgspec.structs.replace(made.public, door=door)
    return msgspec.structs.replace(made, nodes=nodes, public=public)


@pytest.mark.parametrize(
    ("door", "traffic", "address"), list(product(("web", "balancer"), ("on", "off"), ("", "127.0.0.1:9")))
)
def test_public_needs_the_door_and_traffic_private_an_address(door: str, traffic: str, address: str) -> None:
    node = NodeMap("web-1", "web", address=address, traffic=traffic)  # type: ignore[arg-type]
    wanted = wanted_doors(a_map("/s", node, door=door), "web-1", WantedDoors())
    assert wanted == WantedDoors(public=(door, traffic) == ("web", "on"), address=address)


@pytest.mark.parametrize("before", [WantedDoors(), WantedDoors(public=True), WantedDoors(address="127.0.0.1:9")])
def test_for_a_node_that_the_map_does_not_name_nothing_changes(before: WantedDoors) -> None:
    assert wanted_doors(a_map("/s", NodeMap("web-2", "web"), door="balancer"), "web-1", before) == before


class Scene:
    """Doors on a public listener, in a state directory with a secret."""

    def __init__(self, state: Path) -> None:
        self.state = state
        Secrets(state / "secrets").save("door", "known")
        self.public = socket.create_server(("127.0.0.1", 0))
        self.came: list[bool] = []
        self.doors = Doors("web-1", self.public, self.connect)

    def connect(self, door: Door) -> asyncio.Protocol:
        self.came.append(door.private)
        return asyncio.Protocol()

    def follow(self, *, traffic: str = "on", address: str = "", door: str = "web") -> None:
        node = NodeMap("web-1", "web", address=address, traffic=traffic)  # type: ignore[arg-type]
        self.doors.follow(a_map(self.state, node, door=door))

    def open(self) -> tuple[bool, bool]:
        return self.doors.public.is_open, self.doors.private.is_open


def played(state: Path, play: Callable[[Scene], Awaitable[None]]) -> Scene:
    scene = Scene(state)

    async def run() -> None:
        await asyncio.wait_for(play(scene), 20)
        scene.doors.leave()
        await asyncio.sleep(0)

    try:
        asyncio.run(run())
    finally:
        scene.public.close()
    return scene


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"127.0.0.1:{found.getsockname()[1]}"


def test_nothing_opens_before_the_process_can_answer(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        scene.follow(address=free_address())
        await scene.doors.settle()
        assert scene.open() == (False, False)
        await scene.doors.serve()
        assert scene.open() == (True, True)

    played(tmp_path, play)


def test_nothing_opens_once_it_leaves(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        scene.follow()
        scene.doors.leave()
        await scene.doors.serve()
        scene.follow(address=free_address())
        await scene.doors.settle()
        assert scene.open() == (False, False)
        assert scene.doors.missing == ""

    played(tmp_path, play)


def test_a_map_that_comes_while_a_door_opens_wins(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        scene.follow(traffic="off")
        await scene.doors.serve()
        scene.follow()
        opening = asyncio.create_task(scene.doors.settle())
        await asyncio.sleep(0)
        scene.follow(traffic="off")
        await opening
        assert scene.open() == (False, False)

    played(tmp_path, play)


def test_the_public_listener_itself_is_never_closed(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        scene.follow()
        await scene.doors.serve()
        for _ in range(3):
            scene.follow(door="balancer")
            scene.follow()
            await scene.doors.settle()
        scene.follow(door="balancer")
        await asyncio.sleep(0.01)
        assert scene.public.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1

    played(tmp_path, play)


def test_each_connection_belongs_to_the_door_it_came_through(tmp_path: Path) -> None:
    address = free_address()

    async def play(scene: Scene) -> None:
        scene.follow(address=address)
        await scene.doors.serve()
        for port in (int(address.rpartition(":")[2]), scene.public.getsockname()[1]):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await asyncio.sleep(0.02)

    assert played(tmp_path, play).came == [True, False]


def test_a_door_that_does_not_open_is_said_and_does_not_keep_the_other_one_shut(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        Secrets(scene.state / "secrets").forget("door")
        scene.follow(address=free_address())
        await scene.doors.serve()
        assert scene.open() == (True, False)
        assert "the balancers' secret is not in" in scene.doors.missing
        with pytest.raises(Unavailable, match="the balancers' secret is not in"):
            await scene.doors.settled(0.0)
        Secrets(scene.state / "secrets").save("door", "known")
        await scene.doors.settled(5.0)
        assert (scene.open(), scene.doors.missing) == ((True, True), "")

    played(tmp_path, play)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("127.0.0.1:no", "invalid literal"),
        ("127.0.0.1:70000", "0-65535"),
        ("203.0.113.9:1", "Cannot assign"),
        ("", "invalid"),
    ],
)
def test_an_address_that_cannot_be_had_is_refused_with_the_reason(address: str, says: str) -> None:
    with pytest.raises(Unavailable, match=says) as refused:
        private_listener(address)
    assert refused.value.hint


def test_an_address_may_be_of_ip_version_6() -> None:
    try:
        listener = private_listener("[::1]:0")
    except Unavailable:
        pytest.skip("this machine has no IPv6")
    with listener:
        assert listener.family is socket.AF_INET6
        assert listener.proto == socket.IPPROTO_TCP
