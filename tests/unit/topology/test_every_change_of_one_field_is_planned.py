"""diff over every single-field change of a map, by enumeration, and over pairs of them."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from tenfold.topology.diff import EFFECTS, Change, Effect, Plan, diff, effect_of
from tenfold.topology.map import Map, NodeMap, RouteMap, ServerMap, TlsMap, map_of
from tenfold.topology.spec import parse_spec

BASE = map_of(
    parse_spec('[service]\nname = "shop"\napp = "shop.app:app"\n[settings]\na = 1\nb = "x"\n'),
    root="/srv/shop",
    state="/srv/shop/.tenfold",
    previous=None,
)
START, MOVE, PROCESSES, LIVE = Effect.NEW_START, Effect.MOVE, Effect.NEW_PROCESSES, Effect.LIVE

# What is expected is written down here once more, so that a change of the table is a change of two places.
EXPECTED: dict[str, Effect] = {
    **dict.fromkeys(["service", "root", "state", "public.host", "public.port"], START),
    **dict.fromkeys(["database.path", "files.folder"], START),
    **dict.fromkeys(["database.backend", "public.door"], MOVE),
    **dict.fromkeys(["app", "web.keep_alive_s", "database.server"], PROCESSES),
    **dict.fromkeys(["step", "public.body_limit", "web.processes", "web.access_log", "web.metrics"], LIVE),
    **dict.fromkeys(["web.drain_limit_s", "database.hold_s", "database.queue"], LIVE),
    **dict.fromkeys(["database.standby", "database.gate", "database.way_back"], LIVE),
    **dict.fromkeys(["cache.entries", "cache.bytes", "cache.eviction", "log.rotate_size", "log.keep"], LIVE),
    **dict.fromkeys(["log.level", "metrics.otlp", "metrics.every_s"], LIVE),
    **dict.fromkeys(["balancer.strategy", "balancer.weights", "balancer.server_connections", "balancer.queue"], LIVE),
    **dict.fromkeys(["balancer.compression", "balancer.header_timeout_s", "balancer.slow_start_s"], LIVE),
    **dict.fromkeys(["sessions.idle_s", "sessions.lifetime_s", "sessions.cookie", "sessions.secure"], LIVE),
    **dict.fromkeys(["files.quota", "files.owner_quota"], LIVE),
    **dict.fromkeys(["dashboard.host", "dashboard.port", "dashboard.mode"], LIVE),
    **dict.fromkeys(["public.tls", "routes", "limits", "workers.processes"], LIVE),
}


def another(value: Any) -> Any:
    """A value of the same type that differs."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case tuple():
            return (*value, 1)
        case None:
            return ServerMap("127.0.0.1", 5432, "shop", "shop_web", "secrets/database-web", 16)
        case _:
            return value + "x"


def fields() -> list[str]:
    """Every field of a map but the epoch, the settings and the nodes, by path."""
    found = []
    for name in Map.__struct_fields__:
        value = getattr(BASE, name)
        if isinstance(value, msgspec.Struct):
            found += [f"{name}.{key}" for key in value.__struct_fields__]
        elif name not in ("epoch", "settings", "nodes"):
            found.append(name)
    return found


def value_at(current: Map, path: str) -> Any:
    for part in path.split("."):
        current = getattr(current, part)
    return current


def changed(current: Map, path: str) -> Map:
    """The map with one field changed."""
    top, _, key = path.partition(".")
    if not key:
        return msgspec.structs.replace(current, **{top: another(getattr(current, top))})
    table = getattr(current, top)
    return msgspec.structs.replace(
        current, **{top: msgspec.structs.replace(table, **{key: another(getattr(table, key))})}
    )


def test_every_field_of_a_map_has_an_effect_and_every_effect_a_field() -> None:
    assert {*fields(), "settings", "nodes"} == set(EFFECTS)
    assert set(fields()) == set(EXPECTED)


def test_nothing_to_do_between_a_map_and_itself_whatever_its_epoch() -> None:
    for other in (BASE, msgspec.structs.replace(BASE, epoch=99)):
        plan = diff(BASE, other)
        assert (plan.empty, plan.start, plan.changes, plan.effect) == (True, False, (), None)


def test_when_nothing_runs_everything_starts() -> None:
    plan = diff(None, BASE)
    assert plan == Plan(start=True, changes=())
    assert not plan.empty


