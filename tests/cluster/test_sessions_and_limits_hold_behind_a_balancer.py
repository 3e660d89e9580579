"""Two real web servers on one SQLite file behind a real HAProxy: one session, one limit, whichever of them answers."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any

import pytest
from deployed import deployed
from haproxy import needs_haproxy
from tier import port_of

pytestmark = needs_haproxy
APP = """
import os
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from tenfold import Tenfold

tf = Tenfold("small")
CREATE = tf.limits.rule("create", "20/minute")

async def said(**more):
    session = await tf.sessions.current()
    return JSONResponse({"pid": os.getpid(), "user": session.user, "count": session.get("count", 0), **more})

async def page(request):
    return await said()

async def incr(request):
    (await tf.sessions.current()).incr("count", 1)
    return await said()

async def login(request):
    await tf.sessions.login("ann")
    return await said()

async def logout(request):
    await tf.sessions.logout()
    return JSONResponse({"pid": os.getpid()})

async def create(request):
    await tf.limits.require((CREATE, "one key"))
    return JSONResponse({"pid": os.getpid()})

endpoints = {"page": page, "incr": incr, "login": login, "logout": logout, "create": create}
app = tf.asgi(Starlette(routes=[Route(f"/{name}", one, methods=["GET", "POST"]) for name, one in endpoints.items()]))
"""
BURST, A_SECOND = 20, 20 / 60
ASKED_FOR_S = 3.2


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where the clients of both come."""
    with deployed(tmp_path_factory.mktemp("behind") / "svc") as made:
        (made.root / "small_app.py").write_text(APP)
        made.up()
        said = made.tenfold("climb", "--only", "load-balancer", "--yes")
        assert said.code == 0, said
        assert [node["ready"] for node in made.status()["nodes"]] == [True, True]
        yield port_of(made)


class Visitor:
    """A browser: it keeps its cookies, and comes with a new connection each time, so that either server may answer."""

    def __init__(self, port: int) -> None:
        self.cookies: dict[str, str] = {}
        self._port = port

    def asks(self, path: str, method: str = "GET") -> tuple[int, dict[str, Any]]:
        """Status and body of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            connection.request(method, path, headers={"Cookie": cookies} if cookies else {})
            answer = connection.getresponse()
            for line in answer.headers.get_all("Set-Cookie") or ():
                self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def done(self, path: str) -> dict[str, Any]:
        """The answer to a POST that has to succeed."""
        status, answer = self.asks(path, "POST")
        assert status == 200, answer
        return answer

    def seen_by_the_others(self, pid: int) -> list[dict[str, Any]]:
        """What it is answered until a server other than `pid` has answered, the last one."""
        answers: list[dict[str, Any]] = []
        while not answers or answers[-1]["pid"] == pid:
            assert len(answers) < 50, "one server answers everything"
            answers.append(self.asks("/page")[1])
        return answers


def test_what_one_server_wrote_the_other_reads_at_once(port: int) -> None:
    visitor = Visitor(port)
    writers: Counter[int] = Counter()
    for count in range(1, 41):
        pid = visitor.done("/incr")["pid"]
        writers[pid] += 1
        assert [answer["count"] for answer in visitor.seen_by_the_others(pid)][-1] == count
    assert len(writers) == 2, "both have written"


def test_a_logout_at_one_server_ends_the_session_at_the_other(port: int) -> None:
    enders: set[int] = set()
    for _ in range(20):
        visitor = Visitor(port)
        pid = visitor.done("/login")["pid"]
        assert {answer["user"] for answer in visitor.seen_by_the_others(pid)} == {"ann"}, "both remember it now"
        thief = Visitor(port)
        thief.cookies = dict(visitor.cookies)
        enders.add(ended_by := visitor.done("/logout")["pid"])
        assert {answer["user"] for answer in visitor.seen_by_the_others(ended_by)} == {None}
        time.sleep(0.01)  # what the page promises for the other processes
        assert {answer["user"] for answer in thief.seen_by_the_others(ended_by)} == {None}, "the old cookie is nothing"
    assert len(enders) == 2, "both have ended some"


def test_a_limit_admits_no_more_over_both_servers_than_one_would(port: int) -> None:
    began = time.monotonic()
    admitted: list[tuple[float, int]] = []
    others: Counter[int] = Counter()

    def asks() -> None:
        visitor = Visitor(port)
        while time.monotonic() - began < ASKED_FOR_S:
            status, answer = visitor.asks("/create", "POST")
            if status == 200:
                admitted.append((time.monotonic() - began, answer["pid"]))
            else:
                others[status] += 1

    threads = [threading.Thread(target=asks) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, (at_s, _) in enumerate(sorted(admitted), 1):
        assert number <= BURST + at_s * A_SECOND, f"{number} within {at_s:.2f} s"
    assert len(admitted) >= BURST, "the burst is not divided between them"
    assert len({pid for _, pid in admitted}) == 2
    assert set(others) == {429}
    assert others[429] > 50, "it was asked for much more than that"
