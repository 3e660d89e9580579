"""What climb, descend and scale want, which moves lead there, what each leaves, and that nothing else changes."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.core.errors import SpecError, UsageError
from tenfold.topology.diff import Effect, diff
from tenfold.topology.map import Map, NodeMap, ServerMap, WorkersMap, decode, encode, map_of
from tenfold.topology.spec import Spec, parse_spec
from tenfold.topology.steps import find_step, step_of
from tenfold.topology.targets import moves_between, needs_new_processes, target_of, wanted_map, web_count
from tenfold.topology.wants import (
    Wants,
    climb_wants,
    decode_wants,
    descend_wants,
    encode_wants,
    scale_wants,
    wants_of,
    worker_count,
)
from tenfold.topology.working import coded

TEXT = '[service]\nname = "shop"\napp = "shop.app:app"\n'
ONE = map_of(parse_spec(TEXT), root="/srv", state="/srv/.tenfold", previous=None)
SERVER = ServerMap("127.0.0.1", 5432, "shop", "shop_web", "secrets/database-web", 16)
BALANCERS = (NodeMap("balancer-1", "balancer"), NodeMap("balancer-2", "balancer"))


def with_database(current: Map = ONE, **changes: Any) -> Map:
    made = msgspec.structs.replace(current, database=msgspec.structs.replace(current.database, **changes))
    return msgspec.structs.replace(made, step=step_of(made))


def balanced(current: Map, web: int = 2, version: str = "", processes: int = 1) -> Map:
    """The map with balancers before so many web servers, where tenfold.toml asks for `processes`."""
    servers = tuple(NodeMap(f"web-{n}", "web", "local", f"h:{n}", version) for n in range(1, web + 1))
    made = msgspec.structs.replace(
        current,
        public=msgspec.structs.replace(current.public, door="balancer"),
        web=msgspec.structs.replace(current.web, processes=processes),
        nodes=(*servers, *BALANCERS),
    )
    return msgspec.structs.replace(made, step=step_of(made))


def content_of(text: str, current: Map) -> Map:
    """What tenfold.toml wants of a deployment that runs."""
    return map_of(parse_spec(TEXT + text), root="/srv", state="/srv/.tenfold", previous=current)


TWO = with_database(backend="postgres", server=SERVER, way_back=True)
FINAL = with_database(backend="postgres", server=SERVER)
THREE = balanced(TWO)
ALONE = balanced(ONE)
"""Step 3 without step 2 (`climb --only 3`)."""
POSTGRES, SQLITE = Wants("postgres"), Wants("sqlite")
DOOR = Wants("postgres", balancers=2)


@pytest.mark.parametrize(
    ("current", "step", "wants", "moves"),
    [
        (ONE, None, POSTGRES, ("copy_to_postgres",)),
        (ONE, "2", POSTGRES, ("copy_to_postgres",)),
        (ONE, "1", SQLITE, ()),
        (ONE, "3", DOOR, ("copy_to_postgres", "put_balancers", "change_nodes")),
        (TWO, None, DOOR, ("put_balancers", "change_nodes")),
        (TWO, "1", POSTGRES, ()),
        (TWO, "2", POSTGRES, ()),
        (TWO, "3", DOOR, ("put_balancers", "change_nodes")),
        (THREE, None, DOOR, ()),
        (THREE, "1", DOOR, ()),
        (THREE, "3", DOOR, ()),
        (ALONE, None, DOOR, ("copy_to_postgres",)),
        (balanced(TWO, 5), "3", Wants("postgres", 2, 5, 1), ()),
        (balanced(TWO, 2, "v7"), "3", Wants("postgres", 2, version="v7"), ()),
    ],
)
def test_climbing(current: Map, step: str | None, wants: Wants, moves: tuple[str, ...]) -> None:
    found = climb_wants(current, find_step(step) if step else None)
    assert (found, moves_between(current, found)) == (wants, moves)


@pytest.mark.parametrize(
    ("current", "step", "wants", "moves"),
    [
        (ONE, "2", POSTGRES, ("copy_to_postgres",)),
        (ONE, "3", Wants("sqlite", 2), ("put_balancers", "change_nodes")),
        (TWO, "3", DOOR, ("put_balancers", "change_nodes")),
        (ALONE, "2", DOOR, ("copy_to_postgres",)),
        (ALONE, "3", Wants("sqlite", 2), ()),
        (THREE, "1", DOOR, ()),
    ],
)
def test_climbing_one_step_only(current: Map, step: str, wants: Wants, moves: tuple[str, ...]) -> None:
    found = climb_wants(current, find_step(step), only=True)
    assert (found, moves_between(current, found)) == (wants, moves)


@pytest.mark.parametrize(
    ("current", "step", "wants", "moves"),
    [
        (TWO, None, SQLITE, ("return_to_sqlite",)),
        (TWO, "1", SQLITE, ("return_to_sqlite",)),
        (TWO, "2", POSTGRES, ()),
        (ONE, None, SQLITE, ()),
        (ONE, "1", SQLITE, ()),
        (THREE, None, POSTGRES, ("change_nodes", "take_balancers")),
        (THREE, "2", POSTGRES, ("change_nodes", "take_balancers")),
        (THREE, "1", SQLITE, ("change_nodes", "take_balancers", "return_to_sqlite")),
        (THREE, "3", DOOR, ()),
        (balanced(TWO, 1), "2", POSTGRES, ("take_balancers",)),
        (balanced(TWO, 9, "v7"), "2", Wants("postgres", version="v7"), ("change_nodes", "take_balancers")),
        (balanced(FINAL), "2", POSTGRES, ("change_nodes", "take_balancers")),
        (ALONE, None, SQLITE, ("change_nodes", "take_balancers")),
        (ALONE, "1", SQLITE, ("change_nodes", "take_balancers")),
    ],
)
def test_descending(current: Map, step: str | None, wants: Wants, moves: tuple[str, ...]) -> None:
    found = descend_wants(current, find_step(step) if step else None)
    assert (found, moves_between(current, found)) == (wants, moves)


def test_nobody_descends_upwards() -> None:
    for current, step, below in ((ONE, 2, 1), (TWO, 3, 2), (ONE, 3, 1)):
        with pytest.raises(UsageError, match=rf"is on step {below}, which is below step {step}"):
            descend_wants(current, find_step(step))


def test_after_finalize_the_way_back_is_refused_with_the_dump_command() -> None:
    for current in (FINAL, balanced(FINAL)):
        with pytest.raises(UsageError) as caught:
            moves_between(current, SQLITE)
        assert caught.value.code == "TF-NO-WAY-BACK"
        assert "pg_dump" in caught.value.hint
        assert "-h 127.0.0.1 -p 5432" in caught.value.hint


def test_the_wanted_map_differs_by_the_move_and_nothing_else() -> None:
    for current, wants, step, paths in (
        (ONE, POSTGRES, 2, {"database.backend", "database.way_back"}),
        (TWO, SQLITE, 1, {"database.backend", "database.way_back"}),
        (TWO, DOOR, 3, {"public.door", "nodes.balancer-1", "nodes.balancer-2", "nodes.web-2"}),
        (balanced(TWO, 1), POSTGRES, 2, {"public.door", "nodes.balancer-1", "nodes.balancer-2", "nodes.web-1"}),
    ):
        wanted = wanted_map(current, wants)
        plan = diff(current, wanted)
        assert plan.effect is Effect.MOVE
        assert {change.path for change in plan.changes} == {"step", *paths}
        assert wanted.step == step
        assert wants_of(wanted) == wants
    assert wanted_map(TWO, POSTGRES) is TWO


def test_putting_balancers_leaves_the_web_servers_and_taking_them_their_names() -> None:
    there = target_of("put_balancers", TWO, DOOR)
    assert (there.nodes, there.public.door, there.step) == ((NodeMap("web-1", "web"), *BALANCERS), "balancer", 3)
    back = target_of("take_balancers", balanced(TWO, 1, "v7"), POSTGRES)
    assert (back.nodes, back.public.door, back.step) == ((NodeMap("web-1", "web", version="v7"),), "web", 2)


def test_finalize_closes_the_way_back_and_nothing_else() -> None:
    assert target_of("drop_way_back", TWO, POSTGRES) == FINAL


@pytest.mark.parametrize(
    ("balancers", "web", "instead_of", "processes", "count"),
    [
        (0, 0, 0, 1, 1),
        (0, 0, 0, 9, 1),
        (0, 4, 1, 1, 1),
        (2, 0, 0, 1, 2),
        (2, 0, 0, 2, 2),
        (2, 0, 0, 9, 9),
        (2, 4, 1, 1, 4),
        (2, 1, 1, 1, 1),
        (2, 1, 9, 9, 1),
        (2, 4, 1, 3, 3),  # tenfold.toml was edited after `scale`
        (2, 4, 3, 1, 2),
        (2, 64, 1, 1, 64),
    ],
)
def test_how_many_web_servers(balancers: Literal[0, 2], web: int, instead_of: int, processes: int, count: int) -> None:
    current = balanced(ONE, processes=processes)
    assert web_count(current, Wants("sqlite", balancers, web, instead_of)) == count


def web(*names: str, version: str = "", off: tuple[str, ...] = ()) -> tuple[NodeMap, ...]:
    return tuple(NodeMap(n, "web", version=version, traffic="off" if n in off else "on") for n in names)


@pytest.mark.parametrize(
    ("before", "count", "version", "renew", "after"),
    [
        (["web-1"], 1, "", False, ["web-1"]),
        (["web-1"], 3, "", False, ["web-1", "web-2", "web-3"]),
        (["web-2"], 2, "", False, ["web-1", "web-2"]),
        (["web-1", "web-2", "web-3"], 1, "", False, ["web-1"]),
        (["web-2", "web-10", "web-9"], 2, "", False, ["web-2", "web-9"]),
        (["web-3", "web-7"], 4, "", False, ["web-1", "web-2", "web-3", "web-7"]),
        (["web-1"], 1, "", True, ["web-2"]),
        (["web-2"], 1, "", True, ["web-1"]),
        (["web-1", "web-2"], 2, "", True, ["web-3", "web-4"]),
        (["web-3", "web-4"], 2, "", True, ["web-1", "web-2"]),
        (["web-1", "web-3"], 3, "", True, ["web-2", "web-4", "web-5"]),
        (["web-1", "web-2"], 2, "v8", False, ["web-3", "web-4"]),
        (["web-1", "web-2"], 3, "v8", False, ["web-3", "web-4", "web-5"]),
        (["web-1", "web-2", "web-3"], 1, "v8", False, ["web-4"]),
        (["front", "web-x", "web-1"], 2, "", False, ["web-1", "front"]),
        ([], 2, "", False, ["web-1", "web-2"]),
    ],
)
def test_who_runs_after_a_change_of_the_web_tier(
    before: list[str], count: int, version: str, renew: bool, after: list[str]
) -> None:
    current = msgspec.structs.replace(balanced(TWO), nodes=(*BALANCERS, *web(*before)))
    wants = Wants("postgres", 2, count, 1, version)
    content = content_of('[web]\nkeep_alive = "9s"\n' if renew else "", current)
    found = target_of("change_nodes", current, wants, content)
    assert [node.name for node in found.of_role("web")] == after
    assert {node.version for node in found.of_role("web")} == {version}
    assert {node.traffic for node in found.of_role("web")} == {"on"}
    assert (found.of_role("balancer"), found.public) == (BALANCERS, current.public)
    stayed = {node for node in found.of_role("web") if node in current.nodes}
    assert {node.address for node in set(found.of_role("web")) - stayed} <= {""}


def test_a_server_that_has_no_traffic_does_not_stay() -> None:
    current = msgspec.structs.replace(balanced(TWO), nodes=(*BALANCERS, *web("web-1", "web-2", off=("web-1",))))
    found = target_of("change_nodes", current, DOOR)
    assert [node.name for node in found.of_role("web")] == ["web-2", "web-3"]
    assert moves_between(current, DOOR) == ("change_nodes",)


def test_the_settings_of_the_file_come_with_the_web_servers_and_nothing_else_of_it() -> None:
    current = balanced(TWO, 2)
    text = """
    [public]\nbody_limit = "2MB"\n[web]\nkeep_alive = "9s"\nprocesses = 3\n[database]\npool = 6\nhold = "1s"
    [settings]\nx = 1\n[balancer]\nqueue = 5\n[tls]\ncertificate = "a.pem"\n[[route]]\npath = "/a"\nto = "x:1"\n
    """
    content = content_of(text, ONE)  # made before the database moved and the balancers came
    found = target_of("change_nodes", current, DOOR, content)
    assert [node.name for node in found.of_role("web")] == ["web-3", "web-4", "web-5"]
    for name in ("web", "settings", "balancer", "routes", "cache", "log", "app"):
        assert getattr(found, name) == getattr(content, name), name
    assert found.public == msgspec.structs.replace(content.public, door="balancer")
    assert found.database == msgspec.structs.replace(current.database, hold_s=1.0)
    assert found.step == 3
    own = content_of(text, current)
    server = target_of("change_nodes", current, DOOR, own).database.server
    assert server == msgspec.structs.replace(SERVER, pool=6)
    for move in ("copy_to_postgres", "return_to_sqlite", "drop_way_back", "put_balancers", "take_balancers"):
        assert target_of(move, current, DOOR, content) == target_of(move, current, DOOR)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("", False),
        ("[web]\nkeep_alive = 9\n", True),
        ("[database]\npool = 4\n", True),
        ("[web]\nprocesses = 4\naccess_log = false\n", False),
        ("[balancer]\nqueue = 4\n[settings]\nx = 1\n[public]\nbody_limit = 2000\n", False),
        ('[tls]\ncertificate = "a"\n[[route]]\npath = "/a"\nto = "x:1"\n', False),
    ],
)
def test_which_settings_need_new_processes(text: str, needed: bool) -> None:
    for current in (TWO, THREE, balanced(FINAL, 7, "v9")):
        assert needs_new_processes(current, content_of(text, current)) is needed
    renamed = msgspec.structs.replace(THREE, app="shop.other:app")
    assert needs_new_processes(THREE, renamed)
    assert moves_between(THREE, DOOR, renamed) == ("change_nodes",)
    # Where the data is belongs to a move, so a content made before that move says nothing about it.
    assert needs_new_processes(THREE, content_of("", ONE)) is False


def test_a_new_number_of_web_processes_is_a_move_from_step_3_on() -> None:
    text = "[web]\nprocesses = 4\n"
    for current in (ONE, TWO):
        assert moves_between(current, wants_of(current), content_of(text, current)) == ()
    assert moves_between(THREE, DOOR, content_of(text, THREE)) == ("change_nodes",)
    scaled = balanced(TWO, 7)
    # `scale web=7` said "instead of 1"; who writes 4 into the file afterwards means 4.
    assert web_count(content_of(text, scaled), wants_of(scaled)) == 4
    assert moves_between(scaled, wants_of(scaled), content_of("", scaled)) == ()


@pytest.mark.parametrize(
    ("count", "processes", "wants"),
    [
        (4, 1, Wants("postgres", 2, 4, 1)),
        (1, 1, Wants("postgres", 2, 1, 1)),
        (2, 1, DOOR),
        (3, 3, DOOR),
        (2, 3, Wants("postgres", 2, 2, 3)),
        (8, 1, Wants("postgres", 2, 8, 1)),
    ],
)
def test_scaling(count: int, processes: int, wants: Wants) -> None:
    for before in (2, 5):
        current = balanced(TWO, before, processes=processes)
        found = scale_wants(current, wants_of(current), web=count)
        assert found == wants
        assert moves_between(current, found) == (() if before == count else ("change_nodes",))
        after = wanted_map(current, found)
        assert (len(after.of_role("web")), wants_of(after)) == (count, wants)


@pytest.mark.parametrize("count", [0, -1, 65, 10_000])
def test_a_number_of_web_servers_that_cannot_be(count: int) -> None:
    for current in (ONE, THREE):
        with pytest.raises(UsageError) as caught:
            scale_wants(current, wants_of(current), web=count)
        assert caught.value.code == "TF-SCALE"
        assert caught.value.message == f"shop cannot run {count} web servers: it runs 1 to 64."
        assert caught.value.hint


def test_more_web_servers_than_the_pool_carries_are_refused_with_the_pool_that_would() -> None:
    for count, pool in ((9, 16), (64, 16), (3, 5)):
        server = msgspec.structs.replace(SERVER, pool=pool)
        current = with_database(THREE, server=server)
        with pytest.raises(UsageError) as caught:
            scale_wants(current, DOOR, web=count)
        assert caught.value.code == "TF-SCALE"
        assert caught.value.message == (
            f"{count} web servers need {2 * count} connections for transactions, and database.pool is {pool}."
        )
        assert f"pool = {2 * count}" in caught.value.hint
    large = with_database(THREE, server=msgspec.structs.replace(SERVER, pool=128))
    assert scale_wants(large, DOOR, web=64).web == scale_wants(ALONE, wants_of(ALONE), web=64).web == 64


@pytest.mark.parametrize("count", [1, 2, 64])
def test_before_step_3_nothing_is_scaled(count: int) -> None:
    for current, wants in ((ONE, SQLITE), (TWO, POSTGRES), (TWO, DOOR), (THREE, POSTGRES)):
        with pytest.raises(UsageError) as caught:
            scale_wants(current, wants, web=count)
        assert caught.value.code == "TF-SCALE"
        assert caught.value.message == "shop has no load balancer yet, so one web server answers alone."
        assert "tenfold climb 3" in caught.value.hint


def maps() -> list[Map]:
    """Every kind of settled map: data, way back, door, number of web servers, their version, the file's number."""
    found = []
    for database, version, processes in itertools.product((ONE, TWO, FINAL), ("", "v7"), (1, 3)):
        plain = msgspec.structs.replace(
            database,
            web=msgspec.structs.replace(database.web, processes=processes),
            nodes=(NodeMap("web-2", "web", version=version),),
        )
        found += [plain, *(balanced(plain, count, version, processes) for count in (1, 2, 5))]
    return found


