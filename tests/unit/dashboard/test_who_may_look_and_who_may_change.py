"""The policy of the dashboard, request by request: every attack that it is there against, and the ordinary ways in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenfold.dashboard.policy import (
    BODY_MAX,
    CLIENTS_MAX,
    LONGEST_WAIT_S,
    TRIES,
    Asked,
    Rules,
    Tries,
    csrf_fits,
    csrf_of,
    names_of,
    pass_of,
    refusal,
    token_fits,
)
from tenfold.topology.door import is_loopback

LOCAL = Rules("full", True, names_of("127.0.0.1", []), "key")
OPEN = Rules("full", False, names_of("0.0.0.0", ["Box.example.com"]), "key", "0123456789abcdef")
LOOK = Asked("GET", "/api/picture", "127.0.0.1:8001")
DO = Asked(
    "POST",
    "/api/do",
    "127.0.0.1:8001",
    origin="http://127.0.0.1:8001",
    fetch_site="same-origin",
    content_type="application/json",
    length=20,
    csrf=csrf_of(LOCAL, "browser"),
    cookie="browser",
)


def status(rules: Rules, asked: Asked) -> int:
    refused = refusal(rules, asked)
    return 200 if refused is None else refused.status


def test_the_page_on_this_machine_looks_and_changes() -> None:
    assert status(LOCAL, LOOK) == 200
    assert status(LOCAL, DO) == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9", "localhost", "LOCALHOST:8001", "[::1]:8001", "127.9.9.9"])
def test_names_of_this_machine_are_ours(host: str) -> None:
    assert status(LOCAL, replace(LOOK, host=host)) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8001", "127.0.0.1.evil.example", "localhost.evil.example", "", "10.0.0.7",
     "[fe80::1]", "user@127.0.0.1", "[::1", "127.0.0.1 evil", "0x7f.1", "127.0.0.1\x00"],
)  # fmt: skip
def test_a_name_that_was_made_to_resolve_to_us_is_refused(host: str) -> None:
    assert status(LOCAL, replace(LOOK, host=host)) == 421
    assert status(LOCAL, replace(DO, host=host, origin=f"http://{host}")) == 421


def test_on_the_network_addresses_and_the_machines_own_names_are_ours() -> None:
    known = pass_of(OPEN)
    for host in ("10.0.0.7:8001", "[fe80::1]:8001", "box.example.com", "BOX.example.com.:8001", "localhost"):
        assert status(OPEN, replace(LOOK, host=host, pass_=known)) == 200, host
    assert status(OPEN, replace(LOOK, host="evil.example", pass_=known)) == 421


@pytest.mark.parametrize("pass_", ["", "0123456789abcdef", "x" * 64, pass_of(replace(OPEN, token="another"))])
def test_on_the_network_nothing_is_answered_without_the_token(pass_: str) -> None:
    for asked in (LOOK, replace(DO, csrf=csrf_of(OPEN, "browser")), replace(LOOK, path="/")):
        assert status(OPEN, replace(asked, pass_=pass_)) == 401


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:8002"}, 403),
        ({"origin": "https://127.0.0.1:8001.evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "file://"}, 403),
        ({"origin": ""}, 200),  # programs, which send none and have no cookies of a browser
        ({"fetch_site": "cross-site"}, 403),
        ({"fetch_site": "same-site"}, 403),  # another port of this machine
        ({"fetch_site": ""}, 200),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({"content_type": "Application/JSON; charset=utf-8"}, 200),
        ({"csrf": ""}, 403),
        ({"csrf": csrf_of(LOCAL, "another")}, 403),
        ({"csrf": csrf_of(replace(LOCAL, key="another"), "browser")}, 403),
        ({"cookie": ""}, 403),
        ({"cookie": "", "csrf": csrf_of(LOCAL, "")}, 403),
        ({"length": BODY_MAX}, 200),
        ({"length": BODY_MAX + 1}, 413),
    ],
)
def test_only_our_own_page_changes_something(change: dict[str, object], wanted: int) -> None:
    assert status(LOCAL, replace(DO, **change)) == wanted


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_read_only_dashboard_refuses_whatever_is_not_a_look(method: str) -> None:
    refused = refusal(replace(LOCAL, mode="read-only"), replace(DO, method=method))
    assert refused is not None
    assert (refused.status, refused.code) == (403, "TF-DASHBOARD-READS")
    assert status(replace(LOCAL, mode="read-only"), LOOK) == 200


def test_another_sites_page_may_lead_here_and_not_take_the_places_of_viewers() -> None:
    assert status(LOCAL, replace(LOOK, path="/", fetch_site="cross-site")) == 200
    assert status(LOCAL, replace(LOOK, path="/api/feed", fetch_site="cross-site")) == 403
    assert status(LOCAL, replace(LOOK, path="/api/feed", fetch_site="same-site")) == 403


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("LocalHost", True),
     ("0.0.0.0", False), ("::", False), ("10.1.2.3", False), ("box.example.com", False), ("localhost.example", False)],
)  # fmt: skip
def test_what_only_this_machine_reaches_is_known(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_a_loopback_dashboard_is_not_called_by_the_machines_name() -> None:
    assert names_of("127.0.0.1", ["box"]) == {"localhost", "127.0.0.1"}
    assert "box" in names_of("::", ["Box."])


def test_tokens_are_bound_to_their_browser_and_to_their_secret() -> None:
    assert csrf_fits(LOCAL, "browser", csrf_of(LOCAL, "browser"))
    assert not csrf_fits(LOCAL, "browser", csrf_of(LOCAL, "browser")[:-1])
    assert not csrf_fits(LOCAL, "browser", "é")
    assert token_fits(OPEN, OPEN.token)
    assert not token_fits(OPEN, OPEN.token[:-1])
    assert not token_fits(LOCAL, "")
    assert OPEN.token not in repr(OPEN)
    assert "'key'" not in repr(OPEN)


def test_wrong_tokens_make_their_sender_wait_ever_longer() -> None:
    tries, now = Tries(), 100.0
    waits = []
    for _ in range(TRIES + 8):
        tries.wrong("10.0.0.7", now)
        waits.append(tries.wait_s("10.0.0.7", now))
    assert waits[: TRIES - 1] == [0.0] * (TRIES - 1)
    assert waits[TRIES - 1 : TRIES + 3] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == LONGEST_WAIT_S
    assert tries.wait_s("10.0.0.8", now) == 0.0, "others do not wait for him"
    assert tries.wait_s("10.0.0.7", now + LONGEST_WAIT_S) == 0.0
    tries.right("10.0.0.7")
    tries.wrong("10.0.0.7", now)
    assert tries.wait_s("10.0.0.7", now) == 0.0


def test_many_senders_take_no_more_memory() -> None:
    tries = Tries()
    for number in range(CLIENTS_MAX + 50):
        tries.wrong(str(number), 0.0)
    assert len(tries._wrong) == CLIENTS_MAX
