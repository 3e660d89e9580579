"""The dashboard as a process of its own: started with the service, told by `up` and `status`, and in nobody's way."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from dashing import Page, answers, dashboard_of, secrets_of, until
from deployed import Deployed, deployed

from tenfold.hosts import wire

PORT = "[dashboard]\nport = 0\n"
HEADERS = ("content-security-policy", "x-content-type-options", "referrer-policy", "cross-origin-resource-policy")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """One deployment for all of them: each leaves it running, with its dashboard."""
    with pytest.MonkeyPatch.context() as patch, deployed(tmp_path_factory.mktemp("dashboard") / "svc") as made:
        patch.setenv("TENFOLD_DASHBOARD", "on")
        made.spec(PORT)
        made.up()
        yield made


@pytest.fixture
def page(running: Deployed) -> Iterator[Page]:
    opened = Page(dashboard_of(running)["address"])
    yield opened
    opened.close()


def pid_of(made: Deployed) -> int:
    return int(dashboard_of(made)["pid"])


@contextlib.contextmanager
def asked_all_the_time(address: str) -> Iterator[list[str]]:
    """Requests one after the other; what failed of them."""
    failed: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=address, trust_env=False, timeout=10) as client:
            while not stop.is_set():
                try:
                    answer = client.get("/count")
                    if answer.status_code != 200:
                        failed.append(answer.text)
                except httpx.HTTPError as error:
                    failed.append(repr(error))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield failed
    finally:
        stop.set()
        asking.join()


def test_up_and_status_say_where_it_is(running: Deployed, page: Page) -> None:
    assert f"dashboard {page.address}" in running.tenfold("up").out
    assert f"dashboard {page.address}" in running.tenfold("status").out
    answer = page.client.get("/")
    assert answer.status_code == 200
    assert 'content="full"' in answer.text
    assert page.csrf
    for name in HEADERS:
        assert name in answer.headers
    assert "unsafe" not in answer.headers["content-security-policy"]
    cookie = httpx.get(page.address, trust_env=False).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie


def test_it_shows_what_runs_and_streams_it(running: Deployed, page: Page) -> None:
    picture = page.get("/api/picture")
    assert (picture["service"], picture["state"], picture["step"]) == ("small", "running", 1)
    assert [tier["role"] for tier in picture["tiers"]] == ["users", "web"]
    events = []
    with page.client.stream("GET", "/api/feed") as stream:
        for line in stream.iter_lines():
            events += [line] if line.startswith("event: ") else []
            if len(events) == 3:
                break
    assert events == ["event: picture"] * 3
    socket_ = running.state / "run" / "dashboard.sock"
    until(lambda: wire.call(socket_, {"op": "status"}, 5.0)["viewers"] == 0)
    ladder = page.get("/api/ladder")
    assert [step["state"] for step in ladder["steps"]][:3] == ["taken", "next", "later"]
    assert ladder["advice"]["sentence"]
    brought = [[each["words"]["key"] for each in step["brings"]] for step in ladder["steps"]]
    assert brought[1][-1] == "advice.brings.data.size"
    assert "advice.brings.web.dies" in brought[2]
    assert not any([brought[0], *brought[3:]])
    assert ladder["versions"]
    assert page.get("/api/figures?tier=web&hours=1")["at_us"] is not None
    assert page.get("/api/requests") == {"slow": [], "failed": []}
    assert page.get("/api/proofs") == []
    assert page.get("/api/log?node=controller&lines=3")["lines"][-1] == "small runs"


def test_nothing_that_it_answers_holds_a_secret(running: Deployed, page: Page) -> None:
    known = secrets_of(running)
    assert len(known) >= 2, "its own key, and the keys of the sessions"
    log = running.state / "logs" / "web-1.log"
    with log.open("a") as file:
        file.write("".join(f"somebody logged {word}\n" for word in known))
    paths = ["/", "/api/picture", "/api/ladder", "/api/figures?tier=web", "/api/requests", "/api/proofs"]
    paths += ["/words/en.json", "/words/ko.json", *(f"/api/log?node={path.stem}" for path in log.parent.glob("*.log"))]
    for path in paths:
        answer = page.client.get(path)
        assert answer.status_code == 200, path
        assert not [word for word in known if word in answer.text], path
    assert "somebody logged ***" in page.client.get("/api/log?node=web-1").text


def test_only_the_report_of_a_proof_is_framed_and_only_by_the_page(running: Deployed, page: Page) -> None:
    proof = running.state / "proofs" / "p-1"
    proof.mkdir(parents=True)
    (proof / "verdicts.json").write_text('{"verdicts": [{"id": "P1", "verdict": "holds", "n": 7}]}')
    (proof / "report.html").write_text("<p>A report.")
    (told,) = page.get("/api/proofs")
    assert (told["name"], told["passed"]) == ("p-1", True)
    policy = page.client.get("/proofs/p-1/report.html").headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'; ")
    assert "frame-ancestors 'self'" in policy
    assert "allow-same-origin" not in policy
    for path in ("/", "/api/picture", "/proofs/none/report.html"):
        assert "frame-ancestors 'none'" in page.client.get(path).headers["content-security-policy"]
    shutil.rmtree(proof.parent)


NOWHERE = (
    "/api/log?node=../secrets/x",
    "/api/log?node=nobody",
    "/proofs/..%2f..%2fmap.json/report.html",
    "/proofs/none/report.html",
    "/static/x/..%2f..%2fapp.py",
    "/static/x/nothing.js",
    "/words/xx.json",
    "/nothing",
)


@pytest.mark.parametrize("path", NOWHERE)
def test_what_is_not_there_is_not_found(page: Page, path: str) -> None:
    answer = page.client.get(path)
    assert answer.status_code == 404, answer.text
    assert answer.json()["detail"]


def test_only_its_own_page_changes_something(running: Deployed, page: Page) -> None:
    change = {"to": "scale", "worker": 1}
    assert page.send("/api/do", change, origin="http://evil.example").status_code == 403
    assert page.send("/api/do", change, **{"sec-fetch-site": "same-site"}).status_code == 403
    assert page.send("/api/do", change, **{"x-tenfold-csrf": "0" * 64}).status_code == 403
    assert page.send("/api/do", change, host="evil.example").status_code == 421
    assert page.send("/api/do", {"to": "everything"}).status_code == 400
    long = page.client.post(
        "/api/do",
        content=(b" " * 1000 for _ in range(200)),
        headers={"x-tenfold-csrf": page.csrf, "content-type": "application/json"},
    )
    assert long.status_code == 413, "a body that does not say its length is counted"
    assert page.get("/api/ladder")["history"] == []
    planned = page.post("/api/plan", change)
    assert planned["plan"]["moves"][0]["name"] == "change_nodes"
    assert any("worker-1" in line for line in planned["words"])


def test_it_dies_and_the_service_does_not_notice(running: Deployed, page: Page) -> None:
    first = pid_of(running)
    with asked_all_the_time(running.status()["address"]) as failed:
        os.kill(first, signal.SIGSTOP)
        assert running.tenfold("status").code == 0, "one that stands still is no reason to worry"
        os.kill(first, signal.SIGKILL)
        until(lambda: pid_of(running) not in (0, first) and answers(page.address))
    assert failed == []
    assert page.post("/api/plan", {"to": "climb"})["plan"]["moves"], "a page that was open goes on"


def test_it_outlives_its_keeper_and_its_controller(running: Deployed, page: Page) -> None:
    status = running.status()
    before = pid_of(running)
    os.kill(status["controller"]["pid"], signal.SIGKILL)
    os.kill(status["keeper"]["pid"], signal.SIGKILL)
    until(lambda: not page.get("/api/picture")["keeper"])
    running.up()
    until(lambda: page.get("/api/picture")["state"] == "running")
    assert pid_of(running) == before


def test_other_settings_of_its_own_are_taken_over_at_once(running: Deployed, page: Page) -> None:
    running.spec('[dashboard]\nport = 0\nmode = "read-only"\n')
    changed = running.up()["changed"]
    assert ["dashboard.mode" in each for each in changed] == [True]
    until(lambda: dashboard_of(running).get("mode") == "read-only")
    page.open()
    assert page.get("/api/ladder")["mode"] == "read-only"
    refused = page.send("/api/do", {"to": "climb"})
    assert (refused.status_code, refused.json()["code"]) == (403, "TF-DASHBOARD-READS")
    running.spec('[dashboard]\nport = 0\nmode = "off"\n')
    assert running.up()["dashboard"] is None
    assert not answers(page.address)
    running.spec(PORT)
    assert running.up()["dashboard"]["mode"] == "full"


def test_over_the_network_it_asks_for_its_token(running: Deployed) -> None:
    running.spec('[dashboard]\nhost = "0.0.0.0"\nport = 0\n')
    running.up()
    facts = until(lambda: (found := dashboard_of(running)).get("token") and found)
    assert "token in .tenfold/secrets/dashboard-token" in running.tenfold("status").out
    page = Page(facts["address"])
    assert page.open().status_code == 401
    assert page.client.get("/api/picture").status_code == 401
    assert page.send("/api/do", {"to": "climb"}).status_code == 401
    assert page.client.get("/", params={"token": "wrong"}).status_code == 401
    token = (running.state / "secrets" / "dashboard-token").read_text().strip()
    assert (running.state / "secrets" / "dashboard-token").stat().st_mode & 0o777 == 0o600
    shown = page.client.get("/", params={"token": token})
    assert shown.status_code == 303
    assert shown.headers["location"] == "/"
    assert token not in str(shown.headers)
    page.open()
    assert page.get("/api/picture")["service"] == "small"
    assert page.post("/api/plan", {"to": "climb"})["plan"]
    for _ in range(6):
        last = page.client.get("/", params={"token": "wrong"})
    assert (last.status_code, "retry-after" in last.headers) == (429, True)
    page.close()
    running.spec(PORT)
    running.up()
    until(lambda: dashboard_of(running).get("token") is False)


def test_a_taken_port_is_no_reason_not_to_be_there(running: Deployed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()[1]
        running.spec(f"[dashboard]\nport = {taken}\n")
        running.up()
        address = until(lambda: (found := dashboard_of(running).get("address")) and answers(found) and found)
        assert not address.endswith(f":{taken}")
    running.spec(PORT)
    running.up()


def test_a_dashboard_that_cannot_start_fails_nothing(running: Deployed) -> None:
    running.spec('[dashboard]\nhost = "192.0.2.1"\n')
    up = running.tenfold("up")
    assert up.code == 0
    until(lambda: dashboard_of(running).get("state") == "failed")
    said = running.tenfold("status")
    assert said.code == 0
    assert "does not run: The dashboard cannot listen on 192.0.2.1" in said.out
    running.spec(PORT)
    assert "dashboard http://" in running.tenfold("up").out


def test_down_ends_it_with_everything_else(running: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert running.tenfold("down").code == 0
    assert running.processes() == []
    monkeypatch.setenv("TENFOLD_DASHBOARD", "off")
    assert running.up()["dashboard"] is None
    assert Path(running.state / "secrets" / "dashboard-key").exists()