def all_wants() -> list[Wants]:
    databases: list[Literal["sqlite", "postgres"]] = ["sqlite", "postgres"]
    doors: list[Literal[0, 2]] = [0, 2]
    tiers = [(0, 0), (1, 1), (2, 3), (5, 3)]
    return [
        Wants(database, door, *tier, version)
        for database, door, tier, version in itertools.product(databases, doors, tiers, ("", "v7", "v8"))
    ]


def met(content: Map, wants: Wants) -> Wants:
    """The wants as a map that meets them says them: what tenfold.toml says anyhow, or cannot be, is left out."""
    without_web = msgspec.structs.replace(wants, web=0, web_instead_of=0)
    found = wants if web_count(content, wants) != web_count(content, without_web) else without_web
    plain = msgspec.structs.replace(found, workers=None, workers_instead_of=0)
    return found if worker_count(content, wants) != worker_count(content, plain) else plain


ORDER = ["copy_to_postgres", "put_balancers", "change_nodes", "take_balancers", "return_to_sqlite"]


def check_the_way(current: Map, wants: Wants, spec: Spec) -> None:
    """The moves are few and in order, each brings something, and after the last nothing is left to do."""
    content = map_of(spec, root="/srv", state="/srv/.tenfold", previous=current)
    moves = moves_between(current, wants, content)
    assert [move for move in ORDER if move in moves] == list(moves)
    before = current
    for move in moves:
        after = target_of(move, before, wants, content)
        assert after != before, f"{move} brings nothing"
        assert after.step == step_of(after)
        assert after.public.door == ("balancer" if after.of_role("balancer") else "web")
        servers = after.of_role("web")
        assert servers
        assert len({node.name for node in after.nodes}) == len(after.nodes)
        if move == "change_nodes":
            assert not needs_new_processes(before, content) or not set(coded(after)) & set(before.nodes)
            assert {node.version for node in coded(after)} == {wants.version}
            assert len(after.of_role("worker")) == worker_count(content, wants)
        before = after
    assert before == wanted_map(current, wants, content)
    assert moves_between(before, wants, content) == ()
    # What is live of the file comes without a move.
    settled = map_of(spec, root="/srv", state="/srv/.tenfold", previous=before)
    assert wants_of(settled) == met(settled, wants)
    assert moves_between(settled, wants) == moves_between(settled, wants_of(settled)) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[web]\nprocesses = 3\n",
        "[web]\nkeep_alive = 9\n[database]\npool = 5\n",
        "[web]\nprocesses = 2\n[workers]\nprocesses = 2\n",
    ],
)
def test_from_every_map_the_moves_lead_to_every_wants(text: str) -> None:
    ways, spec = 0, parse_spec(TEXT + text)
    for current, wants in itertools.product(maps(), all_wants()):
        if wants.database == "sqlite" and current.database.backend == "postgres" and not current.database.way_back:
            with pytest.raises(UsageError, match="way back"):
                moves_between(current, wants)
            continue
        check_the_way(current, wants, spec)
        ways += 1
    assert ways == 1920  # of 48 maps and 48 wants, without those whose way back is closed


