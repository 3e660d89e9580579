"""Of several nodes of a role each gets its turn; a fault waits for the node that it hit; both at once is one fault."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.errors import Unavailable
from tenfold.core.randomness import SeededRandomness
from tenfold.prove import faults as module
from tenfold.prove.faults import Faults, NodeFacts, is_balanced, share
from tenfold.prove.schedule import Recipe, schedule

NODES = [NodeFacts(f"web-{number}", "web", number, True) for number in (1, 2, 3)]


def test_each_node_of_a_role_has_its_turn() -> None:
    assert [share(NODES, "one", turn)[0].name for turn in range(4)] == ["web-1", "web-2", "web-3", "web-1"]
    assert [node.name for node in share(NODES, "all", 1)] == ["web-2", "web-3", "web-1"]
    assert len(share(NODES, "minority", 5)) == 1


@pytest.mark.parametrize(
    ("roles", "balanced"),
    [
        (("web",), False),
        (("web", "web"), False),
        (("web", "balancer"), False),
        (("web", "web", "balancer"), True),
        (("web", "web", "web", "balancer", "balancer"), True),
    ],
)
def test_balanced_is_behind_a_balancer_with_somebody_to_go_to(roles: tuple[str, ...], balanced: bool) -> None:
    nodes = [NodeFacts(f"{role}-{number}", role, number + 1, True) for number, role in enumerate(roles)]
    assert is_balanced(nodes) is balanced
    assert not is_balanced([NodeFacts(node.name, node.role, node.pid, False) for node in nodes])


def test_both_at_once_is_one_fault_of_the_schedule() -> None:
    recipes = (Recipe("kill", "haproxy", 2, amount="all"), Recipe("kill", "web", 1))
    planned = schedule(recipes, 60, SeededRandomness(1))
    assert sorted((each.target, each.amount) for each in planned) == [
        ("haproxy", "all"), ("haproxy", "all"), ("web", "one"),
    ]  # fmt: skip
    assert any(str(each).endswith("kill all haproxy") for each in planned)


class Place:
    """Processes that a keeper starts again, each under its name; `late` names one that it does not."""

    def __init__(self, state: Path, late: str = "") -> None:
        self.state = state
        self._late = late
        (state / "run").mkdir()
        self.children = {name: sleeper() for name in ("haproxy-1", "haproxy-2", "web-1", "web-2", "balancer-1")}
        self._lock = threading.Lock()

    def nodes(self) -> list[NodeFacts]:
        with self._lock:  # asked from several threads
            for name, child in self.children.items():
                if child.poll() is not None and name != self._late:
                    self.children[name] = sleeper()
        return [NodeFacts(name, name.split("-")[0], child.pid, True) for name, child in self.children.items()]

    def bring_up(self) -> None:
        pass

    def end(self) -> None:
        for child in self.children.values():
            child.kill()
            child.wait()


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/sleep", "60"])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.end()


def test_two_kills_of_a_role_hit_both_and_say_whom_and_where(place: Place) -> None:
    async def work() -> list[module.Made]:
        faults = Faults(place, SYSTEM_CLOCK)
        return [await faults.make("kill", "haproxy") for _ in range(2)]

    before = {name: child.pid for name, child in place.children.items()}
    made = asyncio.run(work())
    assert [(each.effect, each.role, each.balanced) for each in made] == [(True, "haproxy", True)] * 2
    after = {name: child.pid for name, child in place.children.items()}
    assert {name for name in before if before[name] != after[name]} == {"haproxy-1", "haproxy-2"}


def test_both_are_killed_at_once_and_each_blow_is_told(place: Place) -> None:
    struck: list[int] = []
    made = asyncio.run(
        Faults(place, SYSTEM_CLOCK).make("kill", "haproxy", amount="all", strikes=lambda: struck.append(1))
    )
    assert made.effect
    assert made.detail.count("killed") == 2
    assert len(struck) == 2


def test_a_node_that_does_not_come_back_is_not_replaced_by_its_neighbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACK_WITHIN_S", 0.2)
    place = Place(tmp_path, late="web-1")
    try:
        with pytest.raises(Unavailable, match="whole again"):
            asyncio.run(Faults(place, SYSTEM_CLOCK).make("kill", "web-1"))
    finally:
        place.end()
