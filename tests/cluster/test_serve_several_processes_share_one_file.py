"""Three real web processes on one public socket, on private addresses of their own, and on one SQLite file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from webnode import SUPPORT, Service, service

from tenfold.core.secrets import Secrets

APP = f"import sys\nsys.path.insert(0, {str(SUPPORT)!r})\nfrom shared_app import app\n"
NODES = ("web-1", "web-2", "web-3")
PROMISED_S = 0.01
"""After this nobody answers with what was replaced (P9)."""


@dataclass
class Seen:
    """What the clients of a run saw; `added` are acknowledged additions by counter."""

    added: Counter[str] = field(default_factory=Counter)
    values: dict[str, list[int]] = field(default_factory=dict)
    pids: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    again: int = 0
    known: int = 0


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Service]:
    with service(tmp_path, APP) as started:
        Secrets(Path(started.now.state) / "secrets").ensure("door")
        (Path(started.now.state) / "data").mkdir(exist_ok=True)
        for name, port in zip(NODES, free_ports(len(NODES)), strict=True):
            started.set_node(name, address=f"127.0.0.1:{port}")
        migrate = [sys.executable, "-m", "tenfold.control.migrate", "--map", str(tmp_path / "map.json")]
        subprocess.run(migrate, check=True, stdout=subprocess.DEVNULL, timeout=60)
        for _ in NODES:
            started.start()
        for node in started.nodes:
            node.until_ready()
        yield started


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses, all different."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in found]


async def ask(port: int, method: str, path: str, *headers: str) -> dict[str, int]:
    """One request; raises `OSError`, `EOFError` when the connection broke, `AssertionError` when it was not a 200."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", "Content-Length: 0", *headers, "", ""]
        writer.write("\r\n".join(lines).encode())
        answer = await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()
    if not answer:
        raise EOFError
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), answer
    if b"chunked" in head.lower():
        if not body.endswith(b"0\r\n\r\n"):
            raise EOFError
        body = body.split(b"\r\n")[1]
    found: dict[str, int] = json.loads(body)
    return found


def doors(running: Service) -> list[tuple[int, tuple[str, ...]]]:
    """The public door, and the private ones with the balancers' secret."""
    known = Secrets(Path(running.now.state) / "secrets").ensure("door")
    private = [(int(node.address.rpartition(":")[2]), (f"x-tenfold-door: {known}",)) for node in running.now.nodes[:3]]
    return [(running.public.getsockname()[1], ()), *private]


async def adding(running: Service, number: int, stop: asyncio.Event, seen: Seen) -> None:
    """Keyed additions through one door after another; a broken one is sent again, elsewhere, under the same key."""
    count, entrances = 0, doors(running)
    while not stop.is_set():
        count += 1
        name = f"counter-{count % 5}"
        for attempt in range(100):
            port, headers = entrances[(number + count + attempt) % len(entrances)]
            key = f"Idempotency-Key: {number}-{count}"
            try:
                answer = await ask(port, "POST", f"/add/{name}", key, *headers)
            except (OSError, EOFError):
                seen.again += 1
                await asyncio.sleep(0.05)
                continue
            except AssertionError as error:
                seen.wrong.append(str(error))
            else:
                seen.added[name] += 1
                seen.values.setdefault(name, []).append(answer["value"])
                seen.pids.add(answer["pid"])
            break


async def remembering(running: Service, stop: asyncio.Event, seen: Seen) -> None:
    """Reads every counter from the memory of every process, again and again."""
    while not stop.is_set():
        for port, headers in doors(running):
            for name in [f"counter-{number}" for number in range(5)]:
                with contextlib.suppress(OSError, EOFError):
                    seen.known += (await ask(port, "GET", f"/remembered/{name}", *headers))["known"]


async def under_kills(running: Service, kills: int) -> Seen:
    seen, stop = Seen(), asyncio.Event()
    clients = [asyncio.create_task(adding(running, number, stop, seen)) for number in range(8)]
    clients.append(asyncio.create_task(remembering(running, stop, seen)))
    for killed in range(kills):
        await asyncio.sleep(0.7)
        running.nodes[killed].stop()
        await asyncio.to_thread(running.restart, killed)
    await asyncio.sleep(0.7)
    stop.set()
    await asyncio.gather(*clients)
    for name in seen.added:
        final = await ask(doors(running)[0][0], "GET", f"/value/{name}")
        assert final["value"] == seen.added[name], "each acknowledged addition once, however often it was sent"
        await asyncio.sleep(PROMISED_S)
        for port, headers in doors(running):
            found = await ask(port, "GET", f"/remembered/{name}", *headers)
            assert found["value"] == seen.added[name], "nobody remembers what a killed process had changed"
        assert sorted(seen.values[name]) == list(range(1, seen.added[name] + 1)), "no two saw the same value"
    return seen


