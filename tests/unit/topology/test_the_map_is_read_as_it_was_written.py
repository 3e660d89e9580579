"""The map: made from the spec, written, read back; older, newer and damaged files; epochs that only grow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.core.errors import SpecError
from tenfold.topology.map import DatabaseMap, Map, NodeMap, decode, encode, map_of, next_map, to_facts
from tenfold.topology.spec import Spec, parse_spec

GOLDEN = Path(__file__).parent / "golden" / "map-of-0.1.json"
GOLDEN_DOOR = Path(__file__).parent / "golden" / "map-of-step-3.json"
SERVICE = '[service]\nname = "shop"\napp = "shop.app:app"\n'
ROOT, STATE = "/srv/shop", "/srv/shop/.tenfold"


def made(text: str = "", previous: Map | None = None, after: int = 0) -> Map:
    return map_of(parse_spec(SERVICE + text), root=ROOT, state=STATE, previous=previous, after=after)


def test_the_file_of_the_first_version_is_still_the_map_of_its_spec() -> None:
    spec = parse_spec(SERVICE + '[settings]\nredirect_status = 302\ncolour = "blue"\n')
    current = map_of(spec, root=ROOT, state=STATE, previous=None, after=6)
    assert decode(GOLDEN.read_bytes(), "map.json") == current
    assert set(json.loads(encode(current))) - set(json.loads(GOLDEN.read_bytes())) == {
        "balancer", "dashboard", "files", "limits", "metrics", "routes", "sessions", "workers"
    }  # fmt: skip


DOOR = """
[web]\nprocesses = 3
[workers]\nprocesses = 2
[balancer]\nstrategy = "round-robin"\nweights = [3, 1]\nserver_connections = 41\nqueue = 42\ncompression = false
header_timeout = "43s"\nslow_start = "44s"
[tls]\ncertificate = "shop.pem"\nport = 8444\nredirect = true
[[route]]\nhost = "Photos.example.com"\nto = ["127.0.0.1:9000", "[::1]:9001"]\ncheck = "/ok"
[[route]]\npath = "/notify/"\nto = "notify:9002"\nstrip = true
[settings]\nredirect_status = 302
"""
BALANCED = (
    NodeMap("web-3", "web", address="127.0.0.1:20003", version="v7"),
    NodeMap("web-4", "web", address="127.0.0.1:20004", version="v8", traffic="off"),
    NodeMap("balancer-1", "balancer"),
    NodeMap("balancer-2", "balancer"),
)


def balanced(text: str = DOOR) -> Map:
    """The map of a deployment behind balancers, in the middle of a deploy."""
    first = made(text)
    public = msgspec.structs.replace(first.public, door="balancer")
    database = msgspec.structs.replace(first.database, backend="postgres")
    running = msgspec.structs.replace(first, public=public, nodes=BALANCED, database=database)
    return made(text, previous=running)


def test_a_map_of_step_3_is_the_file_that_was_put_aside() -> None:
    current = balanced()
    assert (current.step, current.public.door) == (3, "balancer")
    assert encode(current) == GOLDEN_DOOR.read_bytes()
    assert decode(GOLDEN_DOOR.read_bytes(), "map.json") == current


def test_a_map_that_was_read_is_written_as_the_same_bytes() -> None:
    # Defaults are left out of the file only when they are the very objects; a field that is not would make new epochs.
    for current in (made(), balanced()):
        again = decode(encode(current), "map.json")
        assert encode(again) == encode(current)
        assert next_map(current, msgspec.structs.replace(again, epoch=99)) is current


def test_every_value_of_the_spec_arrives_in_the_map() -> None:
    text = """
    [public]\nhost = "0.0.0.0"\nport = 81\nbody_limit = "2MB"
    [web]\naccess_log = false\nmetrics = "off"\ndrain_limit = "31s"\nkeep_alive = "32s"
    [workers]\nprocesses = 3
    [database]\npath = "other.db"\nhold = "33s"\nqueue = 34
    [cache]\nentries = 35\nbytes = "36MB"\neviction = "lfu"
    [sessions]\nidle = "8h"\nlifetime = "9d"\ncookie = "who"\nsecure = "always"
    [files]\nfolder = "/big/files"\nquota = "45GB"\nowner_quota = "46MB"
    [log]\nrotate_size = "37MB"\nkeep = 38\nlevel = "error"
    [metrics]\notlp = "http://collector:4318/v1/metrics"\nevery = "40s"
    [dashboard]\nhost = "::1"\nport = 47\nmode = "read-only"
    [settings]\nx = 39
    [balancer]\nstrategy = "client-address"\nweights = [3, 1]\nserver_connections = 41\nqueue = 42\ncompression = false
    header_timeout = "43s"\nslow_start = "44s"
    [tls]\ncertificate = "shop.pem"\nport = 8444\nredirect = true
    [[route]]\nhost = "Photos.example.com"\nto = ["127.0.0.1:9000", "[::1]:9001"]\ncheck = "/ok"
    [[route]]\npath = "/notify/"\nto = "notify:9002"\nstrip = true
    [[limit]]\nname = "login"\nrate = "5/minute"
    [[limit]]\nname = "slow"\nrate = "60/hour"\nburst = 9\nkey = "user+route"\nroutes = ["/a/*"]\nmethods = ["POST"]
    cost = 2\nover = "defer"\ntask = "later"\nshadow = true\nwhen_away = "closed"
    """
    facts = to_facts(made(text))
    assert facts == {
        "epoch": 1,
        "service": "shop",
        "app": "shop.app:app",
        "step": 1,
        "root": ROOT,
        "state": STATE,
        "public": {
            "host": "0.0.0.0",
            "port": 81,
            "body_limit": 2 * 1024**2,
            "tls": {"port": 8444, "certificate": f"{ROOT}/shop.pem", "redirect": True},
        },
        "web": {"processes": 1, "access_log": False, "metrics": "off", "drain_limit_s": 31.0, "keep_alive_s": 32.0},
        "database": {"backend": "sqlite", "path": f"{STATE}/other.db", "hold_s": 33.0, "queue": 34},
        "cache": {"entries": 35, "bytes": 36 * 1024**2, "eviction": "lfu"},
        "log": {"rotate_size": 37 * 1024**2, "keep": 38, "level": "error"},
        "metrics": {"otlp": "http://collector:4318/v1/metrics", "every_s": 40.0},
        "sessions": {"idle_s": 28800.0, "lifetime_s": 777600.0, "cookie": "who", "secure": "always"},
        "files": {"folder": "/big/files", "quota": 45 * 1024**3, "owner_quota": 46 * 1024**2},
        "dashboard": {"host": "::1", "port": 47, "mode": "read-only"},
        "settings": {"x": 39},
        "nodes": ({"name": "web-1", "role": "web", "host": "local", "address": "", "version": "", "traffic": "on"},),
        "balancer": {
            "strategy": "client-address",
            "weights": (3, 1),
            "server_connections": 41,
            "queue": 42,
            "compression": False,
            "header_timeout_s": 43.0,
            "slow_start_s": 44.0,
        },
        "routes": (
            {
                "host": "photos.example.com",
                "path": "/",
                "to": ("127.0.0.1:9000", "[::1]:9001"),
                "strip": False,
                "check": "/ok",
            },
            {"host": "", "path": "/notify", "to": ("notify:9002",), "strip": True, "check": "/readyz"},
        ),
        "workers": {"processes": 3},
        "limits": (
            {"name": "login", "rate": "5/minute"},
            {
                "name": "slow",
                "rate": "60/hour",
                "burst": 9,
                "key": ("user", "route"),
                "routes": ("/a/*",),
                "methods": ("POST",),
                "cost": 2,
                "over": "defer",
                "task": "later",
                "shadow": True,
                "when_away": "closed",
            },
        ),
    }
    untouched = to_facts(made())
    for table in ("public", "web", "workers", "database", "cache", "log", "metrics", "balancer", "sessions", "files"):
        for key, value in facts[table].items():
            if (table, key) not in {("web", "processes"), ("database", "backend")}:
                assert value != untouched[table].get(key), f"{table}.{key} is not tested"


@pytest.mark.parametrize(
    ("written", "absolute"),
    [
        ("x.db", f"{STATE}/x.db"),
        ("data/../x.db", f"{STATE}/x.db"),
        ("../x.db", f"{ROOT}/x.db"),
        ("/var/lib/x.db", "/var/lib/x.db"),
    ],
)
def test_the_database_is_seen_from_the_state_folder(written: str, absolute: str) -> None:
    assert made(f'[database]\npath = "{written}"\n').database.path == absolute


@pytest.mark.parametrize(("root", "state"), [("srv", STATE), (ROOT, ".tenfold")])
def test_a_map_holds_absolute_paths_only(root: str, state: str) -> None:
    with pytest.raises(AssertionError, match="absolute"):
        map_of(parse_spec(SERVICE), root=root, state=state, previous=None)


def test_the_first_epoch_is_one_and_an_unchanged_wish_keeps_the_map_itself() -> None:
    first = made()
    assert first.epoch == 1
    assert made(previous=first) is first


def test_each_change_is_an_epoch_and_so_is_the_way_back() -> None:
    first = made()
    second = made("[public]\nport = 81\n", previous=first)
    third = made(previous=second)
    assert [first.epoch, second.epoch, third.epoch] == [1, 2, 3]
    assert msgspec.structs.replace(third, epoch=1) == first


@pytest.mark.parametrize(("was", "becomes"), [("1", "true"), ("1", "1.0"), ("0", "false"), ("1.0", "true")])
def test_a_setting_of_another_type_is_another_setting(was: str, becomes: str) -> None:
    first = made(f"[settings]\nx = {was}\n")
    assert made(f"[settings]\nx = {becomes}\n", previous=first).epoch == 2


def test_the_order_of_settings_is_no_change() -> None:
    first = made("[settings]\na = 1\nb = 2\n")
    assert made("[settings]\nb = 2\na = 1\n", previous=first) is first


@pytest.mark.parametrize(
    ("previous", "after", "epoch"), [(None, 0, 1), (None, 41, 42), (5, 0, 5), (5, 5, 5), (5, 9, 10), (5, 4, 5)]
)
def test_a_lost_or_old_map_file_never_brings_an_epoch_back(previous: int | None, after: int, epoch: int) -> None:
    old = None if previous is None else msgspec.structs.replace(made(), epoch=previous)
    assert made(previous=old, after=after).epoch == epoch


@pytest.mark.parametrize(
    ("written", "absolute"),
    [
        ("self-signed", f"{STATE}/secrets/self-signed.pem"),
        ("shop.pem", f"{ROOT}/shop.pem"),
        ("../certs/./shop.pem", "/srv/certs/shop.pem"),
        ("./self-signed", f"{ROOT}/self-signed"),
        ("/etc/shop.pem", "/etc/shop.pem"),
    ],
)
def test_a_certificate_is_seen_from_the_folder_of_the_file(written: str, absolute: str) -> None:
    tls = made(f'[tls]\ncertificate = "{written}"\n').public.tls
    assert tls is not None
    assert tls.certificate == absolute


@pytest.mark.parametrize("count", [1, 2, 8])
def test_a_first_map_has_one_web_node_at_the_door_whatever_is_wanted(count: int) -> None:
    first = made(f"[web]\nprocesses = {count}\n")
    assert (first.nodes, first.public.door, first.web.processes) == ((NodeMap("web-1", "web"),), "web", count)


@pytest.mark.parametrize(
    "text", ["", "[web]\nprocesses = 1\n", "[web]\nprocesses = 8\n", DOOR, '[tls]\ncertificate = "a"\n']
)
@pytest.mark.parametrize("nodes", [BALANCED, BALANCED[1:2], (NodeMap("web-7", "web", "b", "x:1", "v9"),)])
@pytest.mark.parametrize("door", ["web", "balancer"])
def test_nodes_and_door_stay_whatever_the_spec_says(text: str, nodes: tuple[NodeMap, ...], door: Any) -> None:
    first = made()
    public = msgspec.structs.replace(first.public, door=door)
    after = made(text, previous=msgspec.structs.replace(first, nodes=nodes, public=public))
    assert (after.nodes, after.public.door) == (nodes, door)


def test_a_map_that_lost_its_web_nodes_gets_one() -> None:
    database = NodeMap("db-1", "database")
    after = made(previous=msgspec.structs.replace(made(), nodes=(database,)))
    assert after.nodes == (NodeMap("web-1", "web"), database)


def test_tls_and_routes_that_are_taken_out_of_the_spec_leave_the_map() -> None:
    after = made(previous=balanced())
    assert (after.public.tls, after.routes, after.balancer) == (None, (), made().balancer)
    assert after.public.door == "balancer"


def test_a_map_finds_its_nodes_and_the_code_that_they_run() -> None:
    current = balanced()
    assert [node.name for node in current.of_role("web")] == ["web-3", "web-4"]
    assert current.of_role("edge") == ()
    assert current.node("balancer-2") == BALANCED[3]
    assert current.node("web-1") is None
    assert current.code_of("v7") == f"{STATE}/versions/v7"
    assert current.code_of("") == ROOT


def test_the_next_map_is_the_content_under_the_next_epoch() -> None:
    first = made()
    other = msgspec.structs.replace(made("[public]\nport = 81\n"), epoch=99)
    assert next_map(first, other) == msgspec.structs.replace(other, epoch=2)
    assert next_map(first, msgspec.structs.replace(first, epoch=99)) is first
    assert next_map(None, other).epoch == 1
    assert next_map(first, first, after=7) == msgspec.structs.replace(first, epoch=8)


SCALARS = (
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)


@given(settings=st.dictionaries(st.text(), SCALARS), epoch=st.integers(1, 2**62), paths=st.text())
def test_any_map_comes_back_with_all_its_types(settings: dict[str, Any], epoch: int, paths: str) -> None:
    current = msgspec.structs.replace(
        made(),
        epoch=epoch,
        settings=settings,
        root="/" + paths,
        nodes=(NodeMap("web-1", "web"), NodeMap("db-1", "database", "b", "10.0.0.1:5432")),
    )
    back = decode(encode(current), "map.json")
    assert back == current
    assert [type(value) for value in back.settings.values()] == [type(value) for value in settings.values()]


def test_a_file_of_a_later_version_is_read_without_what_is_unknown_here() -> None:
    facts = json.loads(GOLDEN.read_bytes())
    facts["edges"] = {"port": 1}
    facts["balancer"] = {"stickiness": 1}
    facts["web"]["threads"] = 4
    facts["nodes"][0]["weight"] = 2
    assert decode(json.dumps(facts).encode(), "map.json") == decode(GOLDEN.read_bytes(), "map.json")


def every_path(facts: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document, tables and lists included."""
    inner = facts.items() if isinstance(facts, dict) else enumerate(facts) if isinstance(facts, list) else ()
    return [(*path, key) for key, _ in inner] + [
        deep for key, value in inner for deep in every_path(value, (*path, key))
    ]


