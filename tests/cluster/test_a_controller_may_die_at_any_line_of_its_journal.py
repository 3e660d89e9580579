"""Every interruption of a start, and of what the controller does after a move: what follows is the same deployment."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from deployed import Deployed, deployed

from tenfold.control.deployment import Deployment, Running, controller_launch
from tenfold.control.place import Place
from tenfold.core.errors import TenfoldError
from tenfold.hosts.client import KeeperStart, start_keeper
from tenfold.hosts.logs import Rotation

DYING = Path(__file__).parents[1] / "support" / "dying_controller.py"


class Doomed:
    """A deployment whose controller dies once, at the n-th line after `armed`."""

    def __init__(self, small: Deployed, at: int, when: str) -> None:
        self.small = small
        self.mark, self.armed = small.root / "died", small.root / "armed"
        self.place = Place(small.root)
        self.env = {"DIE_AT": str(at), "DIE_WHEN": when, "DIE_MARK": str(self.mark), "DIE_ARMED": str(self.armed)}

    def up(self) -> Running:
        if not Deployment(self.place).keeper.runs():
            self.place.prepare()
            launch = controller_launch(self.place)
            argv = (sys.executable, str(DYING), *launch.argv[launch.argv.index("--root") :])
            first = replace(launch, argv=argv, env=self.env)
            start_keeper(KeeperStart(self.place.state, "127.0.0.1", 0, Rotation(), (first,)))
        return Deployment(self.place).bring_up(60.0)

    def check(self, app: str) -> None:
        """One web process, ready, with the map of that app; the journal has nothing open."""
        assert self.mark.exists(), "the controller did not die, so nothing was tested"
        facts = self.small.status()
        assert facts["state"] == "running"
        assert [node["ready"] for node in facts["nodes"]] == [True]
        assert json.loads((self.place.map_file).read_text())["app"] == app
        assert facts["nodes"][0]["epoch"] == facts["epoch"]
        assert len(self.small.processes()) == 3
        with urllib.request.urlopen(facts["address"], timeout=10) as answer:
            assert answer.read().split()[0] == str(facts["nodes"][0]["pid"]).encode()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Deployed]:
    with deployed(tmp_path / "svc") as made:
        (made.root / "other_app.py").write_text("from small_app import *\n")
        yield made


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_of_a_start(small: Deployed, at: int, when: str) -> None:
    doomed = Doomed(small, at, when)
    doomed.armed.touch()
    doomed.up()
    doomed.check("small_app:app")


@pytest.mark.parametrize("when", ["before", "after"])
def test_of_a_replacement(small: Deployed, when: str) -> None:
    doomed = Doomed(small, 1, when)
    doomed.up()
    doomed.armed.touch()
    small.spec(app="other_app:app")
    try:
        doomed.up()
    except TenfoldError:
        assert doomed.mark.exists()
    doomed.up()
    doomed.check("other_app:app")


@pytest.mark.parametrize("when", ["before", "after"])
def test_of_a_replacement_that_is_undone(small: Deployed, when: str) -> None:
    doomed = Doomed(small, 1, when)
    doomed.up()
    doomed.armed.touch()
    small.spec(app="nowhere:app")
    with pytest.raises(TenfoldError):
        doomed.up()
    small.spec()
    doomed.up()
    doomed.check("small_app:app")
