"""`climb` to the load balancer on a machine without HAProxy: a sentence, an offer where one can be made, no change."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import COMMAND, Deployed
from haproxy import PROGRAM
from tier import Clients, port_of, tier

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="not run: needs root and unshare"),
]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    """A deployment whose processes see no HAProxy: something that is no program lies over it, for them alone."""
    hide = "true" if PROGRAM is None else f"mount --bind /dev/null {PROGRAM}"
    words = f'{hide} && exec "$0" "$@"'
    monkeypatch.setattr("deployed.COMMAND", ("unshare", "--mount", "sh", "-c", words, *COMMAND))
    with tier(tmp_path / "svc") as made:
        yield made


def test_nothing_has_changed_when_haproxy_is_missing(small: Deployed) -> None:
    before = (small.state / "map.json").read_bytes(), sorted(small.processes())
    with Clients(port_of(small)) as clients:
        for words in (("plan", "climb", "load-balancer"), ("climb", "--only", "load-balancer")):
            said = small.tenfold(*words)  # nobody is there to ask, so nothing is installed
            assert said.code == 1
            assert "Error: HAProxy is not installed." in said.err
            assert "apt-get install haproxy" in said.err
        answer = small.tenfold("climb", "--only", "load-balancer", "--json")
        assert (answer.code, "HAProxy is not installed." in answer.err) == (1, True)
    assert clients.failed == []
    assert ((small.state / "map.json").read_bytes(), sorted(small.processes())) == before
    assert small.tenfold("moves", "--json").facts()["moves"] == []
    assert small.tenfold("plan", "--json").facts()["empty"] is True
    (finding,) = [found for found in small.tenfold("doctor", "--json").facts() if found["name"] == "haproxy"]
    assert finding["verdict"] == "later"