FULL = json.loads(GOLDEN_DOOR.read_bytes())
PATHS = every_path(FULL)
# What has a default may be missing: files of versions before it have none.
OPTIONAL = {
    *(
        path
        for path in PATHS
        if path[0] in ("balancer", "workers", "metrics", "limits", "sessions", "files", "dashboard")
    ),
    ("routes",),
    *(path for path in PATHS if path[0] == "settings" and len(path) > 1),
    *(path for path in PATHS if isinstance(path[-1], int)),
    *(path for path in PATHS if path[0] == "nodes" and path[-1] in ("host", "address", "version", "traffic")),
    ("public", "door"),
    ("public", "tls"),
    ("log", "level"),
    ("cache", "eviction"),
}


def changed(path: tuple[Any, ...], value: Any = ...) -> bytes:
    """The golden file with the value at a path replaced, or taken away."""
    facts = json.loads(GOLDEN_DOOR.read_bytes())
    *above, last = path
    table = facts
    for key in above:
        table = table[key]
    if value is ...:
        del table[last]
    else:
        table[last] = value
    return json.dumps(facts).encode()


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(map(str, path)))
def test_a_map_without_one_of_its_values_is_refused(path: tuple[Any, ...]) -> None:
    if path in OPTIONAL:
        decode(changed(path), "map.json")
        return
    with pytest.raises(SpecError, match=r"/srv/map\.json is not a map: ") as caught:
        decode(changed(path), "/srv/map.json")
    assert f"`{path[-1]}`" in caught.value.message
    assert "tenfold up" in caught.value.hint


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(map(str, path)))
def test_a_map_with_a_value_of_another_type_is_refused(path: tuple[Any, ...]) -> None:
    with pytest.raises(SpecError, match=r"map\.json is not a map: "):
        decode(changed(path, [None]), "map.json")


