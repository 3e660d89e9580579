"""What `climb` offers when a program is missing: only what can be kept; and no service is left that nobody wants."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenfold.control import installing
from tenfold.control.installing import Offer, install, install_offer
from tenfold.core.errors import TenfoldError

ROOT, USER = 0, 1000


class Machine:
    """Which programs there are, who we are, whether systemd runs; and what was run."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.ran: list[tuple[str, ...]] = []
        self.codes: dict[str, int] = {}
        patch.setattr(installing, "run_attached", self._run)
        self.be(ROOT, "apt-get")

    def be(self, uid: int, *programs: str, systemd: bool = False) -> None:
        self._patch.setattr(installing.shutil, "which", lambda name: f"/bin/{name}" if name in programs else None)
        self._patch.setattr(installing.os, "geteuid", lambda: uid)
        self._patch.setattr(installing, "SYSTEMD", Path("/") if systemd else Path("/no/such/folder"))

    def _run(self, words: tuple[str, ...]) -> int:
        self.ran.append(words)
        return self.codes.get(words[0], 0)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_an_offer_is_made_where_it_can_be_kept(machine: Machine) -> None:
    machine.be(USER, "apt-get", "sudo")
    offer = install_offer("TF-PG-MISSING")
    assert offer is not None
    assert "PostgreSQL is not installed. Install it now (sudo apt-get install postgresql)?" in offer.question
    assert [command[0] for command in offer.commands] == ["sudo", "sudo"]
    assert offer.afterwards == ()
    machine.be(USER, "apt-get")
    assert install_offer("TF-PG-MISSING") is None, "neither root nor sudo"
    machine.be(ROOT)
    assert install_offer("TF-PG-MISSING") is None, "another system"
    machine.be(ROOT, "apt-get")
    assert install_offer("TF-PG-MISSING").commands[0][0] == "env"
    assert install_offer("TF-PG-VERSION") is None, "nothing is missing"


def test_the_service_that_the_package_of_haproxy_starts_is_ended_and_this_is_said(machine: Machine) -> None:
    machine.be(USER, "apt-get", "sudo", systemd=True)
    offer = install_offer("TF-HAPROXY-MISSING")
    assert "stops and disables it" in offer.question
    assert offer.question.endswith("HAProxy is not installed. Install it now (sudo apt-get install haproxy)?")
    assert offer.afterwards == (("sudo", "systemctl", "disable", "--now", "haproxy"),)
    machine.be(ROOT, "apt-get", "service", "update-rc.d")
    offer = install_offer("TF-HAPROXY-MISSING")
    assert offer.afterwards == (("service", "haproxy", "stop"), ("update-rc.d", "haproxy", "disable"))
    machine.be(ROOT, "apt-get")
    assert install_offer("TF-HAPROXY-MISSING").afterwards == ()


@pytest.mark.parametrize("missing", ["TF-PG-MISSING", "TF-HAPROXY-MISSING"])
def test_an_install_that_fails_is_told_and_one_that_works_is_looked_at(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    there = ["installed"]
    monkeypatch.setattr(installing.postgres, "installed", lambda _ask: there)
    monkeypatch.setattr(installing.haproxy, "installed", lambda _ask: there)
    looked: list[object] = []
    monkeypatch.setattr(installing.postgres, "choose", looked.append)
    monkeypatch.setattr(installing.haproxy, "choose", looked.append)
    machine.codes = {"stop": 5}
    install(Offer(missing, "?", (("one",), ("two",)), (("stop",),)))
    assert machine.ran == [("one",), ("two",), ("stop",)], "a service that does not stop fails nothing"
    assert looked == [there]
    machine.codes = {"one": 100}
    failed = missing.replace("MISSING", "INSTALL")
    with pytest.raises(TenfoldError, match=f"{failed}: `one` failed with exit code 100"):
        install(Offer(missing, "?", (("one",), ("two",))))
