"""What a balancer asks of web servers when its HAProxy leaves, and what they do then."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from tenfold.serve import doors as module
from tenfold.serve.balancer.streams import call_back
from tenfold.serve.doors import Doors
from tenfold.serve.node import Facts, NodeSocket


class Lasting:
    """A WebSocket that is ended when it is told so."""

    def __init__(self) -> None:
        self.ended = False

    def is_quiet(self) -> bool:
        return True

    def end(self) -> None:
        self.ended = True


def test_what_lasts_now_is_ended_and_what_came_back_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BALANCERS_LEAVE_S", 0.0)
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.001)

    async def play() -> None:
        with socket.create_server(("127.0.0.1", 0)) as public:
            doors = Doors("web-1", public, lambda door: asyncio.Protocol())
            old, back, direct = Lasting(), Lasting(), Lasting()
            doors.private.websockets.add(old)
            doors.public.websockets.add(direct)
            calling = asyncio.ensure_future(doors.call_back())
            while not old.ended:
                await asyncio.sleep(0)
            doors.private.websockets = {back}
            await asyncio.wait_for(calling, 10)
            assert not back.ended
            assert not direct.ended, "it did not come by way of a balancer"

    asyncio.run(play())


def test_every_web_server_that_answers_is_asked(tmp_path: Path) -> None:
    async def play() -> list[str]:
        asked: list[str] = []

        def answering(name: str) -> NodeSocket:
            async def called(_: Facts) -> Facts:
                asked.append(name)
                return {}

            return NodeSocket(tmp_path / f"{name}.sock", {"call_back": called})

        nodes = [answering("web-1"), answering("web-3")]
        for node in nodes:
            await node.start()
        await call_back(tmp_path, ["web-1", "web-2", "web-3"])
        for node in nodes:
            await node.stop()
        return asked

    assert sorted(asyncio.run(play())) == ["web-1", "web-3"]
