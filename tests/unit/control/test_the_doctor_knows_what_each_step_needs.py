"""`tenfold doctor`: what is missing is a problem only where the deployment needs it, and a certificate has an end."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from tenfold.control import doctor
from tenfold.control.doctor import Deployed, Finding, examine, lifetime
from tenfold.engines.haproxy.tls import self_signed_argv
from tenfold.topology.map import TlsMap
from tenfold.topology.spec import parse_spec

SPEC = parse_spec('[service]\nname = "shop"\napp = "shop.app:app"\n[public]\nport = 0\n')
DAY_US = 86_400_000_000


class Fixed:
    """A clock that stands."""

    def __init__(self, wall_us: int) -> None:
        self._wall_us = wall_us

    def wall_us(self) -> int:
        return self._wall_us

    def monotonic(self) -> float:
        return 0.0


def found(folder: Path, has: Deployed, name: str, wall_us: int = 1) -> Finding | None:
    findings = examine(folder, SPEC, has, Fixed(wall_us))
    return next((finding for finding in findings if finding.name == name), None)


@pytest.mark.parametrize(
    ("name", "has", "step"),
    [("haproxy", Deployed(haproxy=True), "step 3"), ("postgres", Deployed(postgres=True), "step 2")],
)
def test_a_program_that_is_missing_is_a_problem_for_who_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, has: Deployed, step: str
) -> None:
    monkeypatch.setattr(getattr(doctor, name), "installed", lambda _ask: [])
    needed, not_yet = found(tmp_path, has, name), found(tmp_path, Deployed(), name)
    assert (needed.verdict, not_yet.verdict) == ("problem", "later")
    assert "apt-get install" in needed.advice
    assert step in not_yet.found


def test_a_deployment_without_encryption_is_asked_for_no_certificate(tmp_path: Path) -> None:
    assert found(tmp_path, Deployed(), "certificate") is None
    assert found(tmp_path, Deployed(), "tls port") is None


def test_the_certificate_is_looked_at_and_so_is_its_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        tls = TlsMap(taken.getsockname()[1], str(tmp_path / "site.pem"), redirect=False)
        has = Deployed(tls=tls)
        assert found(tmp_path, has, "tls port").verdict == "problem"
        assert found(tmp_path, Deployed(tls=tls, runs=True), "tls port") is None, "it is taken by the service itself"
    assert found(tmp_path, has, "certificate").verdict == "problem"
    assert "it is not there" in found(tmp_path, has, "certificate").found
    own = Deployed(tls=TlsMap(8443, str(tmp_path / "self-signed.pem"), redirect=False))
    assert found(tmp_path, own, "certificate").verdict == "later"


def test_a_real_certificate_is_good_for_so_many_days(tmp_path: Path) -> None:
    one, key, both = tmp_path / "one", tmp_path / "key", tmp_path / "site.pem"
    subprocess.run(self_signed_argv(str(one), str(key)), check=True, capture_output=True)
    both.write_bytes(one.read_bytes() + key.read_bytes())
    has = Deployed(tls=TlsMap(8443, str(both), redirect=False), runs=True)
    now_us = int(one.stat().st_mtime * 1e6)
    assert found(tmp_path, has, "certificate", now_us).verdict == "fine"
    assert "is good for 397 days" in found(tmp_path, has, "certificate", now_us).found
    assert found(tmp_path, has, "certificate", now_us + 390 * DAY_US).verdict == "warning"
    assert found(tmp_path, has, "certificate", now_us + 398 * DAY_US).verdict == "problem"


@pytest.mark.parametrize(
    ("days", "verdict"),
    [
        (None, "fine"),
        (397.0, "fine"),
        (21.0, "fine"),
        (20.9, "warning"),
        (0.1, "warning"),
        (0.0, "problem"),
        (-3.0, "problem"),
    ],
)
def test_how_long_a_certificate_is_good(days: float | None, verdict: str) -> None:
    assert lifetime(Path("/site.pem"), days).verdict == verdict
