"""Routes that are never reached or lead back, ports used twice, TLS without a certificate; what waits for step 3."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.core.errors import SpecError
from tenfold.topology.door import ROUTES_MAX, RouteSpec, TlsSpec, faults_of
from tenfold.topology.map import Map, NodeMap, RouteMap, map_of
from tenfold.topology.spec import Spec, parse_spec
from tenfold.topology.targets import waiting

SERVICE = '[service]\nname = "shop"\napp = "shop.app:app"\n'


def route(where: str, to: str = "x:1") -> str:
    """A route as it is written: "host/path"."""
    host, slash, path = where.partition("/")
    lines = [f'host = "{host}"'] * bool(host) + [f'path = "/{path}"'] * bool(slash) + [f'to = "{to}"']
    return "[[route]]\n" + "\n".join(lines) + "\n"


def refused(text: str) -> tuple[str, str]:
    with pytest.raises(SpecError) as caught:
        parse_spec(SERVICE + text)
    return caught.value.message.removeprefix("tenfold.toml: "), caught.value.hint


@pytest.mark.parametrize(
    ("first", "second"),
    [("/a", "/a/b"), ("/a", "h/a"), ("/a", "h/a/b/c"), ("h", "h/a"), ("h/a", "H/a/b"), ("/a/", "/a/b")],
)
def test_a_route_that_an_earlier_one_hides_is_refused_and_the_other_way_round_is_right(first: str, second: str) -> None:
    message, hint = refused(route("other") + route(first) + route(second))
    shown = [each.lower().rstrip("/") if "/" in each else f"{each}/" for each in (first, second)]
    assert message == (f"route 3: nothing reaches it, because route 2 ({shown[0]}) takes all of {shown[1]} before it.")
    assert hint == "Put route 3 before route 2, or remove it."
    spec = parse_spec(SERVICE + route("other") + route(second) + route(first))
    assert len(spec.routes) == 3


@pytest.mark.parametrize(("first", "second"), [("/a", "/a/"), ("h", "H/"), ("h/a", "h/a")])
def test_a_route_that_is_there_twice_is_refused(first: str, second: str) -> None:
    message, hint = refused(route(first, "x:1") + route(second, "y:1"))
    assert message.startswith("route 2: ")
    assert message.endswith(" has been given to route 1 already, and the first that fits wins.")
    assert "Remove one of them" in hint


@pytest.mark.parametrize(
    ("first", "second"), [("/a", "/ab"), ("/a/b", "/a"), ("h/a", "/a"), ("h/a", "i/a"), ("/a", "h")]
)
def test_routes_that_only_look_alike_are_taken(first: str, second: str) -> None:
    assert len(parse_spec(SERVICE + route(first) + route(second)).routes) == 2


def test_a_route_that_takes_everything_leaves_nothing_for_the_service() -> None:
    for text in ('[[route]]\nto = "x:1"\n', route("/"), route("/a") + route("/")):
        message, hint = refused(text)
        assert message.endswith("it takes every request, so that none would reach this service.")
        assert hint == "Give it a host or a path."


HOSTS, PATHS = ["", "g", "h"], ["/", "/a", "/a/b", "/a/c", "/ab", "/b"]
REQUESTS = list(itertools.product(["g", "h", "elsewhere"], ["/", "/a", "/a/x", "/a/b", "/a/b/x", "/a/c", "/ab", "/b"]))


def reached(routes: list[RouteSpec], host: str, path: str) -> int | None:
    """Which route a request goes to, by the plainest reading of the rule: the first that fits, by whole segments."""
    for at, each in enumerate(routes):
        segments = [segment for segment in each.path.split("/") if segment]
        begins = [segment for segment in path.split("/") if segment][: len(segments)]
        if each.host in ("", host) and begins == segments:
            return at
    return None


@given(
    st.lists(
        st.builds(RouteSpec, host=st.sampled_from(HOSTS), path=st.sampled_from(PATHS), to=st.just(("x:1",))), max_size=6
    )
)
def test_exactly_the_routes_that_no_request_reaches_are_faults(routes: list[RouteSpec]) -> None:
    unreached = set(range(len(routes))) - {reached(routes, *request) for request in REQUESTS}
    all_taken = {at for at, each in enumerate(routes) if (each.host, each.path) == ("", "/")}
    faults = [sentence for sentence, _ in faults_of(routes, TlsSpec(), ("127.0.0.1", 8000))]
    assert {int(sentence.split(":")[0].split()[1]) - 1 for sentence in faults} == unreached | all_taken


@pytest.mark.parametrize(
    ("host", "address", "back"),
    [
        ("127.0.0.1", "127.0.0.1:8000", True),
        ("127.0.0.1", "localhost:8000", True),
        ("localhost", "127.0.0.1:8000", True),
        ("localhost", "LOCALHOST:8000", True),
        ("LocalHost", "localhost:8000", True),
        ("localhost", "[::1]:8000", True),
        ("::1", "[0:0::1]:8000", True),
        ("127.0.0.1", "0.0.0.0:8000", True),
        ("0.0.0.0", "127.0.0.1:8000", True),
        ("0.0.0.0", "127.9.9.9:8000", True),
        ("0.0.0.0", "localhost:8000", True),
        ("::", "[::1]:8000", True),
        ("::", "0.0.0.0:8000", True),
        ("www.example.com", "www.Example.com:8000", True),
        ("10.0.0.1", "10.0.0.1:8000", True),
        ("127.0.0.1", "127.0.0.1:8001", False),
        ("127.0.0.1", "127.0.0.2:8000", False),
        ("10.0.0.1", "localhost:8000", False),
        ("0.0.0.0", "10.0.0.2:8000", False),
        ("www.example.com", "photos.example.com:8000", False),
    ],
)
def test_a_route_to_the_own_public_address_is_refused(host: str, address: str, back: bool) -> None:
    text = f'[public]\nhost = "{host}"\n' + route("/a", address)
    if back:
        message, hint = refused(text)
        assert message.startswith("route 1: ")
        assert message.endswith(":8000 is the public address of this service, so requests would go in circles.")
        assert hint
    else:
        parse_spec(SERVICE + text)


def test_the_encrypted_address_is_an_own_address_too() -> None:
    text = '[tls]\ncertificate = "self-signed"\nport = 9443\n' + route("/a", "127.0.0.1:9443")
    assert "127.0.0.1:9443 is the public address" in refused(text)[0]
    parse_spec(SERVICE + route("/a", "127.0.0.1:8443"))


def test_each_address_of_a_route_is_looked_at() -> None:
    text = '[[route]]\npath = "/a"\nto = ["127.0.0.1:1", "127.0.0.1:8000"]\n'
    assert refused(text)[0].startswith("route 1: 127.0.0.1:8000 is the public address")


def test_tls_without_a_certificate_is_refused() -> None:
    for text in ("[tls]\n", "[tls]\nport = 8444\n", "[tls]\nredirect = true\n"):
        message, hint = refused(text)
        assert message == (
            'tls.certificate: found nothing; allowed: "self-signed", or the path of a PEM file with its key.'
        )
        assert 'certificate = "self-signed"' in hint


@pytest.mark.parametrize(("processes", "pool"), [(1, 2), (8, 16), (64, 128)])
def test_the_connections_go_round_among_the_web_processes(processes: int, pool: int) -> None:
    parse_spec(f"{SERVICE}[web]\nprocesses = {processes}\n[database]\npool = {pool}\n")
    for fewer in {pool - 1, 2} - {1, pool}:
        message, hint = refused(f"[web]\nprocesses = {processes}\n[database]\npool = {fewer}\n")
        assert message == f"database.pool: found {fewer}; allowed with {processes} web processes: at least {pool}."
        assert hint == f"Set pool = {pool} under [database]."


def test_one_port_is_not_plain_and_encrypted() -> None:
    text = '[public]\nport = 8443\n[tls]\ncertificate = "a.pem"\n'
    assert refused(text)[0] == "tls.port: found 8443, which is public.port; allowed: another."
    parse_spec(SERVICE + '[public]\nport = 0\n[tls]\ncertificate = "a.pem"\n')


@pytest.mark.parametrize("value", ["3", '"x"', "[1]", "true", "{to = 1}", '[{to = "x:1"}, 1]'])
def test_routes_are_tables(value: str) -> None:
    with pytest.raises(SpecError, match=r"route: found .*; allowed: tables \[\[route\]\]\.") as caught:
        parse_spec(f"route = {value}\n" + SERVICE)
    assert caught.value.hint


def test_routes_written_in_one_line_are_the_same() -> None:
    assert parse_spec('route = [{path = "/a", to = "x:1"}]\n' + SERVICE) == parse_spec(SERVICE + route("/a"))
    assert parse_spec("route = []\n" + SERVICE) == parse_spec(SERVICE)


def test_routes_are_bounded() -> None:
    text = "".join(route(f"/r{number}") for number in range(ROUTES_MAX + 1))
    assert refused(text)[0] == "route: found 101 tables; allowed: at most 100."
    assert len(parse_spec(SERVICE + text.removesuffix(route(f"/r{ROUTES_MAX}"))).routes) == ROUTES_MAX


def test_a_wrong_key_names_the_route_by_its_number() -> None:
    text = route("/a") + '[[route]]\npath = "/b"\nto = "x:1"\n'
    assert refused(text + "strip = 1\n")[0] == "route 2: strip: found 1; allowed: true or false."
    assert refused(text + "strap = 1\n")[0] == 'unknown key "strap" in [[route]] 2; did you mean "strip"?'
    assert refused('[[route]]\npath = "/b"\n') == (
        'route 1: to: found nothing; allowed: an address such as "127.0.0.1:9000", or a list of at most 16 different '
        "ones.",
        "Add to = ... under [[route]] 1.",
    )


def wanted(text: str, previous: Map | None = None) -> Map:
    spec: Spec = parse_spec(SERVICE + text)
    return map_of(spec, root="/srv", state="/srv/.tenfold", previous=previous)


def balanced(current: Map) -> Map:
    nodes = (*current.nodes, NodeMap("balancer-1", "balancer"))
    public = msgspec.structs.replace(current.public, door="balancer")
    return msgspec.structs.replace(current, public=public, nodes=nodes)


TLS = '[tls]\ncertificate = "self-signed"\nport = 9443\n'


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", ()),
        ("[web]\nprocesses = 1\n", ()),
        ("[web]\nprocesses = 4\n", ("4 web processes wait for step 3 (load balancer); until then there is 1.",)),
        (route("/a"), ("1 route waits for step 3 (load balancer).",)),
        (route("/a") + route("/b"), ("2 routes wait for step 3 (load balancer).",)),
        (TLS, ("TLS on port 9443 waits for step 3 (load balancer).",)),
        (
            f"[web]\nprocesses = 2\n{TLS}{route('/a')}",
            (
                "2 web processes wait for step 3 (load balancer); until then there is 1.",
                "1 route waits for step 3 (load balancer).",
                "TLS on port 9443 waits for step 3 (load balancer).",
            ),
        ),
    ],
)
def test_what_needs_balancers_waits_for_them_and_says_so(text: str, sentences: tuple[str, ...]) -> None:
    assert waiting(wanted(text)) == sentences
    assert waiting(wanted(text, balanced(wanted("")))) == ()


@given(st.data())
def test_every_route_of_the_file_arrives_in_the_map_in_its_order(data: Any) -> None:
    names = data.draw(st.lists(st.sampled_from([f"/r{number}" for number in range(9)]), unique=True, max_size=5))
    found = wanted("".join(route(name) for name in names)).routes
    assert found == tuple(RouteMap("", name, ("x:1",), False, "/readyz") for name in names)