def test_every_settled_map_meets_its_own_wants() -> None:
    for current in maps():
        assert moves_between(current, wants_of(current)) == ()
        assert wanted_map(current, wants_of(current)) is current


NAMES = st.lists(st.integers(1, 12), min_size=1, max_size=8, unique=True)


@given(
    st.sampled_from([ONE, TWO]),
    st.booleans(),
    NAMES,
    st.lists(st.sampled_from(["", "v7", "v8"]), min_size=8, max_size=8),
    st.lists(st.sampled_from(["on", "off"]), min_size=8, max_size=8),
    st.integers(1, 12),
    st.integers(1, 12),
    st.builds(
        Wants,
        database=st.sampled_from(["sqlite", "postgres"]),
        balancers=st.sampled_from([0, 2]),
        web=st.integers(0, 12),
        web_instead_of=st.integers(1, 12),
        version=st.sampled_from(["", "v7", "v8"]),
        workers=st.none() | st.integers(0, 4),
        workers_instead_of=st.integers(0, 3),
    ),
    st.lists(st.tuples(st.integers(1, 12), st.sampled_from(["on", "off"])), max_size=3, unique_by=lambda each: each[0]),
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()),
)
def test_from_any_map_the_moves_lead_to_any_wants(
    database: Map,
    door: bool,
    names: list[int],
    versions: list[str],
    traffic: list[Literal["on", "off"]],
    runs: int,
    wanted: int,
    wants: Wants,
    working: list[tuple[int, Literal["on", "off"]]],
    file: tuple[int, int, bool],
) -> None:
    servers = tuple(
        NodeMap(f"web-{number}", "web", "local", f"h:{number}" if door else "", version, on)
        for number, version, on in zip(names, versions, traffic, strict=False)
    )
    current = balanced(database, 1, processes=runs) if door else database
    workers = tuple(
        NodeMap(f"worker-{number}", "worker", version=version, traffic=on)
        for (number, on), version in zip(working, reversed(versions), strict=False)
    )
    current = msgspec.structs.replace(
        current, nodes=(*servers, *workers, *current.of_role("balancer")), workers=WorkersMap(file[0])
    )
    text = f"{TEXT}[web]\nprocesses = {wanted}\n{'keep_alive = 9' if file[2] else ''}\n[database]\npool = 30\n"
    check_the_way(current, wants, parse_spec(f"{text}[workers]\nprocesses = {file[1]}\n"))


