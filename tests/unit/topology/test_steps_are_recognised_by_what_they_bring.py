"""The eleven steps: their order, and their predicates over every set of what a map can have."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from tenfold.core.errors import UsageError
from tenfold.topology.map import Map, NodeMap, map_of
from tenfold.topology.spec import parse_spec
from tenfold.topology.steps import STEPS, Step, find_step, highest_existing, step_of
from tenfold.topology.wants import climb_wants

SPEC = parse_spec('[service]\nname = "shop"\napp = "shop.app:app"\n')
BASE = map_of(SPEC, root="/srv", state="/srv/.tenfold", previous=None)
ROLES = ["web", "postgres", "balancer", "replica", "cache", "edge", "store", "geodns", "queue", "metrics", "shard"]


def with_roles(roles: tuple[str, ...]) -> Map:
    """A map with a node of each role; "postgres" stands for data that is on a database server.

    Balancers come with the door: the one without the other is no step.
    """
    nodes = tuple(NodeMap(f"{role}-1", role) for role in roles if role != "postgres")
    database = msgspec.structs.replace(BASE.database, backend="postgres" if "postgres" in roles else "sqlite")
    public = msgspec.structs.replace(BASE.public, door="balancer" if "balancer" in roles else "web")
    return msgspec.structs.replace(BASE, nodes=nodes, database=database, public=public)


def test_there_are_eleven_in_order_with_names_of_their_own() -> None:
    assert [step.number for step in STEPS] == list(range(1, 12))
    assert len({step.slug for step in STEPS}) == len({step.title for step in STEPS}) == 11
    for step in STEPS:
        assert step.promise.endswith(".")
        assert step.engines
        assert step.slug.replace("-", "").isalpha(), step.slug


def test_the_first_step_exists_and_holds_for_the_plainest_service() -> None:
    assert [step.number for step in STEPS if step.exists] == [1, 2, 3]
    assert highest_existing() == 3
    assert STEPS[0].holds(BASE)
    assert (step_of(BASE), BASE.step) == (1, 1)


def test_each_step_holds_with_its_role_and_not_without() -> None:
    for step, role in zip(STEPS, ROLES, strict=True):
        without = tuple(other for other in ROLES if other != role)
        assert step.holds(with_roles((role,))), step.title
        assert not step.holds(with_roles(without)), step.title
        assert not step.holds(with_roles(())), step.title


def test_balancers_beside_an_open_web_door_and_a_door_without_balancers_are_not_step_3() -> None:
    step, whole = find_step("load-balancer"), with_roles(("web", "postgres", "balancer"))
    assert step_of(whole) == 3
    for half in (
        msgspec.structs.replace(whole, public=BASE.public),
        msgspec.structs.replace(whole, nodes=tuple(node for node in whole.nodes if node.role != "balancer")),
    ):
        assert not step.holds(half)
        assert step_of(half) == 2


def test_a_map_is_on_the_highest_step_below_its_first_gap() -> None:
    for count in range(len(ROLES) + 1):
        for roles in itertools.combinations(ROLES, count):
            gap = next((number for number, role in enumerate(ROLES) if role not in roles), len(ROLES))
            assert step_of(with_roles(roles)) == gap


@pytest.mark.parametrize("step", [step for step in STEPS if not step.exists], ids=lambda step: step.slug)
def test_a_step_that_does_not_exist_yet_is_refused_by_name(step: Step) -> None:
    with pytest.raises(UsageError) as caught:
        climb_wants(BASE, step)
    first = next(each for each in STEPS if not each.exists)
    assert caught.value.message == f"Step {first.number} ({first.title}) does not exist yet in this version of Tenfold."
    assert caught.value.hint == "The highest step of this version is 3."
    with pytest.raises(UsageError, match=rf"Step {step.number} \({step.title}\) does not exist yet"):
        climb_wants(BASE, step, only=True)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.slug)
def test_a_step_is_found_by_number_slug_and_title(step: Step) -> None:
    names = (step.number, str(step.number), step.slug, step.title, step.title.upper(), f" {step.slug} ")
    assert all(find_step(name) is step for name in names)


@pytest.mark.parametrize("name", ["0", "12", "", "balancer", "one server please"])
def test_an_unknown_step_is_answered_with_the_list(name: str) -> None:
    with pytest.raises(UsageError, match="There is no step") as caught:
        find_step(name)
    assert "1 one-server, 2 separate-database, 3 load-balancer" in caught.value.hint
