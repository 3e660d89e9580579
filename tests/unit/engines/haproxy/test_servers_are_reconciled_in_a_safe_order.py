"""The commands that lead from the servers there are to those that are wanted."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest
from haproxy import map_of

from tenfold.engines.haproxy.reconcile import Place, commands, facts_in, needs_reload, settled
from tenfold.engines.haproxy.render import render
from tenfold.engines.haproxy.runtime import ServerState, Standing
from tenfold.engines.haproxy.servers import HOLD, LAST_RESORT, WEB, Wanted, wanted_servers
from tenfold.topology.map import BalancerMap, Map, NodeMap, PublicMap, RouteMap, TlsMap

MAP = map_of()
LAST = ServerState(WEB, LAST_RESORT, "127.0.0.1:1", "ready", True, 1)
Servers = dict[tuple[str, str], ServerState]


class Model:
    """HAProxy's servers, as its commands change them; refuses what HAProxy refuses."""

    def __init__(self, servers: Servers, busy: dict[Place, int] | None = None) -> None:
        self.servers = dict(servers)
        self.busy = busy or {}

    def run(self, command: str) -> None:
        words = command.split(" ")
        backend, name = words[2].split("/")
        key = (backend, name)
        if words[:2] == ["add", "server"]:
            assert key not in self.servers, command
            weight = int(words[words.index("weight") + 1])
            self.servers[key] = ServerState(backend, name, words[3], "maint", False, weight)
            return
        state = self.servers[key]
        if words[:2] == ["del", "server"]:
            assert state.standing == "maint", command
            assert self.busy.get(Place(*key), 0) == 0, command
            del self.servers[key]
        elif words[:2] == ["enable", "server"]:
            self.servers[key] = msgspec_replace(state, standing="ready")
        elif words[:2] == ["set", "server"] and words[3] in ("state", "weight", "addr"):
            self.servers[key] = msgspec_replace(state, **changed(words))
        else:
            assert words[:2] == ["enable", "health"], command


def changed(words: list[str]) -> dict[str, object]:
    if words[3] == "state":
        return {"standing": words[4]}
    if words[3] == "weight":
        return {"weight": int(words[4])}
    return {"address": f"{words[4]}:{words[6]}"}


def msgspec_replace(state: ServerState, **changes: object) -> ServerState:
    values = {name: getattr(state, name) for name in ServerState.__slots__} | changes
    return ServerState(**values)


def states(name: str) -> list[ServerState | None]:
    standings: tuple[Standing, ...] = ("ready", "drain", "maint")
    made: list[ServerState | None] = [None]
    made += [ServerState(WEB, name, f"10.0.0.1:{port}", one, True, 1) for one in standings for port in (1, 2)]
    return made


def observed(*some: ServerState | None) -> Servers:
    there = {(one.backend, one.name): one for one in some if one is not None}
    return {**there, (WEB, LAST_RESORT): LAST}


ALL_WANTED = [
    tuple(one for one in (first, second) if one is not None)
    for first in (None, Wanted("web-1", "10.0.0.1:1", 1), Wanted("web-1", "10.0.0.1:1", 3, "drain"))
    for second in (None, Wanted("web-2", "10.0.0.1:2", 1), Wanted("web-2", "10.0.0.1:2", 0, "drain"))
]