@pytest.mark.parametrize("path", fields())
def test_a_change_of_one_field_is_one_change_with_its_effect(path: str) -> None:
    wanted = changed(BASE, path)
    there, back = diff(BASE, wanted), diff(wanted, BASE)
    was, becomes = value_at(BASE, path), value_at(wanted, path)
    assert there.changes == (Change(path, was, becomes, EXPECTED[path]),)
    assert back.changes == (Change(path, becomes, was, EXPECTED[path]),)
    assert there.effect is back.effect is EXPECTED[path] is effect_of(path)
    assert not there.empty


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(fields(), 2)))
def test_two_changes_are_in_order_and_the_stronger_effect_counts(one: str, other: str) -> None:
    plan = diff(BASE, changed(changed(BASE, other), one))
    assert [change.path for change in plan.changes] == [one, other]
    order = [LIVE, PROCESSES, MOVE, START]
    assert plan.effect is max(EXPECTED[one], EXPECTED[other], key=order.index)


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ({"a": 2, "b": "x"}, [("settings.a", 1, 2)]),
        ({"b": "x"}, [("settings.a", 1, None)]),
        ({"a": 1, "b": "x", "c": False}, [("settings.c", None, False)]),
        ({"a": True, "b": "x"}, [("settings.a", 1, True)]),
        ({"a": 1.0, "b": "x"}, [("settings.a", 1, 1.0)]),
        ({"b": "x", "a": 1}, []),
        ({}, [("settings.a", 1, None), ("settings.b", "x", None)]),
        ({"a.b": 1, "a": 1, "b": "x"}, [("settings.a.b", None, 1)]),
    ],
)
def test_each_setting_is_a_live_change_of_its_own(settings: dict[str, Any], changes: list[tuple[Any, ...]]) -> None:
    plan = diff(BASE, msgspec.structs.replace(BASE, settings=settings))
    assert [(change.path, change.was, change.becomes) for change in plan.changes] == changes
    assert [(type(change.was), type(change.becomes)) for change in plan.changes] == [
        (type(was), type(becomes)) for _, was, becomes in changes
    ]
    assert all(change.effect is LIVE for change in plan.changes)


def test_each_node_is_a_change_of_its_own() -> None:
    one, two = NodeMap("web-1", "web"), NodeMap("web-2", "web")
    moved = NodeMap("web-1", "web", address="10.0.0.1:80")

    def planned(nodes: tuple[NodeMap, ...]) -> list[tuple[Any, ...]]:
        changes = diff(BASE, msgspec.structs.replace(BASE, nodes=nodes)).changes
        return [(change.path, change.was, change.becomes, change.effect) for change in changes]

    assert planned((one, two)) == [("nodes.web-2", None, two, LIVE)]
    assert planned(()) == [("nodes.web-1", one, None, LIVE)]
    assert planned((moved,)) == [("nodes.web-1", one, moved, LIVE)]
    assert planned((two,)) == [("nodes.web-1", one, None, LIVE), ("nodes.web-2", None, two, LIVE)]


def test_a_field_that_no_map_has_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        effect_of("web.nonsense")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            Change("web.metrics", "off", "public", LIVE),
            'web.metrics: "off" becomes "public" (taken over by running processes)',
        ),
        (Change("settings.a", None, True, LIVE), "settings.a: nothing becomes true (taken over by running processes)"),
        (
            Change("app", "a:b", "a:c", PROCESSES),
            'app: "a:b" becomes "a:c" (new processes start beside the old ones, which drain)',
        ),
        (Change("public.port", 80, 81, START), "public.port: 80 becomes 81 (needs `tenfold down` and `tenfold up`)"),
        (
            Change("nodes.web-2", None, NodeMap("web-2", "web"), LIVE),
            "nodes.web-2: nothing becomes a web node on local (taken over by running processes)",
        ),
        (
            Change("nodes.web-2", NodeMap("web-2", "web"), NodeMap("web-2", "web", "b", "x:1", "v7", "off"), LIVE),
            "nodes.web-2: a web node on local becomes a web node on b at x:1 with version v7 without traffic "
            "(taken over by running processes)",
        ),
        (
            Change("public.tls", TlsMap(8443, "/a.pem", True), TlsMap(8444, "/b.pem", False), LIVE),
            "public.tls: port 8443 with /a.pem and a redirect becomes port 8444 with /b.pem "
            "(taken over by running processes)",
        ),
        (
            Change("routes", (), (RouteMap("a", "/", ("x:1", "y:2"), False, "/"),), LIVE),
            "routes: [] becomes a/ to x:1 and y:2 (taken over by running processes)",
        ),
    ],
)
def test_a_change_reads_as_a_sentence(change: Change, text: str) -> None:
    assert str(change) == text
