"""Listeners and ports: every way in which an address cannot be had is a sentence of its own."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tenfold.core.errors import UsageError
from tenfold.hosts import ports
from tenfold.hosts.listener import BACKLOG, PortTaken, open_listener, recover_listener
from tenfold.hosts.ports import FIRST, LAST, Ports, holder_of


def test_the_public_socket_is_tcp_by_name_so_that_servers_switch_nagle_off() -> None:
    with open_listener("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        assert listener.get_inheritable()
    assert BACKLOG == 4096


def test_a_name_that_resolves_is_an_address() -> None:
    with open_listener("localhost", 0) as listener:
        assert listener.getsockname()[0] in ("127.0.0.1", "::1")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.7", "a" * 300, "x..y"])
def test_an_address_that_is_not_ours_is_named(host: str) -> None:
    with pytest.raises(UsageError, match="is not an address of this machine"):
        open_listener(host, 0)


@pytest.mark.parametrize("mine", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_names_this_process(mine: str) -> None:
    with open_listener(mine, 0) as taken:
        port = taken.getsockname()[1]
        assert holder_of(port).startswith(f"pid {os.getpid()} (")
        with pytest.raises(PortTaken, match=f"pid {os.getpid()}"):
            open_listener("127.0.0.1", port)
    assert holder_of(port) == ""


def test_ports_are_below_the_range_of_outgoing_connections_and_free(tmp_path: Path) -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    port = Ports(tmp_path / "ports.json").of("db-1")
    assert FIRST <= port <= LAST < lowest
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_port_is_remembered_on_disk_and_two_names_never_share_one(tmp_path: Path) -> None:
    first = Ports(tmp_path / "ports.json")
    given = [first.of(f"db-{number}") for number in range(50)]
    assert len(set(given)) == 50
    second = Ports(tmp_path / "ports.json")
    assert [second.of(f"db-{number}") for number in range(50)] == given


def test_a_taken_port_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Ports(tmp_path / "ports.json").of("db-1")
    (tmp_path / "ports.json").unlink()
    with socket.create_server(("127.0.0.1", first)):
        assert Ports(tmp_path / "ports.json").of("db-1") != first


def test_when_every_port_is_taken_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _port: False)
    with pytest.raises(Exception, match="No port between"):
        Ports(tmp_path / "ports.json").of("db-1")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": "x"}', "null"])
def test_a_damaged_list_of_ports_is_begun_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / "ports.json").write_text(content)
    assert Ports(tmp_path / "ports.json").of("db-1") >= FIRST


def test_nobody_to_ask_means_no_socket(tmp_path: Path) -> None:
    assert recover_listener([tmp_path / "web-1.sock"]) is None
    assert recover_listener([]) is None


def test_a_port_that_somebody_else_took_meanwhile_is_given_up_when_nobody_of_ours_needs_it(tmp_path: Path) -> None:
    ports = Ports(tmp_path / "ports.json")
    first = ports.of("web-1", free=True)
    assert ports.of("web-1", free=True) == first
    with socket.socket() as other:
        other.bind(("127.0.0.1", first))
        other.listen()
        assert ports.of("web-1") == first, "it may be ours who listens"
        second = ports.of("web-1", free=True)
    assert second != first
    assert Ports(tmp_path / "ports.json").of("web-1", free=True) == second