@pytest.mark.parametrize("epoch", [0, -1, 1.5, "1", True])
def test_an_epoch_counts_from_one(epoch: Any) -> None:
    with pytest.raises(SpecError, match="is not a map"):
        decode(changed(("epoch",), epoch), "map.json")


def test_a_file_cut_off_anywhere_is_refused() -> None:
    whole = GOLDEN.read_bytes().rstrip()
    for cut in range(len(whole)):
        with pytest.raises(SpecError, match=r"^TF-SPEC: map\.json is not a map: "):
            decode(whole[:cut], "map.json")


@pytest.mark.parametrize("data", [b"\xff\xfe", b"\0" * 100, b"[]", b"null", b"[" * 100_000, b'{"epoch": "\xff"}'])
def test_what_is_no_map_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(SpecError, match=r"^TF-SPEC: map\.json is not a map: "):
        decode(data, "map.json")


def test_a_map_cannot_be_changed_in_place() -> None:
    with pytest.raises(AttributeError):
        made().epoch = 2  # type: ignore[misc]


def test_the_spec_and_its_map_do_not_share_their_settings() -> None:
    spec: Spec = parse_spec(SERVICE + "[settings]\nx = 1\n")
    current = map_of(spec, root=ROOT, state=STATE, previous=None)
    spec.settings["x"] = 2
    assert current.settings == {"x": 1}


def test_the_backend_is_one_that_exists() -> None:
    assert isinstance(made().database, DatabaseMap)
    with pytest.raises(SpecError, match="backend"):
        decode(changed(("database", "backend"), "oracle"), "map.json")
