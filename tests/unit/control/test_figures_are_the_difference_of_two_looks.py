"""Figures between two looks: rates, percentiles and cores of processes that stay, come, go, and begin anew."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tenfold.control.figures.between import figures_between
from tenfold.control.figures.counting import cpu_between, memory_of
from tenfold.control.figures.look import BalancerNumbers, Look, MachineLook, NodeLook, ProcessLook
from tenfold.control.figures.model import Traffic
from tenfold.serve.told import CacheNumbers, DatabaseNumbers, HttpNumbers, JobNumbers, NodeNumbers, Spread

BOUNDS = (0.001, 0.01, 0.1)
AT_US = 1_700_000_000_000_000
OLD, MIDST = 500, 1100
"""Starts of processes in ticks: long before the looks, and between them (they are at 1000 and 1200)."""

NONE = Spread()


def spread(*counts: int) -> Spread:
    return Spread(BOUNDS, counts, 0.0)


def numbers(pid: int = 10, node: str = "web-1", role: str = "web", **parts: Any) -> NodeNumbers:
    return NodeNumbers(node, role, pid, **parts)


def web(answered: int, took: Spread = NONE, *, pid: int = 10, node: str = "web-1", began: int = OLD, failed: int = 0):
    http = HttpNumbers(answered=answered, failed=failed, took=took, in_flight=3, connections=7)
    told = numbers(pid, node, http=http)
    return NodeLook(node, "web", pid, (ProcessLook(pid, 1, began),), numbers=told)


def look(*nodes: NodeLook, after: bool = False, **more: Any) -> Look:
    made = Look(AT_US + 2_000_000 * after, 100.0 + 2.0 * after, 1000 + 200 * after, MachineLook(), nodes)
    return msgspec.structs.replace(made, **more)


def after(*nodes: NodeLook, **more: Any) -> Look:
    return look(*nodes, after=True, **more)


# Rates


def test_what_the_users_saw_is_that_of_all_web_servers_together() -> None:
    before = look(web(100, spread(100, 0, 0, 0)), web(0, spread(0, 0, 0, 0), pid=11, node="web-2"))
    now = after(web(200, spread(200, 0, 0, 0)), web(100, spread(0, 0, 100, 0), pid=11, node="web-2", failed=4))
    figures = figures_between(before, now)
    assert figures.window_s == 2.0
    assert figures.public == Traffic(100.0, 2.0, pytest.approx(1.0), pytest.approx(98.2))
    first, second = figures.nodes
    assert first.answers == Traffic(50.0, 0.0, pytest.approx(0.5), pytest.approx(0.99))
    assert second.answers == Traffic(50.0, 2.0, pytest.approx(55.0), pytest.approx(99.1))
    assert (first.in_flight, first.connections) == (3, 7)


def test_where_nothing_passed_there_are_no_percentiles() -> None:
    same = spread(5, 5, 0, 0)
    assert figures_between(look(web(10, same)), after(web(10, same))).public == Traffic(0.0, 0.0, None, None)


def test_a_process_that_is_new_counts_from_nothing() -> None:
    before = look(web(5000, spread(5000, 0, 0, 0)))
    now = after(web(8, spread(8, 0, 0, 0), pid=99, began=MIDST))
    assert figures_between(before, now).public.rate == 4.0


def test_a_node_that_is_new_counts_from_nothing() -> None:
    assert figures_between(look(), after(web(8, pid=99, began=MIDST))).public.rate == 4.0


def test_one_that_ran_and_was_not_seen_has_no_rate_yet() -> None:
    figures = figures_between(look(), after(web(5000)))
    assert figures.public.rate == 0.0
    assert figures.nodes[0].answers is None
    assert figures.nodes[0].cpu is None


def test_one_that_was_silent_before_has_no_rate_yet() -> None:
    mute = msgspec.structs.replace(web(0), numbers=None)
    figures = figures_between(look(mute, silent=("web-1",)), after(web(5000)))
    assert figures.nodes[0].answers is None
    assert figures.nodes[0].cpu == 0.0


def test_a_process_under_a_recycled_pid_is_another_one() -> None:
    figures = figures_between(look(web(10, pid=10)), after(web(6, pid=10, began=MIDST)))
    assert figures.public.rate == 3.0


def test_a_counter_that_went_back_counts_from_nothing() -> None:
    figures = figures_between(look(web(100, spread(90, 10, 0, 0))), after(web(6, spread(0, 6, 0, 0))))
    assert figures.public == Traffic(3.0, 0.0, pytest.approx(5.5), pytest.approx(9.91))


def test_a_node_that_left_takes_nothing_from_the_others() -> None:
    before = look(web(100), web(900, pid=11, node="web-2"))
    assert figures_between(before, after(web(120))).public.rate == 10.0


def test_a_wall_clock_that_steps_changes_no_rate() -> None:
    figures = figures_between(look(web(0)), after(web(10), at_us=AT_US - 3_600_000_000))
    assert figures.public.rate == 5.0
    assert figures.window_s == 2.0


@pytest.mark.parametrize(
    "now", [after(web(10), at_s=99.0), after(web(10), at_s=100.0), after(web(10), up_ticks=3)], ids=str
)
def test_looks_that_do_not_follow_each_other_tell_gauges_only(now: Look) -> None:
    figures = figures_between(look(web(0)), now)
    assert figures.window_s == 0.0
    assert figures.public == Traffic()
    node = figures.nodes[0]
    assert (node.answers, node.cpu, node.in_flight) == (None, None, 3)


def test_who_did_not_answer_is_told_and_counts_for_nothing() -> None:
    older = NodeLook("web-2", "web", 11, (ProcessLook(11, 1, OLD, cpu_s=3.0, memory=5),))
    now = after(web(10), msgspec.structs.replace(older, processes=(ProcessLook(11, 1, OLD, cpu_s=4.0, memory=9),)),
                silent=("web-2",))  # fmt: skip
    figures = figures_between(look(web(0), older), now)
    assert figures.silent == ("web-2",)
    assert figures.public.rate == 5.0
    second = figures.node("web-2")
    assert second is not None
    assert (second.answers, second.cpu, second.memory) == (None, 0.5, 9)


def test_bounds_of_another_version_cost_only_its_own_percentiles() -> None:
    other = HttpNumbers(answered=10, took=Spread((1.0,), (10, 0), 0.0))
    newer = NodeLook("web-2", "web", 11, (ProcessLook(11, 1, MIDST),), numbers=numbers(11, "web-2", http=other))
    figures = figures_between(look(web(0)), after(web(10, spread(10, 0, 0, 0)), newer))
    assert figures.public.rate == 10.0
    assert figures.public.p99_ms == pytest.approx(0.99)


# Database, cache, jobs


def asked(pid: int = 10, **values: Any) -> NodeLook:
    told = numbers(pid, database=DatabaseNumbers(**values))
    return NodeLook("web-1", "web", pid, (ProcessLook(pid, 1, OLD),), numbers=told)


def test_reads_and_writes_are_told_apart_and_together() -> None:
    before = asked(reads=100, writes=10, read_took=spread(100, 0, 0, 0), write_took=spread(0, 10, 0, 0))
    now = asked(reads=300, writes=30, failed=4, read_took=spread(300, 0, 0, 0), write_took=spread(0, 30, 0, 0),
                held=2, pool=8, pool_busy=5)  # fmt: skip
    figures = figures_between(look(before), after(now))
    node = figures.nodes[0]
    assert (node.held, node.pool, node.pool_busy) == (2, 8, 5)
    assert node.reads == figures.reads == Traffic(100.0, 0.0, pytest.approx(0.5), pytest.approx(0.99))
    assert node.writes == figures.writes == Traffic(10.0, 2.0, pytest.approx(5.5), pytest.approx(9.91))
    assert figures.queries.rate == 110.0
    assert figures.queries.p99_ms == pytest.approx(1 + 9 * (0.99 * 220 - 200) / 20)


@pytest.mark.parametrize(("backend", "rate"), [("postgres", 55.0), ("sqlite", None)])
def test_the_database_server_answers_what_all_ask_once_the_data_is_there(backend: str, rate: float | None) -> None:
    server = NodeLook("db-1", "database", 20, (ProcessLook(20, 1, OLD),), cpu_max=2.0, sessions=9)
    figures = figures_between(look(asked(reads=0), server), after(asked(reads=110), server, backend=backend))
    found = figures.node("db-1")
    assert found is not None
    assert found.connections == 9
    assert found.cpu_max == 2.0
    assert (found.answers.rate if found.answers else None) == rate


def test_what_nobody_tells_of_the_database_is_not_told_as_nothing() -> None:
    server = NodeLook("db-1", "database", 20, (ProcessLook(20, 1, OLD),))
    found = figures_between(look(web(0), server), after(web(10), server, backend="postgres")).node("db-1")
    assert found is not None
    assert found.answers is None


def test_the_cache_tells_the_share_that_it_answered() -> None:
    def with_cache(hits: int, misses: int) -> NodeLook:
        told = numbers(cache=CacheNumbers(hits=hits, misses=misses, bytes=77))
        return NodeLook("web-1", "web", 10, (ProcessLook(10, 1, OLD),), numbers=told)

    node = figures_between(look(with_cache(100, 100)), after(with_cache(190, 110))).nodes[0]
    assert (node.cache_hits, node.cache_lookups, node.cache_bytes) == (0.9, 50.0, 77)
    quiet = figures_between(look(with_cache(1, 1)), after(with_cache(1, 1))).nodes[0]
    assert quiet.cache_hits is None


def worker(name: str, pid: int, done: int, failed: int) -> NodeLook:
    told = numbers(pid, name, "worker", jobs=JobNumbers(done=done, failed=failed))
    return NodeLook(name, "worker", pid, (ProcessLook(pid, 1, OLD),), numbers=told)


def test_jobs_that_are_due_are_told_once() -> None:
    before = look(worker("worker-10", 20, 0, 0), worker("worker-2", 21, 0, 0), web(0))
    now = after(worker("worker-10", 20, 8, 2), worker("worker-2", 21, 0, 0), web(0), due=17)
    figures = figures_between(before, now)
    assert {node.node: node.queue for node in figures.nodes} == {"worker-10": 0, "worker-2": 17, "web-1": 0}
    assert figures.nodes[0].jobs == Traffic(5.0, 1.0, None, None)


def test_without_workers_the_jobs_wait_for_the_web_servers() -> None:
    figures = figures_between(look(web(0)), after(web(0), due=3))
    assert figures.nodes[0].queue == 3


# Balancers


def balancer(**values: Any) -> NodeLook:
    told = BalancerNumbers(**values) if values else None
    return NodeLook("balancer-1", "balancer", 30, (ProcessLook(30, 1, OLD),), balancer=told)


def test_a_balancer_tells_requests_and_who_waits() -> None:
    now = balancer(life=5, requests=300, failed=10, connections=9, in_flight=4, queue=6)
    node = figures_between(look(balancer(life=5, requests=100)), after(now)).nodes[0]
    assert node.answers == Traffic(100.0, 5.0, None, None)
    assert (node.connections, node.in_flight, node.queue) == (9, 4, 6)


def test_a_haproxy_that_was_reloaded_counts_from_nothing() -> None:
    node = figures_between(look(balancer(life=5, requests=100)), after(balancer(life=6, requests=20))).nodes[0]
    assert node.answers == Traffic(10.0, 0.0)


def test_a_balancer_that_was_silent_has_no_rate_yet() -> None:
    assert figures_between(look(balancer()), after(balancer(life=6, requests=20))).nodes[0].answers is None


def test_numbers_that_are_older_than_the_look_are_about_their_own_time() -> None:
    before, now = balancer(life=5, requests=100, age_s=0.0), balancer(life=5, requests=200, age_s=1.0)
    assert figures_between(look(before), after(now)).nodes[0].answers == Traffic(100.0, 0.0)
    stale = balancer(life=5, requests=100, age_s=2.0)
    assert figures_between(look(before), after(stale)).nodes[0].answers is None


# Cores and memory


def tree(*processes: ProcessLook) -> tuple[ProcessLook, ...]:
    return processes


def used(pid: int, parent: int, cpu_s: float, ended_s: float = 0.0, began: int = OLD) -> ProcessLook:
    return ProcessLook(pid, parent, began, cpu_s, ended_s)


SERVER, SESSION = used(1, 0, 10.0), used(2, 1, 5.0)


@pytest.mark.parametrize(
    ("before", "now", "seconds"),
    [
        (tree(SERVER, SESSION), tree(used(1, 0, 10.5), used(2, 1, 6.0)), 1.5),
        (tree(SERVER, SESSION), tree(used(1, 0, 10.0, 5.2)), 0.2),  # it ended: its time is at its parent
        (tree(SERVER), tree(used(1, 0, 10.0, 0.3)), 0.3),  # came and went
        (tree(SERVER), tree(SERVER, used(3, 1, 0.4, began=MIDST)), 0.4),
        (tree(SERVER), tree(SERVER, used(3, 1, 99.0)), 0.0),  # ran before, and was not seen: from the next look on
        (tree(SERVER, SESSION), tree(used(9, 0, 0.1, began=MIDST)), 0.1),  # started anew
        (tree(SERVER, SESSION, used(3, 2, 1.0)), tree(used(1, 0, 10.0, 6.5)), 0.5),  # over one that ended too
        (tree(SERVER, used(4, 77, 8.0)), tree(used(1, 0, 10.2)), 0.2),  # another one's child: not in our account
        (tree(SERVER, SESSION), tree(used(1, 0, 10.4)), 0.4),  # overlooked, or nobody waited for it
        (tree(SERVER, SESSION), tree(used(1, 0, 9.0)), 0.0),  # never below nothing
        ((), tree(SERVER), None),
        ((), (), None),
        (tree(SERVER), (), None),
    ],
    ids=str,
)
def test_the_cores_of_a_tree_are_right_whoever_comes_and_goes(before: Any, now: Any, seconds: float | None) -> None:
    found = cpu_between(before, now, 1000)
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_cores_are_seconds_by_the_second() -> None:
    one, other = web(0), web(0)
    other = msgspec.structs.replace(other, processes=(ProcessLook(10, 1, OLD, cpu_s=1.0),))
    assert figures_between(look(one), after(other)).nodes[0].cpu == 0.5


def test_shared_memory_counts_once() -> None:
    processes = [ProcessLook(n, 1, OLD, memory=100, shared=80) for n in (1, 2, 3)]
    assert memory_of(processes) == 3 * 20 + 80
    assert memory_of([]) == 0


# The machine


def test_the_machine_is_told_in_cores_and_shares() -> None:
    then = MachineLook(cores=4, busy_s=100.0, memory=8, memory_free=4, disk=20, disk_free=10, disk_busy_s=1.0)
    now = msgspec.structs.replace(then, busy_s=103.0, disk_busy_s=2.5)
    machine = figures_between(look(machine=then), after(machine=now)).machine
    assert (machine.cores, machine.cpu, machine.disk_busy) == (4, 1.5, 0.75)
    assert (machine.memory, machine.memory_free, machine.disk, machine.disk_free) == (8, 4, 20, 10)


@pytest.mark.parametrize(("busy_s", "cores"), [(90.0, 0.0), (900.0, 4.0)])
def test_the_machine_is_never_busier_than_it_can_be(busy_s: float, cores: float) -> None:
    then, now = MachineLook(cores=4, busy_s=100.0), MachineLook(cores=4, busy_s=busy_s)
    assert figures_between(look(machine=then), after(machine=now)).machine.cpu == cores


def test_a_disk_that_nobody_counts_is_not_told() -> None:
    then, now = MachineLook(disk_busy_s=None), MachineLook(disk_busy_s=5.0)
    assert figures_between(look(machine=then), after(machine=now)).machine.disk_busy is None
