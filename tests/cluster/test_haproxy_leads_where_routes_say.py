"""Routes to other services, the encrypted door, and the way from the plain one to it."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from haproxy import Door, Web, listener, map_of, needs_haproxy

from tenfold.engines.haproxy.tls import self_signed_argv
from tenfold.topology.map import Map, PublicMap, RouteMap, TlsMap

pytestmark = needs_haproxy


@pytest.fixture
def webs(tmp_path: Path) -> Iterator[list[Web]]:
    made = [Web(name, tmp_path) for name in ("web-1", "other-1", "other-2")]
    for web in made:
        web.start()
    yield made
    for web in made:
        web.kill()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    made = Door(tmp_path)
    made.tls = listener()
    yield made
    made.close()


def ask(door: Door, path: str, host: str = "x.example", headers: dict[str, str] | None = None) -> dict[str, object]:
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=20)
    try:
        connection.request("GET", path, headers={"Host": host, **(headers or {})})
        answer = connection.getresponse()
        told = json.loads(answer.read())
        return told if answer.status == 200 else {"status": answer.status, **told}
    finally:
        connection.close()


def test_the_first_route_that_fits_wins_and_all_else_goes_to_the_service(door: Door, webs: list[Web]) -> None:
    web, one, two = webs
    routes = (
        RouteMap("api.example", "/", (one.node.address,), False, "/readyz"),
        RouteMap("", "/blog", (two.node.address,), True, "/readyz"),
        RouteMap("", "/blo.g", (one.node.address,), False, "/readyz"),
        RouteMap("", "/shop", (one.node.address, two.node.address), True, "/readyz"),
    )
    door.start(map_of((web.node,), routes=routes))
    for path, host, name, target in (
        ("/echo", "x.example", "web-1", "/echo"),
        ("/echo?a=1", "api.example", "other-1", "/echo?a=1"),
        ("/echo", "API.example:8000", "other-1", "/echo"),
        ("/blog/echo/a%20b?q=%2F", "x.example", "other-2", "/echo/a%20b?q=%2F"),
        ("/blog", "x.example", "other-2", "/"),
        ("/blog/", "x.example", "other-2", "/"),
        ("/blog?x=1", "x.example", "other-2", "/?x=1"),
        ("/blogs", "x.example", "web-1", "/blogs"),
        ("/bloxg/a", "x.example", "web-1", "/bloxg/a"),
        ("/blo.g/a", "x.example", "other-1", "/blo.g/a"),
        ("/blog", "api.example", "other-1", "/blog"),
    ):
        told = ask(door, path, host)
        assert (told["name"], told["target"]) == (name, target), path
    assert {str(ask(door, "/shop/echo")["name"]) for _ in range(8)} == {"other-1", "other-2"}


def test_another_service_never_sees_our_secret(door: Door, webs: list[Web]) -> None:
    web, one, _ = webs
    one.mark("checks")
    door.start(map_of((web.node,), routes=(RouteMap("", "/api", (one.node.address,), False, "/readyz"),)))
    told = ask(door, "/api/echo", headers={"x-tenfold-door": "guess"})
    assert told["name"] == "other-1"
    noted = json.dumps(one.notes())
    assert "x-forwarded-for" in noted
    assert "tenfold-door" not in noted


def test_a_service_that_is_away_fails_alone(door: Door, webs: list[Web]) -> None:
    web, one, _ = webs
    routes = (
        RouteMap("", "/api", (one.node.address,), False, "/readyz"),
        RouteMap("", "/gone", ("no-such-host.invalid:80",), False, "/readyz"),
    )
    one.kill()
    door.start(map_of((web.node,), routes=routes))
    for path in ("/api/echo", "/gone/echo"):
        told = ask(door, path)
        assert (told["status"], told["code"]) == (503, "TF-UNAVAILABLE")
    assert ask(door, "/echo")["name"] == "web-1"


def encrypted(folder: Path, *, redirect: bool, port: int) -> PublicMap:
    made, key, both = folder / "made.pem", folder / "key.pem", folder / "both.pem"
    subprocess.run(self_signed_argv(str(made), str(key)), check=True, capture_output=True)
    both.write_bytes(made.read_bytes() + key.read_bytes())
    return PublicMap("127.0.0.1", 8000, 1 << 20, "balancer", TlsMap(port, str(both), redirect))


def tls_map(door: Door, webs: list[Web], folder: Path, *, redirect: bool) -> Map:
    assert door.tls is not None
    public = encrypted(folder, redirect=redirect, port=door.tls.getsockname()[1])
    return map_of((webs[0].node,), public=public)


def test_the_encrypted_door_says_so_to_the_service(door: Door, webs: list[Web], tmp_path: Path) -> None:
    current = tls_map(door, webs, tmp_path, redirect=False)
    assert door.tls is not None
    assert current.public.tls is not None
    door.start(current)
    trusting = ssl.create_default_context(cafile=current.public.tls.certificate)
    trusting.set_alpn_protocols(["http/1.1"])
    port = door.tls.getsockname()[1]
    connection = http.client.HTTPSConnection("localhost", port, timeout=20, context=trusting)
    connection.request("GET", "/echo", headers={"X-Forwarded-Proto": "http"})
    headers = dict(json.loads(connection.getresponse().read())["headers"])
    assert (headers["x-forwarded-proto"], headers["x-forwarded-port"]) == ("https", str(port))
    connection.close()
    assert dict(ask(door, "/echo")["headers"])["x-forwarded-proto"] == "http"  # type: ignore[call-overload]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_encryption_is_refused(door: Door, webs: list[Web], tmp_path: Path, version: ssl.TLSVersion) -> None:
    door.start(tls_map(door, webs, tmp_path, redirect=False))
    assert door.tls is not None
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = version
    connection = http.client.HTTPSConnection("localhost", door.tls.getsockname()[1], timeout=20, context=old)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connection.request("GET", "/echo")
    connection.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="not run: there is no curl, which speaks HTTP/2")
def test_the_encrypted_door_speaks_http_2(door: Door, webs: list[Web], tmp_path: Path) -> None:
    current = tls_map(door, webs, tmp_path, redirect=False)
    door.start(current)
    assert door.tls is not None
    assert current.public.tls is not None
    address = f"https://localhost:{door.tls.getsockname()[1]}/echo"
    command = ["curl", "-s", "--http2", "--cacert", current.public.tls.certificate, "-w", "\n%{http_version}", address]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert told[-1] == "2"
    assert json.loads(told[0])["name"] == "web-1"


def test_the_plain_door_leads_to_the_encrypted_one(door: Door, webs: list[Web], tmp_path: Path) -> None:
    door.start(tls_map(door, webs, tmp_path, redirect=True))
    assert door.tls is not None
    port = door.tls.getsockname()[1]
    for host, there in (("a.example:8000", "a.example"), ("a.example", "a.example"), ("[::1]:8000", "[::1]")):
        connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=20)
        connection.request("POST", "/echo/a%20b?q=1", headers={"Host": host})
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, answer.getheader("location")) == (308, f"https://{there}:{port}/echo/a%20b?q=1")
        connection.close()