def test_keyed_additions_happen_exactly_once_while_processes_are_killed(running: Service) -> None:
    seen = asyncio.run(under_kills(running, 3))
    assert seen.wrong == []
    assert sum(seen.added.values()) > 200
    assert seen.again > 0, "no kill hit anything: the run shows nothing"
    assert len(seen.pids) >= 4, "the successors took part"
    assert seen.known > 20, "reads were answered from memory"


def test_what_one_process_wrote_the_others_read_at_once(running: Service) -> None:
    async def play() -> None:
        entrances = doors(running)[1:]
        for count in range(1, 61):
            port, headers = entrances[count % 3]
            wrote = await ask(port, "POST", "/add/one", *headers)
            port, headers = entrances[(count + 1) % 3]
            read = await ask(port, "GET", "/value/one", *headers)
            assert (wrote["value"], read["value"]) == (count, count)
            assert wrote["pid"] != read["pid"]

    asyncio.run(play())


def test_what_one_process_wrote_the_others_do_not_remember_otherwise(running: Service) -> None:
    async def until_fresh(value: int, port: int, headers: tuple[str, ...]) -> tuple[float, float]:
        """When the last stale answer was asked for and the first fresh one was, in seconds after now."""
        began = asyncio.get_running_loop().time()
        stale = 0.0
        while True:
            asked = asyncio.get_running_loop().time() - began
            if (await ask(port, "GET", "/remembered/one", *headers))["value"] >= value:
                return stale, asked
            stale = asked
            assert asked < 5, "it stays stale"

    async def play() -> None:
        entrances = doors(running)[1:]
        fresh, known = [], 0
        for count in range(1, 61):
            for port, headers in entrances:
                await ask(port, "GET", "/remembered/one", *headers)
                known += (await ask(port, "GET", "/remembered/one", *headers))["known"]
            port, headers = entrances[count % 3]
            assert (await ask(port, "POST", "/add/one", *headers))["value"] == count
            assert (await ask(port, "GET", "/remembered/one", *headers))["value"] == count, "where it was written"
            others = [entrance for entrance in entrances if entrance[0] != port]
            for stale, asked in await asyncio.gather(*(until_fresh(count, *entrance) for entrance in others)):
                assert stale < 0.1  # 10 ms are promised; this machine is shared
                fresh.append(asked)
        assert known > 170, "the answers came from memory"
        assert sorted(fresh)[len(fresh) // 2] <= PROMISED_S

    asyncio.run(play())


def test_a_process_that_slept_through_all_of_it_answers_nothing_old(running: Service) -> None:
    async def play() -> None:
        (first, known), (second, same) = doors(running)[1:3]
        for count in range(1, 4):
            await ask(first, "POST", "/add/one", *known)
            assert (await ask(second, "GET", "/remembered/one", *same))["value"] >= count - 1
            await asyncio.sleep(PROMISED_S)
            assert (await ask(second, "GET", "/remembered/one", *same))["value"] == count
        sleeper = running.nodes[1].process
        sleeper.send_signal(signal.SIGSTOP)
        try:
            await ask(first, "POST", "/add/one", *known)
            # What it would have heard is gone when it wakes up.
            with contextlib.closing(sqlite3.connect(running.now.database.path, timeout=10)) as file, file:
                file.execute("DELETE FROM tf_inval")
                file.execute("UPDATE tf_clock SET seq = seq + 5000")
            asked = [asyncio.create_task(ask(second, "GET", "/remembered/one", *same)) for _ in range(5)]
            await asyncio.sleep(0.2)
        finally:
            sleeper.send_signal(signal.SIGCONT)
        assert [(await answer)["value"] for answer in asked] == [4] * 5

    asyncio.run(play())


def test_who_is_answered_by_a_replay_reads_what_it_says(running: Service) -> None:
    async def play() -> None:
        entrances = doors(running)[1:]
        for count in range(1, 31):
            (first, known), (second, same) = entrances[count % 3], entrances[(count + 1) % 3]
            await ask(second, "GET", "/remembered/one", *same)
            key = f"Idempotency-Key: again-{count}"
            said = [await ask(port, "POST", "/add/one", key, *more) for port, more in ((first, known), (second, same))]
            assert [answer["value"] for answer in said] == [count, count]
            assert (await ask(second, "GET", "/remembered/one", *same))["value"] == count

    asyncio.run(play())


def test_ids_of_all_kinds_differ_between_processes(running: Service) -> None:
    async def play() -> set[int]:
        pids: set[int] = set()
        for _ in range(10):
            answers = [ask(port, "POST", "/draw", *headers) for port, headers in doors(running) for _ in range(8)]
            pids |= {answer["pid"] for answer in await asyncio.gather(*answers)}
        return pids

    # Each id is a primary key: two equal ones would have been answered with an error.
    assert asyncio.run(play()) == {node.process.pid for node in running.nodes}
