"""The commands of `reconcile` against a real HAProxy: it comes to what is wanted from wherever it is."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import msgspec
import pytest
from haproxy import Door, Web, needs_haproxy, run, street

from tenfold.engines.haproxy.reconcile import commands, settled
from tenfold.engines.haproxy.runtime import HaproxyRefusedError, HaproxySilentError, Runtime, ServerState
from tenfold.engines.haproxy.servers import HOLD, LAST_RESORT, WEB, wanted_servers
from tenfold.topology.map import BalancerMap, Map, NodeMap

pytestmark = needs_haproxy


def answered_by(door: Door, requests: int = 8) -> set[str]:
    """The names of the web servers that answer."""
    names = set()
    for _ in range(requests):
        connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=20)
        connection.request("GET", "/echo")
        names.add(json.loads(connection.getresponse().read())["name"])
        connection.close()
    return names


def servers(door: Door) -> dict[tuple[str, str], ServerState]:
    return {(one.backend, one.name): one for one in run(door.runtime.servers()) if one.name != LAST_RESORT}


def bring(door: Door, current: Map, ejected: frozenset[str] = frozenset(), *, rounds: int = 60) -> None:
    """Rounds of reconciliation until nothing is left to do."""
    for number in range(rounds):
        made = door.follow(current, ejected)
        if number == 0:
            assert settled(wanted_servers(current, ejected), run(door.runtime.servers())), "at once, in one round"
        if not made:
            return
        time.sleep(0.05)
    raise AssertionError(f"it never settles: {made}")


def with_nodes(current: Map, *nodes: NodeMap) -> Map:
    return msgspec.structs.replace(current, nodes=nodes)


def test_servers_come_and_go_while_it_runs(tmp_path: Path) -> None:
    with street(tmp_path, 3) as (door, webs, current):
        one, two, three = (web.node for web in webs)
        assert answered_by(door) == {"web-1", "web-2", "web-3"}
        bring(door, with_nodes(current, one))
        assert answered_by(door) == {"web-1"}
        assert set(servers(door)) == {(WEB, "web-1"), (HOLD, "web-1")}
        bring(door, with_nodes(current, two, three))
        assert answered_by(door) == {"web-2", "web-3"}
        off = msgspec.structs.replace(two, traffic="off")
        bring(door, with_nodes(current, one, off, three))
        assert answered_by(door) == {"web-1", "web-3"}
        bring(door, with_nodes(current, one, two, three), frozenset({"web-3"}))
        assert answered_by(door) == {"web-1", "web-2"}
        bring(door, with_nodes(current, one, two, three))
        assert answered_by(door) == {"web-1", "web-2", "web-3"}


def test_a_server_added_at_run_time_is_as_good_as_one_of_the_config(tmp_path: Path) -> None:
    """Checked, marked down by a refused connection, held for, limited: none of it comes from `default-server`."""
    with street(tmp_path, 2, balancer=BalancerMap(server_connections=7, slow_start_s=0)) as (door, webs, current):
        bring(door, with_nodes(current))
        bring(door, current)
        stats = run(door.runtime.stats()).servers
        assert {one.limit for one in stats if one.name != LAST_RESORT} == {7}
        webs[0].kill()
        assert answered_by(door) == {"web-2"}
        deadline = time.monotonic() + 10
        while servers(door)[WEB, "web-1"].running:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        webs[0].start()
        while not servers(door)[WEB, "web-1"].running:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert answered_by(door) == {"web-1", "web-2"}


def test_what_is_under_way_on_a_server_that_leaves_is_finished_first(tmp_path: Path) -> None:
    with street(tmp_path, 2) as (door, webs, current):
        begun = threading.Event()
        answers: list[tuple[int, str]] = []

        def slow() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=20)
            connection.request("GET", "/slow/3")
            begun.set()
            answer = connection.getresponse()
            answers.append((answer.status, json.loads(answer.read())["name"]))
            connection.close()

        clients = [threading.Thread(target=slow) for _ in range(4)]
        for client in clients:
            client.start()
        assert begun.wait(5)
        time.sleep(0.4)
        door.follow(with_nodes(current, webs[0].node))
        assert answers == [], "it does not wait for old requests"
        assert (WEB, "web-2") in servers(door)
        bring(door, with_nodes(current, webs[0].node))
        for client in clients:
            client.join()
        bring(door, with_nodes(current, webs[0].node))
        assert sorted(answers) == [(200, "web-1"), (200, "web-1"), (200, "web-2"), (200, "web-2")]
        assert (WEB, "web-2") not in servers(door)


def test_any_sequence_of_maps_cut_anywhere_comes_to_what_is_wanted(tmp_path: Path) -> None:
    """Random maps, ejections and weights; each round of commands may end after any of them."""
    chance = random.Random(4)
    with street(tmp_path, 3) as (door, webs, current):
        for _ in range(25):
            nodes = tuple(
                msgspec.structs.replace(web.node, traffic=chance.choice(("on", "on", "off")))
                for web in webs
                if chance.random() < 0.7
            )
            ejected = frozenset(web.name for web in webs if chance.random() < 0.2)
            weights = tuple(chance.randrange(1, 5) for _ in range(chance.randrange(4)))
            wanted = msgspec.structs.replace(with_nodes(current, *nodes), balancer=BalancerMap(weights=weights))
            made = run(cut(door.runtime, wanted, ejected, chance))
            bring(door, wanted, ejected)
            there = servers(door)
            names = {one.name: one for one in wanted_servers(wanted, ejected)}
            assert set(there) == {(backend, name) for backend in (WEB, HOLD) for name in names}, made
            for name, one in names.items():
                assert (there[WEB, name].standing, there[WEB, name].weight) == (one.standing, one.weight)
                assert there[HOLD, name].standing == "ready"


async def cut(runtime: Runtime, wanted: Map, ejected: frozenset[str], chance: random.Random) -> list[str]:
    """A round that ends in the middle, as when the balancer's process is killed."""
    made = list(commands(wanted, wanted_servers(wanted, ejected), await runtime.servers()))
    done = made[: chance.randrange(len(made) + 1)]
    for command in done:
        await runtime.run(command)
    return done


