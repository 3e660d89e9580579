"""kill -9 of the web process and of the keeper: no connection is refused, and the next process answers soon."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from keeping import House, alive, ask_pid, house, until, web

from tenfold.hosts.client import left_running


@pytest.fixture
def running(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path / ".tenfold") as made:
        yield made.start(web())


def test_a_killed_web_process_is_replaced_within_a_second_and_no_connection_is_refused(running: House) -> None:
    first = running.ready()
    refused, answered, stop = [], [], threading.Event()

    def clients() -> None:
        while not stop.is_set():
            try:
                answered.append(running.get())
            except ConnectionRefusedError as error:
                refused.append(error)
            except (ConnectionError, AssertionError):
                pass  # it was being answered when the process died; the issue allows that on this step

    threads = [threading.Thread(target=clients) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: first in answered, "the first process answers")
    killed = time.monotonic()
    os.kill(first, signal.SIGKILL)
    second = until(lambda: next((pid for pid in answered if pid != first), None), "another process answers")
    took = time.monotonic() - killed
    stop.set()
    for thread in threads:
        thread.join()
    assert second != first
    assert not refused
    assert took < 1.0


def test_a_connection_made_while_nobody_accepts_is_answered_by_the_next_process(running: House) -> None:
    first = running.ready()
    os.kill(first, signal.SIGSTOP)
    with running.connect() as waiting:
        os.kill(first, signal.SIGKILL)
        assert ask_pid(waiting) == running.ready(other_than=first)


def test_ten_kills_in_a_row_come_back_at_once_each_time(running: House) -> None:
    pid = running.ready()
    for _ in range(10):
        os.kill(pid, signal.SIGKILL)
        before, pid = pid, running.ready(other_than=pid)
        assert running.get() == pid != before
    assert running.fact()["restarts"] == 10


def test_children_go_on_while_the_keeper_is_dead_and_the_next_keeper_adopts_them(running: House) -> None:
    web_pid, port = running.ready(), running.port
    running.kill_keeper()
    assert running.get() == web_pid
    running.start(web(), port=1)  # the port does not matter: the socket is taken back, not opened
    assert running.port == port
    assert running.fact()["pid"] == web_pid
    assert running.fact()["adopted"]
    assert running.get() == web_pid
    assert "took the public socket back" in running.log()


def test_connections_that_wait_while_keepers_and_web_processes_change_are_answered(tmp_path: Path) -> None:
    with house(tmp_path / ".tenfold") as made:
        made.start(web(mode="deaf", mark=tmp_path / "heard"))
        deaf = made.ready()
        with made.connect() as before, contextlib.ExitStack() as others:
            made.kill_keeper()
            between = [others.enter_context(made.connect()) for _ in range(200)]
            made.start()
            os.kill(deaf, signal.SIGKILL)
            heard = made.ready(other_than=deaf)
            assert {ask_pid(conn) for conn in (before, *between)} == {heard}


def test_an_adopted_process_that_dies_is_started_again_by_the_new_keeper(running: House) -> None:
    first = running.ready()
    running.kill_keeper()
    running.start()
    os.kill(first, signal.SIGKILL)
    second = running.ready(other_than=first)
    assert running.get() == second
    assert not running.fact()["adopted"]


def test_what_died_together_with_the_keeper_is_started_by_the_next_one(running: House) -> None:
    running.client.spawn(web("web-2"))
    first, second = running.ready(), running.ready("web-2")
    running.kill_keeper()
    os.kill(first, signal.SIGKILL)
    until(lambda: not alive(first), "web-1 is gone")
    running.start()
    assert running.ready() != first
    assert running.fact("web-2")["pid"] == second


def test_a_node_that_hangs_does_not_keep_the_next_keeper_from_the_socket(running: House) -> None:
    running.client.spawn(web("web-2"))
    first, second = running.ready(), running.ready("web-2")
    running.kill_keeper()
    os.kill(first, signal.SIGSTOP)
    running.start()
    assert running.fact("web-2")["pid"] == second
    assert running.get() == second


def test_when_nobody_holds_the_socket_it_is_opened_anew_and_old_records_are_forgotten(running: House) -> None:
    first = running.ready()
    running.kill_keeper()
    os.kill(first, signal.SIGKILL)
    until(lambda: not alive(first), "web-1 is gone")
    assert not left_running(running.state)
    running.start(web("web-7"))
    assert running.get() == running.ready("web-7")
    assert running.client.node("web-1") is None