@pytest.mark.parametrize("have", [(), BALANCERS[:1], BALANCERS[1:], BALANCERS])
@pytest.mark.parametrize("door", ["web", "balancer"])
def test_half_a_door_is_made_whole_or_taken_away(have: tuple[NodeMap, ...], door: Literal["web", "balancer"]) -> None:
    public = msgspec.structs.replace(TWO.public, door=door)
    current = msgspec.structs.replace(TWO, public=public, nodes=(NodeMap("web-1", "web"), *have))
    whole, none = (have, door) == (BALANCERS, "balancer"), (have, door) == ((), "web")
    assert ("put_balancers" in moves_between(current, DOOR)) is not whole
    assert ("take_balancers" in moves_between(current, POSTGRES)) is not none
    for wants, nodes in ((DOOR, BALANCERS), (POSTGRES, ())):
        after = wanted_map(current, wants)
        assert (after.of_role("balancer"), after.public.door) == (nodes, "balancer" if nodes else "web")


@pytest.mark.parametrize("text", ["", "[public]\nport = 81\n", '[database]\nhold = "1s"\n'])
@pytest.mark.parametrize("current", [TWO, FINAL, THREE, with_database(standby="postgres", server=SERVER, gate="held")])
def test_a_spec_that_is_edited_leaves_the_data_where_it_is(current: Map, text: str) -> None:
    after = map_of(parse_spec(TEXT + text), root="/srv", state="/srv/.tenfold", previous=current)
    kept = ("backend", "server", "standby", "gate", "way_back")
    assert [getattr(after.database, name) for name in kept] == [getattr(current.database, name) for name in kept]


def test_another_pool_is_a_change_of_processes() -> None:
    current = map_of(parse_spec(TEXT), root="/srv", state="/srv/.tenfold", previous=TWO)
    after = map_of(parse_spec(TEXT + "[database]\npool = 4\n"), root="/srv", state="/srv/.tenfold", previous=current)
    assert after.database.server == msgspec.structs.replace(SERVER, pool=4)
    assert diff(current, after).effect is Effect.NEW_PROCESSES


def test_a_map_with_a_server_comes_back() -> None:
    for current in (ONE, TWO, FINAL, THREE):
        assert decode(encode(current), "map.json") == current


def test_wants_are_written_and_read() -> None:
    for wants in (POSTGRES, SQLITE, DOOR, Wants("sqlite", 2, 64, 3, "v7")):
        assert decode_wants(encode_wants(wants), "wants.json") == wants
    assert decode_wants(b"{}", "wants.json") == SQLITE


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"database": "mysql"}', b"\xff", b'{"balancers": 1}', b'{"web": 65}', b'{"web": -1}']
)
def test_damaged_wants_are_named(data: bytes) -> None:
    with pytest.raises(SpecError, match=r"wants.json does not say what is wanted"):
        decode_wants(data, "wants.json")
