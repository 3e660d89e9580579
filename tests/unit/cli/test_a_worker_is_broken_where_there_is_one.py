"""`tenfold break worker`: a worker where there is one, else a sentence that says who runs the jobs."""

from __future__ import annotations

from typing import Any

import pytest

from tenfold.cli.break_ import _running
from tenfold.core.errors import UsageError
from tenfold.prove.faults import NodeFacts, select

WEB, WORKER = NodeFacts("web-1", "web", 7, True), NodeFacts("worker-1", "worker", 8, True)


class Nodes:
    """A deployment that has these."""

    def __init__(self, *found: NodeFacts) -> None:
        self._found = list(found)

    def nodes(self) -> list[NodeFacts]:
        return self._found


def running(wanted: str, *found: NodeFacts) -> list[NodeFacts]:
    deployment: Any = Nodes(*found)
    return select(_running(deployment, wanted), wanted)


def test_a_worker_is_found_by_its_role_and_its_name() -> None:
    assert running("worker", WEB, WORKER) == running("worker-1", WEB, WORKER) == [WORKER]
    assert running("web", WEB) == [WEB]


def test_without_a_worker_it_is_said_who_runs_the_jobs() -> None:
    with pytest.raises(UsageError, match="There is no worker: jobs run in the web servers") as caught:
        running("worker", WEB)
    assert "scale worker=1" in caught.value.hint
