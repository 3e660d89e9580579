"""All web servers away at once: requests wait for them instead of failing, within bounds."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import time
from pathlib import Path

import pytest
from haproxy import Door, needs_haproxy, street

from tenfold.topology.map import BalancerMap

pytestmark = needs_haproxy


def ask(door: Door, path: str, method: str = "GET") -> tuple[int, float, bytes]:
    """Status, seconds and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=30)
    began = time.monotonic()
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, time.monotonic() - began, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_servers_that_are_away_for_a_second_and_a_half_are_waited_for(tmp_path: Path, count: int, method: str) -> None:
    with street(tmp_path, count) as (door, webs, _), concurrent.futures.ThreadPoolExecutor(16) as pool:
        for web in webs:
            web.kill()
        began = time.monotonic()
        asked = [pool.submit(ask, door, "/echo", method) for _ in range(16)]
        time.sleep(1.5)
        for web in webs:
            web.start()
        away_s = time.monotonic() - began
        answers = [one.result() for one in asked]
    assert {status for status, _, _ in answers} == {200}
    assert max(seconds for _, seconds, _ in answers) < away_s + 2.5


def test_a_server_that_says_it_is_not_ready_is_asked_when_there_is_no_better_one(tmp_path: Path) -> None:
    """A database that is away makes all web servers unready; they hold writes, which HAProxy must not refuse."""
    with street(tmp_path, 2) as (door, webs, _):
        for web in webs:
            web.mark("unready")
        for web in webs:
            door.check_says(web, "DOWN")
        status, seconds, _ = ask(door, "/echo", "POST")
        assert status == 200
        assert seconds < 1
        webs[1].mark("unready", False)
        door.check_says(webs[1], "UP")
        names = {json.loads(ask(door, "/echo")[2])["name"] for _ in range(6)}
        assert names == {"web-2"}, "one that is ready is better than one that is not"


def test_waiting_ends_after_the_hold_time_with_a_503(tmp_path: Path) -> None:
    with street(tmp_path, 2, hold_s=1.0) as (door, webs, _):
        for web in webs:
            web.kill()
        status, seconds, body = ask(door, "/echo", "POST")
        assert (status, json.loads(body)["code"]) == (503, "TF-UNAVAILABLE")
        assert 0.8 < seconds < 4


def test_too_many_who_wait_are_told_so_at_once(tmp_path: Path) -> None:
    balancer = BalancerMap(server_connections=2, queue=3)
    with (
        street(tmp_path, 1, balancer=balancer) as (door, _, _),
        concurrent.futures.ThreadPoolExecutor(20) as pool,
    ):
        answers = [one.result() for one in [pool.submit(ask, door, "/slow/1") for _ in range(20)]]
    busy = [json.loads(body) for status, _, body in answers if status == 503]
    assert {document["code"] for document in busy} == {"TF-BUSY"}
    assert 10 <= len(busy) <= 16
    assert max(seconds for status, seconds, _ in answers if status == 503) < 0.9
    assert sum(status == 200 for status, _, _ in answers) == 20 - len(busy)