@pytest.mark.parametrize("wanted", ALL_WANTED, ids=str)
def test_every_state_comes_to_what_is_wanted_wherever_it_is_cut(wanted: tuple[Wanted, ...]) -> None:
    for one, two, hold in product(states("web-1"), states("web-2"), (None, "ready", "maint")):
        there = observed(one, two, hold and ServerState(HOLD, "web-1", "10.0.0.1:1", hold, True, 1))
        made = commands(MAP, wanted, there.values())
        for cut in {len(made), len(made) // 2, 1 if made else 0}:
            model = Model(there)
            for command in made[:cut]:
                model.run(command)
            finish(model, wanted)


def finish(model: Model, wanted: tuple[Wanted, ...]) -> None:
    """Rounds until nothing is left: at most four, and then everything is as it is wanted."""
    for number in range(4):
        made = commands(MAP, wanted, model.servers.values(), dict.fromkeys((Place(*key) for key in model.servers), 0))
        for command in made:
            model.run(command)
        if number == 0:
            assert settled(wanted, model.servers.values())
        if not made:
            break
    assert commands(MAP, wanted, model.servers.values(), {}) == ()
    left = {key: (one.standing, one.address, one.weight) for key, one in model.servers.items() if key[1] != LAST_RESORT}
    web = {(WEB, one.name): (one.standing, one.address, one.weight) for one in wanted}
    hold = {(HOLD, one.name): ("ready", one.address, one.weight) for one in wanted}
    assert left == web | hold


def test_new_ones_come_before_old_ones_leave() -> None:
    there = observed(ServerState(WEB, "web-1", "10.0.0.1:1", "ready", True, 1))
    made = commands(MAP, [Wanted("web-2", "10.0.0.1:2", 1)], there.values())
    assert made.index("enable server web/web-2") < made.index("set server web/web-1 state drain")
    assert made.index("enable server hold/web-2") < made.index("enable server web/web-2")


def test_what_is_busy_or_unknown_is_not_deleted() -> None:
    there = observed(ServerState(WEB, "web-1", "10.0.0.1:1", "drain", True, 1)).values()
    place = Place(WEB, "web-1")
    assert commands(MAP, [], there) == ()
    assert commands(MAP, [], there, {place: 2}) == ()
    assert commands(MAP, [], there, {place: 0}) == ("set server web/web-1 state maint", "del server web/web-1")


def test_the_last_resort_and_other_backends_are_left_alone() -> None:
    other = ServerState("route-1", "to-1", "10.0.0.1:1", "ready", True, 1)
    assert commands(MAP, [], [LAST, other], {Place(WEB, LAST_RESORT): 0, Place("route-1", "to-1"): 0}) == ()


def test_a_map_is_settled_only_when_nothing_else_gets_requests() -> None:
    one = Wanted("web-1", "10.0.0.1:1", 1)
    ready = ServerState(WEB, "web-1", "10.0.0.1:1", "ready", True, 1)
    assert settled([one], [ready, LAST])
    assert not settled([one], [LAST])
    assert not settled([one], [msgspec_replace(ready, standing="drain")])
    assert not settled([one], [msgspec_replace(ready, address="10.0.0.1:9")])
    assert not settled([], [ready])
    assert settled([], [msgspec_replace(ready, standing="drain")])


def nodes(*names: str) -> tuple[NodeMap, ...]:
    return tuple(NodeMap(name, "web", address=f"127.0.0.1:{9000 + place}") for place, name in enumerate(names))


def config(current: Map, generation: int = 1, admin: str = "admin.sock") -> str:
    tls_fd = 4 if current.public.tls else None
    return render(current, "balancer-1", listen_fd=3, tls_fd=tls_fd, admin=admin, secret="ab", generation=generation)


def test_other_servers_weights_lives_and_body_limits_need_no_reload() -> None:
    running = config(map_of(nodes("web-1", "web-2")))
    for current in (
        map_of(nodes("web-1")),
        map_of(nodes("web-1", "web-2", "web-3"), balancer=BalancerMap(weights=(3, 2))),
        msgspec.structs.replace(map_of(nodes("web-9")), epoch=9, step=4),
        map_of(nodes("web-1", "web-2"), public=PublicMap("127.0.0.1", 8000, 7, "balancer")),
    ):
        wanted = wanted_servers(current)
        assert not needs_reload(running, config(current, generation=2, admin="admin-2.sock"), wanted)


@pytest.mark.parametrize(
    "current",
    [
        map_of(balancer=BalancerMap(strategy="round-robin")),
        map_of(balancer=BalancerMap(server_connections=3)),
        map_of(balancer=BalancerMap(queue=3)),
        map_of(balancer=BalancerMap(compression=False)),
        map_of(balancer=BalancerMap(header_timeout_s=3)),
        map_of(balancer=BalancerMap(slow_start_s=3)),
        map_of(routes=(RouteMap("", "/api", ("127.0.0.1:1",), False, "/readyz"),)),
        map_of(public=PublicMap("127.0.0.1", 8000, 1 << 20, "balancer", TlsMap(8443, "/made.pem", False))),
        map_of(hold_s=7.0),
        map_of(drain_limit_s=7.0),
        map_of(keep_alive_s=7.0),
        map_of((NodeMap("web-1", "web", address="name.example:1"),)),
    ],
)
def test_everything_else_needs_one(current: Map) -> None:
    assert needs_reload(config(map_of()), config(current), wanted_servers(current))


def test_a_config_of_somebody_else_is_replaced() -> None:
    assert facts_in("global\n") == ""
    assert needs_reload("global\n", config(map_of()), ())
