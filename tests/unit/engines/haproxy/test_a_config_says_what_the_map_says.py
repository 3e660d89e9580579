"""The text of the config; what HAProxy makes of it is shown in tests/cluster."""

from __future__ import annotations

import json
import re
import shlex

import msgspec
import pytest
from haproxy import map_of

from tenfold.engines.haproxy.basis import CONNECTIONS
from tenfold.engines.haproxy.pages import BUSY, PAGES, body
from tenfold.engines.haproxy.quoting import quoted
from tenfold.engines.haproxy.render import Identity, render
from tenfold.engines.haproxy.servers import is_fixed, wanted_servers
from tenfold.serve.problem import Problem
from tenfold.topology.map import BalancerMap, Map, NodeMap, PublicMap, RouteMap, TlsMap


def config(current: Map, **more: object) -> str:
    values: dict[str, object] = {"listen_fd": 7, "admin": "admin.sock", "secret": "5ec4e7", **more}
    return render(current, "balancer-1", **values)  # type: ignore[arg-type]


def section(text: str, title: str) -> list[str]:
    """The lines of one section."""
    (found,) = re.findall(rf"^{re.escape(title)}\n((?:    .*\n)*)", text, re.MULTILINE)
    return [line.strip() for line in found.splitlines()]


def test_only_nodes_with_an_address_and_traffic_are_servers() -> None:
    current = map_of(
        (
            NodeMap("web-10", "web", address="127.0.0.1:10"),
            NodeMap("web-2", "web", address="127.0.0.1:2", traffic="off"),
            NodeMap("web-1", "web", address="127.0.0.1:1"),
            NodeMap("web-3", "web"),
            NodeMap("balancer-1", "balancer", address="127.0.0.1:9"),
        ),
        balancer=BalancerMap(weights=(5, 6, 0)),
    )
    wanted = [(one.name, one.address, one.weight) for one in wanted_servers(current)]
    assert wanted == [("web-1", "127.0.0.1:1", 5), ("web-10", "127.0.0.1:10", 1)]
    text = config(current)
    for backend in ("backend web", "backend hold"):
        servers = [line.split()[1:5] for line in section(text, backend) if line.startswith("server web-")]
        assert servers == [["web-1", "127.0.0.1:1", "weight", "5"], ["web-10", "127.0.0.1:10", "weight", "1"]]


def test_an_ejected_server_stays_and_gets_nothing_new() -> None:
    current = map_of((NodeMap("web-1", "web", address="127.0.0.1:1"), NodeMap("web-2", "web", address="127.0.0.1:2")))
    assert [one.standing for one in wanted_servers(current, frozenset({"web-2"}))] == ["ready", "drain"]


def test_the_secret_goes_to_our_web_servers_and_to_nobody_else() -> None:
    text = config(map_of(routes=(RouteMap("", "/api", ("127.0.0.1:1",), False, "/readyz"),)))
    titles = re.findall(r"^(\w+ ?\S*)$", text, re.MULTILINE)
    with_secret = {title for title in titles if any("5ec4e7" in line for line in section(text, title))}
    assert with_secret == {"frontend again", "backend web"}


def test_each_life_has_a_name_of_its_own_that_nobody_can_guess() -> None:
    def name(**more: object) -> str:
        return next(line for line in config(map_of(), **more).splitlines() if "bind abns@" in line)

    assert len({name(), name(generation=2), name(secret="other")}) == 3
    assert name() == name(admin="other.sock"), "pure: the same for the same"


def test_what_it_runs_as_and_with_how_much() -> None:
    lines = section(config(map_of(), identity=Identity("haproxy", "haproxy"), threads=3, descriptors=4096), "global")
    assert {"user 'haproxy'", "group 'haproxy'", "nbthread 3", "maxconn 1798"} <= set(lines)
    plain = section(config(map_of(), descriptors=10**9), "global")
    assert f"maxconn {CONNECTIONS}" in plain
    assert not any(line.startswith(("user", "group", "nbthread")) for line in plain)


@pytest.mark.parametrize(
    ("strategy", "line"),
    [
        ("round-robin", "balance roundrobin"),
        ("least-connections", "balance leastconn"),
        ("client-address", "balance source"),
    ],
)
def test_how_requests_are_shared_out(strategy: str, line: str) -> None:
    current = map_of(balancer=msgspec.convert({"strategy": strategy}, BalancerMap))
    assert line in section(config(current), "backend web")


def test_a_request_that_is_held_by_a_web_server_is_answered_by_it() -> None:
    def server_timeout(hold_s: float) -> int:
        (line,) = [line for line in section(config(map_of(hold_s=hold_s)), "defaults") if "timeout server" in line]
        return int(line.split()[-1].removesuffix("ms"))

    assert server_timeout(25.0) == 60_000
    assert server_timeout(300.0) == 310_000


def test_encryption_needs_a_certificate_and_a_listener() -> None:
    public = PublicMap("127.0.0.1", 8000, 1 << 20, "balancer", TlsMap(8443, "/a b/it's.pem", True))
    lines = section(config(map_of(public=public), tls_fd=9), "frontend public")
    assert r"bind fd@9 ssl crt '/a b/it'\''s.pem' alpn h2,http/1.1" in lines
    assert any(line.startswith("http-request redirect code 308") for line in lines)
    assert "ssl" not in "".join(section(config(map_of(public=public)), "frontend public")).replace("ssl_fc", "")
    with pytest.raises(AssertionError, match="certificate"):
        config(map_of(), tls_fd=9)


@pytest.mark.parametrize("secret", ["", "a b", "a\nb", "a%b", "a'b"])
def test_a_secret_that_could_be_read_otherwise_is_refused(secret: str) -> None:
    with pytest.raises(AssertionError):
        config(map_of(), secret=secret)


@pytest.mark.parametrize("text", ["plain", "a b", "it's", '"', "$HOME", "#", "\\", "ä", ""])
def test_any_word_is_one_word(text: str) -> None:
    assert shlex.split(quoted(text)) == [text]


@pytest.mark.parametrize("text", ["a\nb", "a\0b", "\x7f"])
def test_a_control_character_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="control"):
        quoted(text)


@pytest.mark.parametrize("repeated", [True, False])
def test_pages_are_problem_documents_in_the_form_of_the_services_own(repeated: bool) -> None:
    for page in (*PAGES, BUSY):
        text = re.sub(r"%\[var\([\w.]+\),iif\(([^,]*),([^)]*)\)\]", r"\1" if repeated else r"\2", body(page, "id"))
        problem = msgspec.json.decode(text, type=Problem)
        assert set(json.loads(text)) == set(Problem.__struct_fields__) - {"hint"}
        unknown = repeated and page.status == 503 and page is not BUSY
        assert (problem.status, problem.code) == ((502, "TF-UNKNOWN") if unknown else (page.status, page.code))
        assert problem.type == f"urn:tenfold:{problem.code}"
        assert problem.instance == "id"


def test_a_name_is_no_address_that_the_runtime_api_takes() -> None:
    assert is_fixed("127.0.0.1:1")
    assert is_fixed("[::1]:1")
    assert not is_fixed("localhost:1")
