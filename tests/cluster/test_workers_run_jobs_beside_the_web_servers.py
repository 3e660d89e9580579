"""Workers as processes of their own: they come and go under load, die, are replaced by new code, and lose no job."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest
from haproxy import needs_haproxy
from postgres import needs_postgres
from tier import until
from working import Ran, Working, working

from tenfold.blocks.tasks.policy import SILENT_S


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Working]:
    """One deployment for all of them: each brings the workers that it needs, and jobs with numbers of its own."""
    with working(tmp_path_factory.mktemp("working") / "small") as made:
        yield made


def noted(made: Working, first: int) -> list[Ran]:
    """What jobs with numbers from `first` on (of one test) have noted."""
    return [each for each in made.ran() if first <= each.number < first + FAR]


FAR = 10_000


FIRST = FAR


class Load:
    """Jobs without end while it is entered; `numbers` are those that were enqueued, `failed` why one was not."""

    def __init__(self, made: Working, first: int = FAR) -> None:
        self.numbers: list[int] = []
        self.failed: list[str] = []
        self._made, self._first = made, first
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        number = self._first
        while not self._stop.wait(0.02):
            number += 1
            try:
                self._made.enqueue(number)
            except (OSError, AssertionError) as error:
                self.failed.append(repr(error))
            else:
                self.numbers.append(number)


def test_workers_come_and_go_under_load_on_step_1_and_every_job_runs_once(small: Working) -> None:
    web = set(small.pids("web").values())
    with Load(small) as load:
        until(lambda: noted(small, FIRST), "a job runs in the web server")
        assert {each.pid for each in noted(small, FIRST)} <= web
        small.done("scale", "worker=2", "--yes")
        workers = set(small.pids("worker").values())
        assert len(workers) == 2
        before = len(noted(small, FIRST))
        until(lambda: len(noted(small, FIRST)) > before + 20, "jobs run in the workers")
        assert {each.pid for each in noted(small, FIRST)[before + 10 :]} <= workers
        small.done("scale", "worker=0", "--yes")
        assert small.pids("worker") == {}
        before = len(noted(small, FIRST))
        until(lambda: len(noted(small, FIRST)) > before + 4, "jobs run in the web server again")
        assert {each.pid for each in noted(small, FIRST)[before + 2 :]} <= web
    assert load.failed == []
    until(lambda: sum(each.what == "end" for each in noted(small, FIRST)) >= len(load.numbers), "the last jobs")
    assert sorted(each.number for each in noted(small, FIRST) if each.what == "end") == load.numbers
    assert small.status()["state"] == "running"
    assert small.done("plan", "--json").facts()["empty"]


def test_a_worker_that_is_killed_is_started_again_and_its_job_runs_again(small: Working) -> None:
    small.done("scale", "worker=2", "--yes")
    small.enqueue(1, 2.0)
    victim = small.until_ran("begin", 1).pid
    name = next(name for name, pid in small.pids("worker").items() if pid == victim)
    os.kill(victim, signal.SIGKILL)
    ended = small.until_ran("end", 1, SILENT_S + 5.0 + 2.0)
    assert ended.pid != victim
    assert [each.what for each in noted(small, 0)] == ["begin", "begin", "end"]
    until(lambda: small.status()["state"] == "running", "the worker is back")
    assert small.pids("worker")[name] != victim


def test_a_deploy_replaces_workers_and_a_job_that_runs_is_finished_first(small: Working) -> None:
    small.done("scale", "worker=1", "--yes")
    old = set(small.pids("worker").values())
    small.write("two")
    deploy = small.start("deploy", "--yes")
    until(lambda: "v2" in small.done("versions").out, "the deploy begins")
    numbers = iter(range(2 * FAR, 3 * FAR))
    while deploy.poll() is None:
        number = next(numbers)
        small.enqueue(number, 0.7)
        small.until_ran("begin", number)
    assert deploy.wait() == 0
    last = next(numbers)
    small.enqueue(last)
    ended = small.until_ran("end", last)
    assert (ended.version, ended.pid) == ("two", next(iter(small.pids("worker").values())))
    assert not old & set(small.pids("worker").values())
    until(lambda: sum(each.what == "end" for each in noted(small, 2 * FAR)) == last - 2 * FAR + 1, "all jobs end")
    begun = [each.number for each in noted(small, 2 * FAR) if each.what == "begin"]
    assert sorted(begun) == list(range(2 * FAR, last + 1)), "no job was cut off by the worker that left"
    facts = small.done("moves", "--json").facts()["moves"][-1]["facts"]
    assert set(facts["ended"].values()) == {"drained"}


@pytest.mark.long
@needs_postgres
@needs_haproxy
def test_no_job_is_lost_or_doubled_on_the_way_to_step_3_and_back(small: Working) -> None:
    small.done("scale", "worker=1", "--yes")
    first = 5 * FAR
    with Load(small, first) as load:
        small.done("climb", "3", "--yes")
        small.done("scale", "worker=2", "web=3", "--yes")
        workers = small.pids("worker")
        small.done("break", "database", "--yes")
        assert small.pids("worker") == workers, "a database that is away takes no worker along"
        small.write("three")
        small.done("deploy", "--yes")
        assert len(small.pids("worker")) == 2
        small.done("descend", "1", "--yes")
        assert len(small.pids("worker")) == 2
    assert load.failed == []
    until(lambda: sum(each.what == "end" for each in noted(small, first)) >= len(load.numbers), "the last jobs")
    assert sorted(each.number for each in noted(small, first) if each.what == "end") == load.numbers
    small.done("scale", "worker=0", "--yes")
