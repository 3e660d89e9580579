"""The encrypted door of balancers: shared, kept over deaths and reloads, opened and closed live."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from front_door import Door, Load, free_port, front_door
from haproxy import needs_haproxy
from keeping import until

from tenfold.engines.haproxy.tls import self_signed_argv
from tenfold.serve.balancer.encrypted import ENCRYPTED_FD
from tenfold.topology.map import BalancerMap, TlsMap

pytestmark = needs_haproxy


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with front_door(tmp_path) as made:
        yield made


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return make_certificate(tmp_path)


def make_certificate(folder: Path) -> Path:
    """A PEM file with a certificate and its key; made again, it is another one."""
    parts = folder / "certificate.part", folder / "key.part"
    subprocess.run(self_signed_argv(*map(str, parts)), check=True, capture_output=True)
    pem = folder / "own.pem"
    fresh = folder / "fresh.pem"
    fresh.write_text("".join(part.read_text() for part in parts))
    fresh.chmod(0o600)
    return fresh.replace(pem)


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


def with_tls(door: Door, certificate: Path, port: int = 0) -> Any:
    tls = TlsMap(port or free_port(), str(certificate), redirect=False)
    return msgspec.structs.replace(door.map.public, tls=tls)


def test_two_balancers_share_the_encrypted_socket_over_deaths_and_reloads(door: Door, certificate: Path) -> None:
    door.start("web-1", "web-2", balancers=2, public=with_tls(door, certificate))
    port, trust = door.map.public.tls.port, trusting(certificate)
    status, body = door.ask("/head", port, tls=trust)
    assert status == 200
    assert "x-forwarded-proto: https" in body
    pids = {node: door.haproxy(node) for node in ("balancer-1", "balancer-2")}
    assert len({os.stat(f"/proc/{pid}/fd/{ENCRYPTED_FD}").st_ino for pid in pids.values()}) == 1, "one socket"
    with Load(port, tls=trust) as load:
        load.more(200)
        for node, haproxy in pids.items():
            pid = door.house.fact(node)["pid"]
            os.kill(pid, signal.SIGKILL)
            door.ready(node, other_than=pid)
            assert door.haproxy(node) == haproxy
        load.more(200)
        answer = door.publish(balancer=BalancerMap(header_timeout_s=11.0))
        assert answer["acked"] == ["balancer-1", "balancer-2"], answer
        load.more(200)
    assert not load.failures
    assert door.status("balancer-1")["reloads"] == door.status("balancer-2")["reloads"] == 1
    inodes = {os.stat(f"/proc/{door.haproxy(node)}/fd/{ENCRYPTED_FD}").st_ino for node in pids}
    assert len(inodes) == 1, "still one socket"


def test_encrypted_connections_wait_while_haproxy_is_started_again(door: Door, certificate: Path) -> None:
    door.start("web-1", public=with_tls(door, certificate))
    before = door.haproxy()
    os.kill(before, signal.SIGKILL)
    with socket.create_connection(("127.0.0.1", door.map.public.tls.port), timeout=5):
        door.haproxy(other_than=before)
    assert door.ask("/", door.map.public.tls.port, tls=trusting(certificate))[0] == 200


def test_it_is_opened_moved_and_closed_live_and_plain_requests_do_not_notice(door: Door, certificate: Path) -> None:
    door.start("web-1")
    trust = trusting(certificate)
    with Load(door.house.port) as load:
        load.more(100)
        for _ in range(2):
            assert door.publish(public=with_tls(door, certificate))["acked"] == ["balancer-1"]
            port = door.map.public.tls.port
            assert door.ask("/", port, tls=trust)[0] == 200
            assert door.status()["tls"] == port
        assert door.publish(public=msgspec.structs.replace(door.map.public, tls=None))["acked"] == ["balancer-1"]
        load.more(100)

        def refused() -> bool:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except ConnectionRefusedError:
                return True
            return False

        until(refused, "nobody listens on the encrypted port any more")
    assert not load.failures


def test_a_port_that_is_taken_is_named_and_what_was_there_serves_on(door: Door, certificate: Path) -> None:
    door.start("web-1")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        answer = door.publish(public=with_tls(door, certificate, other.getsockname()[1]))
    assert f"Port {door.map.public.tls.port} of 127.0.0.1 is taken" in answer["missing"]["balancer-1"]
    assert door.who() == "web-1"
    # The port is free now, and it tries again by itself.
    until(lambda: door.status()["ready"], "the map is applied")
    assert door.ask("/", door.map.public.tls.port, tls=trusting(certificate))[0] == 200


def test_a_certificate_that_was_renewed_is_served_without_a_word(door: Door, certificate: Path, tmp_path: Path) -> None:
    door.start("web-1", public=with_tls(door, certificate))
    port, old = door.map.public.tls.port, trusting(certificate)
    assert door.ask("/", port, tls=old)[0] == 200
    new = trusting(make_certificate(tmp_path))
    until(lambda: door.status()["reloads"], "it was reloaded")
    assert door.ask("/", port, tls=new)[0] == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        door.ask("/", port, tls=old)


def test_a_certificate_that_is_broken_changes_nothing(door: Door, certificate: Path) -> None:
    door.start("web-1", public=with_tls(door, certificate))
    pid, trust = door.haproxy(), trusting(certificate)
    certificate.write_text("nothing of use")
    until(lambda: "HAProxy refuses" in door.status()["reason"], "it says so")
    assert door.status()["haproxy_pid"] == pid
    assert door.ask("/", door.map.public.tls.port, tls=trust)[0] == 200