def test_an_address_that_changed_is_followed(tmp_path: Path) -> None:
    with street(tmp_path, 2) as (door, webs, current):
        moved = replace_address(webs[0].node, webs[1])
        bring(door, with_nodes(current, moved))
        assert answered_by(door) == {"web-2"}, "it answers under the name that it has itself"


def replace_address(node: NodeMap, web: Web) -> NodeMap:
    return msgspec.structs.replace(node, address=web.node.address)


@pytest.mark.parametrize(
    "command",
    [
        "add server web/web-1 127.0.0.1:1",
        "add server nowhere/web-9 127.0.0.1:1",
        "add server web/web-9 127.0.0.1:1 nonsense",
        "del server web/web-1",
        "del server web/web-9",
        "set server web/web-9 state drain",
        "set server web/web-1 state asleep",
        "set server web/web-1 weight 1000",
        "set server web/web-1 addr nonsense",
        "enable health web/web-9",
        "nonsense",
    ],
)
def test_every_refusal_is_noticed(tmp_path: Path, command: str) -> None:
    with street(tmp_path, 1) as (door, _, _), pytest.raises(HaproxyRefusedError):
        run(door.runtime.run(command))


def test_one_that_is_gone_or_hangs_is_silent(tmp_path: Path) -> None:
    with street(tmp_path, 1) as (door, _, _):
        info = run(door.runtime.info())
        assert (info.pid, info.stopping) == (door.pid, False)
        os.kill(door.pid, signal.SIGSTOP)
        with pytest.raises(HaproxySilentError, match="in time"):
            run(Runtime(door.admin, timeout_s=0.3).info())
        os.kill(door.pid, signal.SIGCONT)
        assert run(door.runtime.info()).pid == door.pid
        door.processes[-1].kill()
        door.processes[-1].wait()
        with pytest.raises(HaproxySilentError):
            run(door.runtime.info())


def test_a_frontend_is_counted(tmp_path: Path) -> None:
    with street(tmp_path, 1) as (door, _, _):
        answered_by(door, 5)
        public = run(door.runtime.stats()).frontend("public")
        assert public is not None
        assert (public.requests, public.answers_5xx) == (5, 0)
