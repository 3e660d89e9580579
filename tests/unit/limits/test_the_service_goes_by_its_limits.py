"""The Tenfold object, its limits and the limits of a map: wired, live, and off when the environment says so."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tenfold import LimitExceeded, Tenfold, Unavailable
from tenfold.blocks.limits.sharing import processes_of
from tenfold.control.crew import PASSED_ON
from tenfold.service import LIMITS_VARIABLE
from tenfold.topology.map import Map, NodeMap, map_of
from tenfold.topology.spec import parse_spec

SPEC = """[service]\nname = "shop"\napp = "shop.app:app"
[[limit]]\nname = "api"\nrate = "2/hour"\nroutes = ["/api/*"]\n"""


def current(text: str = SPEC, epoch: int = 1, nodes: tuple[NodeMap, ...] = ()) -> Map:
    made = map_of(parse_spec(text), root="/srv", state="/srv/.tenfold", previous=None, after=epoch - 1)
    return msgspec.structs.replace(made, nodes=nodes or made.nodes)


def test_a_limit_of_the_map_is_in_force_at_once_and_changes_live() -> None:
    tf = Tenfold("shop")
    assert tf.limits.routes is None
    tf.adopt(current())
    rule = tf.limits.rules.by_name["api"]
    assert tf.limits.routes is not None
    assert tf.limits.routes.find("GET", "/api/a") == [(rule, "/api/*")]
    assert [tf.limits.charge((rule, "k")).allowed for _ in range(3)] == [True, True, False]
    tf.adopt(current(SPEC.replace("2/hour", "3/hour"), epoch=2))
    assert [tf.limits.charge((rule, "k")).allowed for _ in range(2)] == [True, False]
    tf.adopt(current(SPEC.partition("[[limit]]")[0], epoch=3))
    assert tf.limits.routes is None


@pytest.mark.parametrize(
    ("roles", "number"),
    [(["web"], 1), (["web", "web"], 2), (["web", "worker"], 2), (["web", "balancer", "db"], 1), (["balancer"], 1)],
)
def test_processes_that_run_the_service_share_limits(roles: list[str], number: int) -> None:
    nodes = tuple(NodeMap(f"{role}-{place}", role) for place, role in enumerate(roles))
    assert processes_of(current(nodes=nodes)) == number
    assert processes_of(None) == 1


@pytest.mark.parametrize(("value", "off"), [("off", True), ("OFF", True), ("on", False), ("", False)])
def test_the_environment_switches_all_limits_off(value: str, off: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_LIMITS", value)
    tf = Tenfold("shop")
    tf.adopt(current())
    assert tf.limits.off is off
    assert (tf.limits.routes is None) is off
    rule = tf.limits.rules.by_name["api"]
    assert tf.limits.charge((rule, "k", 2)).allowed
    assert tf.limits.charge((rule, "k", 2)).allowed is off


def test_the_variable_reaches_the_processes_of_the_service() -> None:
    assert LIMITS_VARIABLE in PASSED_ON


def test_the_error_is_one_that_is_worth_sending_again() -> None:
    assert issubclass(LimitExceeded, Unavailable)
    assert LimitExceeded.status == 429
    assert not LimitExceeded.replayable, "the web process does not run the request again by itself"


def test_a_task_that_does_not_exist_refuses_instead(caplog: pytest.LogCaptureFixture) -> None:
    tf = Tenfold("shop")
    assert tf.limits.enqueue is not None
    assert asyncio.run(tf.limits.enqueue("later", {})) is None  # type: ignore[arg-type]
    assert 'There is no task "later"' in caplog.text
