"""Whatever a map may say, HAProxy reads the config that is made from it, without a warning."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from haproxy import Door, listener, map_of, needs_haproxy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenfold.engines.haproxy.tls import self_signed_argv
from tenfold.topology.map import BalancerMap, NodeMap, PublicMap, RouteMap, TlsMap

pytestmark = needs_haproxy

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)
PATHS = WORDS.map(lambda word: f"/{word}")
HOSTS = st.from_regex(r"[a-z][a-z0-9-]{0,10}(\.[a-z]{2,5})?", fullmatch=True)
ADDRESSES = st.builds("{}:{}".format, st.ip_addresses(v=4), st.integers(1, 65535)) | st.builds(
    "[{}]:{}".format, st.ip_addresses(v=6), st.integers(1, 65535)
)
ROUTES = st.builds(
    RouteMap,
    host=st.just("") | HOSTS,
    path=PATHS,
    to=st.lists(ADDRESSES, min_size=1, max_size=3).map(tuple),
    strip=st.booleans(),
    check=PATHS,
)
BALANCERS = st.builds(
    BalancerMap,
    strategy=st.sampled_from(("round-robin", "least-connections", "client-address")),
    weights=st.lists(st.integers(0, 256), max_size=5).map(tuple),
    server_connections=st.integers(1, 100_000),
    queue=st.integers(0, 1_000_000),
    compression=st.booleans(),
    header_timeout_s=st.floats(0.001, 3600),
    slow_start_s=st.floats(0, 3600),
)


@pytest.fixture(scope="module")
def certificate() -> Path:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / 'a folder\'s $HOME "state" #1'
        folder.mkdir()
        made, key = folder / "made.pem", folder / "key.pem"
        subprocess.run(self_signed_argv(str(made), str(key)), check=True, capture_output=True)
        both = folder / "both.pem"
        both.write_bytes(made.read_bytes() + key.read_bytes())
        yield both


@given(
    balancer=BALANCERS,
    routes=st.lists(ROUTES, max_size=4).map(tuple),
    addresses=st.lists(ADDRESSES, max_size=4),
    tls=st.none() | st.builds(lambda redirect, port: (redirect, port), st.booleans(), st.integers(1, 65535)),
    hold_s=st.floats(0.1, 600),
    drain_limit_s=st.floats(0, 3600),
    keep_alive_s=st.floats(0.1, 3600),
    body_limit=st.integers(0, 1 << 40),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_map_becomes_a_config_without_a_warning(
    tmp_path: Path, certificate: Path, balancer: BalancerMap, routes: tuple[RouteMap, ...], addresses: list[str],
    tls: tuple[bool, int] | None, hold_s: float, drain_limit_s: float, keep_alive_s: float, body_limit: int,
) -> None:  # fmt: skip
    door = Door(tmp_path)
    try:
        door.tls = listener()
        encrypted = None if tls is None else TlsMap(tls[1], str(certificate), tls[0])
        current = map_of(
            tuple(NodeMap(f"web-{number}", "web", address=address) for number, address in enumerate(addresses, 1)),
            balancer=balancer,
            routes=routes,
            public=PublicMap("127.0.0.1", 8000, body_limit, "balancer", encrypted),
            hold_s=hold_s,
            drain_limit_s=drain_limit_s,
            keep_alive_s=keep_alive_s,
        )
        assert door.check(current) == "", door.write(current).read_text()
    finally:
        door.close()


def test_few_descriptors_make_fewer_connections_and_no_refusal(tmp_path: Path) -> None:
    door = Door(tmp_path)
    try:
        door.descriptors = 1024
        assert door.check(map_of()) == ""
        door.start(map_of())
    finally:
        door.close()
