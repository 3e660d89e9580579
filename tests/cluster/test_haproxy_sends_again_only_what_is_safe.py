"""A web server that dies under a request: safe and keyed requests are sent to another one, all others are not."""

from __future__ import annotations

import http.client
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from haproxy import Door, Web, needs_haproxy, street

pytestmark = needs_haproxy

KEYED = {"Idempotency-Key": "one"}


def ask(
    door: Door, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **more: Any
) -> tuple[int, dict[str, Any]]:
    """Status and document of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=20)
    try:
        connection.request(method, path, body, headers or {}, **more)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def times_begun(webs: list[Web], path: str) -> int:
    return sum(note.get("begun") == path for web in webs for note in web.notes())


@pytest.mark.parametrize(
    ("method", "headers", "size"),
    [("GET", {}, 0), ("POST", KEYED, 3), ("POST", KEYED, 20_000), ("PUT", KEYED, 20_000), ("DELETE", KEYED, 0)],
)
def test_what_is_safe_or_keyed_is_sent_to_another(
    tmp_path: Path, method: str, headers: dict[str, str], size: int
) -> None:
    with street(tmp_path, 2) as (door, webs, _):
        status, told = ask(door, method, "/die-once/a", b"x" * size or None, headers)
        assert status == 200, told
        assert told["size"] == size
        assert times_begun(webs, "/die-once/a") == 2


def test_a_write_without_a_key_is_never_sent_twice(tmp_path: Path) -> None:
    with street(tmp_path, 2) as (door, webs, _):
        status, told = ask(door, "POST", "/die-once/a", b"abc")
        assert (status, told["status"], told["code"]) == (502, 502, "TF-UNKNOWN")
        assert times_begun(webs, "/die-once/a") == 1


@pytest.mark.parametrize("length", [{"Content-Length": "15000"}, {}], ids=["length", "chunks"])
def test_a_keyed_body_that_comes_in_pieces_is_sent_again_whole(tmp_path: Path, length: dict[str, str]) -> None:
    def pieces() -> Any:
        yield b"a" * 10_000
        time.sleep(0.7)
        yield b"b" * 5_000

    with street(tmp_path, 2) as (door, _, _):
        status, told = ask(door, "POST", "/die-once/a", pieces(), KEYED | length, encode_chunked=not length)
        assert (status, told["size"]) == (200, 15_000)


def test_a_keyed_body_above_the_buffer_is_sent_once_and_its_end_is_unknown(tmp_path: Path) -> None:
    with street(tmp_path, 2) as (door, webs, _):
        status, told = ask(door, "POST", "/echo", b"x" * 500_000, KEYED)
        assert (status, told["size"]) == (200, 500_000)
        status, told = ask(door, "POST", "/die", b"x" * 500_000, KEYED)
        assert (status, told["code"]) == (502, "TF-UNKNOWN")
        assert times_begun(webs, "/die") == 1


def test_a_keyed_write_that_kills_every_server_is_not_called_unapplied(tmp_path: Path) -> None:
    with street(tmp_path, 2, hold_s=1.0) as (door, webs, _):
        status, told = ask(door, "POST", "/die", b"abc", KEYED)
        assert times_begun(webs, "/die") == 2
        assert (status, told["status"], told["code"]) == (502, 502, "TF-UNKNOWN")
        status, told = ask(door, "POST", "/echo", b"abc")
        assert (status, told["status"], told["code"]) == (503, 503, "TF-UNAVAILABLE"), "nobody has seen this one"


@pytest.mark.parametrize(("method", "headers", "size"), [("GET", {}, 0), ("POST", KEYED, 20_000), ("PUT", {}, 3)])
def test_the_same_is_so_while_no_server_seems_well(
    tmp_path: Path, method: str, headers: dict[str, str], size: int
) -> None:
    with street(tmp_path, 2) as (door, webs, _):
        for web in webs:
            web.mark("unready")
        for web in webs:
            door.check_says(web, "DOWN")
        status, told = ask(door, method, "/die-once/a", b"x" * size or None, headers)
        again = method == "GET" or bool(headers)
        assert (status, told.get("size"), told.get("code")) == (
            (200, size, None) if again else (502, None, "TF-UNKNOWN")
        )
        assert times_begun(webs, "/die-once/a") == (2 if again else 1)


def test_a_request_that_kills_every_server_it_meets_ends_few_of_them_also_while_none_seems_well(tmp_path: Path) -> None:
    with street(tmp_path, 7, hold_s=1.0) as (door, webs, _):
        for web in webs:
            web.mark("unready")
        for web in webs:
            door.check_says(web, "DOWN")
        status, told = ask(door, "POST", "/die", b"abc", KEYED)
        assert (status, told["code"]) == (502, "TF-UNKNOWN")
        assert 2 <= times_begun(webs, "/die") <= 5


def answers_itself(web: Web) -> None:
    """Waits until it answers: on a busy machine the next one would be killed before this one has begun."""
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    connection.request("GET", "/readyz")
    assert connection.getresponse().read() == b"{}"
    connection.close()


@pytest.mark.parametrize("count", [2, 3])
def test_kills_under_load_fail_nothing_that_is_safe_or_keyed(tmp_path: Path, count: int) -> None:
    answers: list[tuple[str, int]] = []
    over = threading.Event()

    def client(door: Door, method: str, keep_alive: bool) -> None:
        connection = None
        while not over.is_set():
            if connection is not None and not keep_alive:
                connection.close()
                connection = None
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=20)
            body, headers = (b"x" * 20_000, KEYED) if method == "POST" else (None, {})
            try:
                connection.request(method, "/slow/0.005", body, headers)
                answer = connection.getresponse()
                answer.read()
                answers.append((method, answer.status))
            except (OSError, http.client.HTTPException):
                connection.close()
                connection = None
                answers.append((method, 0))
        if connection is not None:
            connection.close()

    with street(tmp_path, count) as (door, webs, _):
        clients = [
            threading.Thread(target=client, args=(door, method, keep_alive))
            for method in ("GET", "POST")
            for keep_alive in (False, True)
            for _ in range(2)
        ]
        for one in clients:
            one.start()
        for number in range(4):
            time.sleep(0.6)
            webs[number % count].kill()
            time.sleep(0.4)
            webs[number % count].start()
            answers_itself(webs[number % count])
        time.sleep(0.6)
        over.set()
        for one in clients:
            one.join()
    assert len(answers) > 200
    assert [answer for answer in answers if answer[1] != 200] == []
