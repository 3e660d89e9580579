"""The sampler, over real sockets of nodes that answer, are older, stand still, or have gone."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenfold.control.figures import sampler as room
from tenfold.control.figures.between import figures_between
from tenfold.control.figures.lines import LATE_S
from tenfold.control.figures.look import Look
from tenfold.control.figures.sampler import Sampler
from tenfold.control.place import Place
from tenfold.core.clock import SYSTEM_CLOCK, ManualClock
from tenfold.hosts import wire
from tenfold.hosts.identity import identity_of
from tenfold.hosts.records import Launch, Record, Records
from tenfold.serve.node import Facts, NodeSocket, Operation
from tenfold.serve.told import HttpNumbers, NodeNumbers
from tenfold.topology.map import encode, map_of
from tenfold.topology.spec import parse_spec

ME = os.getpid()
SPEC = b'[service]\nname = "shop"\napp = "shop:app"\n'


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.prepare()
    return made


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who answers here is this process itself, which a busy machine may let wait."""
    monkeypatch.setattr(room, "LIMIT_S", 10.0)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch, patient: None) -> None:
    """For tests in which somebody does not answer."""
    monkeypatch.setattr(room, "LIMIT_S", 1.0)


class World:
    """Sockets of a deployment; `answered` counts requests."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.children: list[Facts] = []
        self.answered = 0
        self.asked: list[str] = []
        self.open: list[NodeSocket] = []

    async def node(self, name: str, pid: int = ME, **operations: Operation) -> NodeSocket:
        """A node that runs; without operations one that tells its numbers."""
        if all(child["node"] != name for child in self.children):
            self.children.append({"node": name, "state": "running", "pid": pid, "restarts": 0})
        socket_ = NodeSocket(self.place.run / f"{name}.sock", operations or {"numbers": self.numbers(name, pid)})
        await socket_.start()
        self.open.append(socket_)
        return socket_

    def numbers(self, name: str, pid: int = ME) -> Operation:
        async def tell(_: Facts) -> Facts:
            self.asked.append(name)
            told = NodeNumbers(name, name.partition("-")[0], pid, http=HttpNumbers(answered=self.answered))
            return msgspec.to_builtins(told)

        return tell

    async def list(self, _: Facts) -> Facts:
        return {"nodes": self.children}


@asynccontextmanager
async def world(place: Place) -> AsyncIterator[World]:
    made = World(place)
    made.open.append(NodeSocket(place.run / "keeper.sock", {"list": made.list}))
    await made.open[0].start()
    try:
        yield made
    finally:
        for each in made.open:
            await each.stop()


def played(place: Place, play: Callable[[World, Sampler], Awaitable[Any]], clock: Any = SYSTEM_CLOCK) -> Any:
    async def run() -> Any:
        async with world(place) as made:
            with Sampler(place, clock) as sampler:
                return await play(made, sampler)

    return asyncio.run(run())


def test_two_looks_make_figures(place: Place) -> None:
    async def play(world: World, sampler: Sampler) -> tuple[Look, Look]:
        await world.node("web-1")
        before = await sampler.look()
        world.answered = 1000
        return before, await sampler.look()

    before, after = played(place, play)
    figures = figures_between(before, after)
    assert figures.public.rate == pytest.approx(1000 / figures.window_s)
    assert figures.silent == ()
    assert [(node.node, node.role, node.pid) for node in figures.nodes] == [
        ("web-1", "web", ME), ("keeper", "keeper", ME)
    ]  # fmt: skip
    assert all(node.memory > 1 << 20 and node.cpu is not None for node in figures.nodes)
    assert figures.machine.cores >= 1
    assert figures.machine.memory > figures.machine.memory_free > 0
    assert figures.machine.disk > 0


def test_a_node_of_an_older_version_is_silent_and_still_has_cores_and_memory(place: Place) -> None:
    async def play(world: World, sampler: Sampler) -> Look:
        await world.node("web-1")

        async def status(_: Facts) -> Facts:
            return {}

        await world.node("web-2", status=status)
        return await sampler.look()

    look = played(place, play)
    assert look.silent == ("web-2",)
    assert [node.numbers is not None for node in look.nodes[:2]] == [True, False]
    assert look.nodes[1].processes[0].memory > 0


@pytest.mark.usefixtures("hasty")
def test_a_node_that_stands_still_delays_one_look_only_and_nothing_piles_up_before_it(place: Place) -> None:
    async def play(world: World, sampler: Sampler) -> None:
        await world.node("web-1")
        world.children.append({"node": "web-2", "state": "running", "pid": ME})
        paused = wire.listen_unix(place.run / "web-2.sock")
        paused.listen(1)
        began = asyncio.get_running_loop().time()
        assert (await sampler.look()).silent == ("web-2",)
        first = asyncio.get_running_loop().time()
        for _ in range(5):
            look = await sampler.look()
            assert look.silent == ("web-2",)
            assert look.nodes[0].numbers is not None
        then = asyncio.get_running_loop().time()
        assert 0.9 <= first - began < 2.0
        assert then - first < 2.5
        conn, _ = paused.accept()
        with paused, conn:
            assert conn.recv(4096).count(b"\n") == 1
            paused.settimeout(0)
            with pytest.raises(BlockingIOError):
                paused.accept()

    played(place, play)


@pytest.mark.usefixtures("hasty")
def test_a_late_answer_is_not_taken_for_the_next_one(place: Place) -> None:
    async def play(world: World, sampler: Sampler) -> None:
        goes_on = asyncio.Event()

        async def tell(facts: Facts) -> Facts:
            await goes_on.wait()
            return await world.numbers("web-1")(facts)

        await world.node("web-1", numbers=tell)
        assert (await sampler.look()).silent == ("web-1",)
        world.answered = 1
        goes_on.set()
        while world.asked != ["web-1"]:
            await asyncio.sleep(0)
        world.answered = 2
        found = (await sampler.look()).nodes[0].numbers
        assert found is not None
        assert found.http == HttpNumbers(answered=2)

    played(place, play)


@pytest.mark.usefixtures("hasty")
def test_a_node_that_was_late_once_may_be_slow_again(place: Place) -> None:
    async def play(world: World, sampler: Sampler) -> Look:
        takes_s = [1.2, 2 * LATE_S]

        async def tell(facts: Facts) -> Facts:
            await asyncio.sleep(takes_s.pop(0))
            return await world.numbers("web-1")(facts)

        await world.node("web-1", numbers=tell)
        assert (await sampler.look()).silent == ("web-1",)
        while not world.asked:
            await asyncio.sleep(0)
        return await sampler.look()

    assert played(place, play).silent == ()


def test_the_successor_of_a_node_is_asked(place: Place) -> None:
    async def play(world: World, sampler: Sampler) -> None:
        await world.node("web-1", pid=ME)
        await sampler.look()
        other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        try:
            world.children.clear()
            await world.node("web-1", pid=other.pid)  # the one before still listens to us
            look = await sampler.look()
        finally:
            other.communicate()
        assert look.silent == ()
        assert look.nodes[0].numbers is not None
        assert look.nodes[0].numbers.pid == look.nodes[0].pid == other.pid

    played(place, play)


def test_a_node_that_was_started_again_is_asked_again(place: Place) -> None:
    async def play(world: World, sampler: Sampler) -> None:
        first = await world.node("web-1")
        await sampler.look()
        await first.stop()
        assert (await sampler.look()).silent == ("web-1",)
        await world.node("web-1")
        assert (await sampler.look()).silent == ()

    played(place, play)


def test_numbers_of_another_process_are_not_taken_for_its_own(place: Place) -> None:
    async def play(world: World, sampler: Sampler) -> Look:
        await world.node("web-1", numbers=world.numbers("web-1", pid=1))
        return await sampler.look()

    assert played(place, play).silent == ("web-1",)


def test_a_node_that_starts_is_not_silent_and_one_that_ended_is_not_there(place: Place) -> None:
    async def play(world: World, sampler: Sampler) -> Look:
        world.children += [
            {"node": "web-1", "state": "starting", "pid": ME},
            {"node": "web-2", "state": "failed", "pid": ME},
            {"node": "web-3", "state": "waiting", "pid": None},
        ]
        return await sampler.look()

    look = played(place, play)
    assert look.silent == ()
    assert [node.node for node in look.nodes] == ["web-1", "keeper"]


def test_who_ran_is_looked_at_while_the_keeper_is_gone(place: Place) -> None:
    async def play(world: World, sampler: Sampler) -> Look:
        await world.node("web-1")
        await sampler.look()
        await world.open[0].stop()
        return await sampler.look()

    look = played(place, play)
    assert look.silent == ("keeper",)
    assert [node.node for node in look.nodes] == ["web-1"]
    assert look.nodes[0].numbers is not None


def test_what_a_keeper_left_running_is_found_without_it(place: Place) -> None:
    launch = Launch("web-1", ("true",), "/")
    Records(place.run).write(Record(launch, identity_of(ME)))

    async def play(world: World, sampler: Sampler) -> Look:
        await world.open[0].stop()
        return await sampler.look()

    look = played(place, play)
    assert [node.node for node in look.nodes] == ["web-1"]
    assert look.silent == ("web-1", "keeper")


@pytest.mark.parametrize(
    ("more", "told"),
    [({"failed": 3, "queue": 9, "age_s": 0.5}, (3, 9, 0.5)), ({}, (0, 2, 0.0))],
    ids=["as it is", "of an older version"],
)
def test_a_balancer_is_asked_how_it_stands(place: Place, more: Facts, told: tuple[int, int, float]) -> None:
    async def status(_: Facts) -> Facts:
        servers = [{"name": "web-1", "current": 3, "queue": 2}, {"name": "web-2", "current": 4, "queue": 0}]
        return {"haproxy_pid": ME, "requests": 12, "connections": 5, "servers": servers, "epoch": 3, **more}

    async def play(world: World, sampler: Sampler) -> Look:
        await world.node("balancer-1", status=status)
        await sampler.look()
        return await sampler.look()

    look = played(place, play)
    found = look.nodes[0].balancer
    assert found is not None
    assert (found.life, found.requests, found.connections, found.in_flight) == (ME, 12, 5, 7)
    assert (found.failed, found.queue, found.age_s) == told
    assert look.silent == ()


def test_a_haproxy_that_an_earlier_balancer_left_counts_for_the_balancer(place: Place) -> None:
    haproxy = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    balancer = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    async def status(_: Facts) -> Facts:
        return {"haproxy_pid": haproxy.pid, "requests": 12, "connections": 5, "servers": []}

    async def play(world: World, sampler: Sampler) -> Look:
        await world.node("balancer-1", pid=balancer.pid, status=status)
        await sampler.look()
        return await sampler.look()

    try:
        look = played(place, play)
    finally:
        haproxy.communicate()
        balancer.communicate()
    assert [one.pid for one in look.nodes[0].processes] == [balancer.pid, haproxy.pid]


def test_jobs_that_are_due_are_asked_for_now_and_then_and_a_worker_first(place: Place) -> None:
    clock = ManualClock()

    async def play(world: World, sampler: Sampler) -> list[Any]:
        def counting(name: str) -> Operation:
            async def jobs(_: Facts) -> Facts:
                world.asked.append(f"jobs {name}")
                return {"queues": [{"ready": 3, "dead": 1}, {"ready": 4, "dead": 0}]}

            return jobs

        for name in ("web-1", "worker-1"):
            await world.node(name, numbers=world.numbers(name), jobs=counting(name))
        found = []
        for _ in range(3):
            found.append((await sampler.look()).due)
            clock.advance(3.0)
        return [found, [each for each in world.asked if each.startswith("jobs")]]

    assert played(place, play, clock) == [[7, 7, 7], ["jobs worker-1", "jobs worker-1"]]


def test_where_the_data_is_comes_from_the_map(place: Place) -> None:
    first = map_of(parse_spec(SPEC, "toml"), root=str(place.root), state=str(place.state), previous=None)

    async def play(world: World, sampler: Sampler) -> list[str]:
        found = [(await sampler.look()).backend]
        for backend, epoch in (("sqlite", 1), ("postgres", 2)):
            database = msgspec.structs.replace(first.database, backend=backend)
            new = place.run.parent / "new.json"
            new.write_bytes(encode(msgspec.structs.replace(first, database=database, epoch=epoch)))
            new.rename(place.map_file)
            found.append((await sampler.look()).backend)
        place.map_file.write_bytes(b"damaged")
        return [*found, (await sampler.look()).backend]

    assert played(place, play) == ["", "sqlite", "postgres", "postgres"]


def test_nothing_stays_open_and_no_loop_is_held_on_to(place: Place) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def play(world: World, sampler: Sampler) -> tuple[int, int]:
        await world.node("web-1")
        await sampler.look()
        sampler.close()
        await asyncio.sleep(0.01)
        before = descriptors()
        await sampler.look()
        sampler.close()
        await asyncio.sleep(0.01)
        return before, descriptors()

    before, after = played(place, play)
    assert before == after


@pytest.mark.usefixtures("hasty")
def test_a_sampler_goes_on_in_another_event_loop(place: Place) -> None:
    """A command that runs a loop for each question must not find a dead one."""
    listener = wire.listen_unix(place.run / "keeper.sock")
    sampler = Sampler(place, SYSTEM_CLOCK)

    async def look() -> Look:
        loop = asyncio.get_running_loop()
        asked = loop.create_task(sampler.look())
        await loop.sock_recv(conn, 100) if conn else None
        if conn:
            await loop.sock_sendall(conn, b'{"ok": true, "nodes": []}\n')
        return await asked

    conn: socket.socket | None = None
    assert asyncio.run(look()).silent == ("keeper",)
    conn, _ = listener.accept()
    conn.recv(100)
    conn.sendall(b'{"ok": true, "nodes": []}\n')
    conn.setblocking(False)
    try:
        assert asyncio.run(look()).silent == ()
    finally:
        conn.close()
        listener.close()
        sampler.close()
