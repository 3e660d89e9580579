"""Quarantine, reports, the end by visits, and quotas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from shortener.app import app
from shortener.model import tf
from shortener.quotas import ANONYMOUS_LINKS, LOGINS_OF_A_NAME

DATA = "/api/v1/data"
TARGET = "https://example.com/harmful"
PASSWORD = "correct horse battery"


def test_a_name_that_is_to_be_an_administrator_s_cannot_be_taken_by_being_quick(during: Callable[..., None]):
    async def body(running: Any) -> None:
        visitor = await running.visitor()
        answer = await visitor.send("/signup", {"name": "boss", "password": PASSWORD})
        assert (answer.status_code, "reserved" in answer.text) == (400, True)

    during(body, admins="boss")


def test_a_quarantined_link_warns_at_once_and_leads_on_again_when_it_is_released(during: Callable[..., None]):
    async def body(running: Any) -> None:
        boss, alice = await running.visitor("boss"), await running.visitor("alice")
        code = await alice.make(TARGET)
        program = await running.client()
        assert (await program.get(f"/{code}")).status_code == 302
        assert (await boss.client.get("/admin")).status_code == 404, "not named yet"

        names_an_admin(boss="boss")
        reported = await alice.send(
            "/report", {"code": f"http://testserver/{code}+", "reason": "malware", "text": "<b>"}
        )
        assert reported.headers["location"] == "/report?thanks=1"
        page = await boss.client.get("/admin")
        assert code in page.text
        assert "&lt;b&gt;" in page.text
        assert (await alice.client.get("/admin")).status_code == 404
        stolen = await alice.send("/admin", {"code": code, "action": "quarantine"}, page="/")
        assert stolen.status_code == 404
        form = {"code": code, "reason": "It asks for passwords.", "action": "quarantine"}
        assert (await boss.send("/admin", form)).status_code == 303
        for path in (f"/{code}", f"/api/v1/{code}", f"/{code}+"):
            stopped = await program.get(path)
            assert (stopped.status_code, stopped.headers.get("location")) == (403, None)
            assert "quarantine" in stopped.json()["detail"]
        warning = await alice.client.get(f"/{code}")
        assert warning.status_code == 403
        assert "This link was stopped" in warning.text
        assert "It asks for passwords." in warning.text
        assert f'href="{TARGET}"' not in warning.text
        edited = {"url": "https://example.com/harmless", "expires_in": "", "max_visits": ""}
        await alice.send(f"/dashboard/{code}", edited)
        assert (await program.get(f"/{code}")).status_code == 403, "its owner cannot lift it"
        assert "Nothing was reported" in (await boss.client.get("/admin")).text

        key = await boss.key(quarantine="yes")
        lifted = await program.delete(f"{DATA}/links/{code}/quarantine", headers=key)
        assert (lifted.status_code, lifted.json()["quarantined_at"]) == (200, None)
        assert (await program.get(f"/{code}")).status_code == 302
        again = await program.put(f"{DATA}/links/{code}/quarantine", json={"reason": "again"}, headers=key)
        assert again.json()["quarantined_at"] is not None
        assert (await program.get(f"{DATA}/reports", headers=key)).json() == {"reports": []}
        assert (await program.put(f"{DATA}/links/nothing-here/quarantine", headers=key)).status_code == 404
        names_an_admin()
        assert (await program.delete(f"{DATA}/links/{code}/quarantine", headers=key)).status_code == 403

    during(body)


def names_an_admin(**names: str) -> None:
    """As a new map would, when tenfold.toml was changed."""
    assert tf.map is not None
    settings = {**tf.map.settings, "admins": " ".join(names)}
    app.adopt(msgspec.structs.replace(tf.map, epoch=tf.map.epoch + 1, settings=settings))


def test_reports_that_make_no_sense_are_refused(during: Callable[..., None]):
    async def body(running: Any) -> None:
        program = await running.client()
        code = (await program.post(f"{DATA}/shorten", json={"url": TARGET})).json()["code"]
        for fields, status in (
            ({"code": code, "reason": "spam"}, 202),
            ({"code": code, "reason": "boring"}, 400),
            ({"code": code}, 400),
            ({"code": code, "reason": "spam", "text": "x" * 501}, 400),
            ({"code": "nothing-here", "reason": "spam"}, 404),
            ({"code": "../x", "reason": "spam"}, 404),
        ):
            answer = await program.post(f"{DATA}/reports", json=fields)
            assert answer.status_code == status, fields
        assert (await program.get(f"{DATA}/reports")).status_code == 401

    during(body)


def test_a_link_for_three_visits_gives_three_and_is_gone_for_good(during: Callable[..., None]):
    async def body(running: Any) -> None:
        alice = await running.visitor("alice")
        code = await alice.make(TARGET, max_visits="3")
        visitor = await running.client()
        statuses = [(await visitor.get(f"/{code}")).status_code for _ in range(10)]
        assert statuses == [302] * 3 + [410] * 7
        assert (await visitor.get(f"/{code}", headers={"accept": "text/html"})).status_code == 410

        async def is_spent() -> bool:
            return "All visits made" in (await alice.client.get(f"/dashboard/{code}")).text

        await running.until(is_spent)
        assert (await visitor.get(f"/{code}")).status_code == 410
        more = {"url": TARGET, "expires_in": "", "max_visits": "5"}
        assert (await alice.send(f"/dashboard/{code}", more)).status_code == 303
        assert [(await visitor.get(f"/{code}")).status_code for _ in range(3)] == [302, 302, 410]

    during(body, redirect_status=301)


def test_a_link_whose_visits_were_made_cannot_be_asked_for_again(during: Callable[..., None]):
    async def body(running: Any) -> None:
        visitor = await running.client()
        order = {"url": TARGET, "alias": "once-only", "max_visits": 1}
        assert [(await visitor.post(f"{DATA}/shorten", json=order)).status_code for _ in range(2)] == [201, 200]
        assert [(await visitor.get("/once-only")).status_code for _ in range(2)] == [302, 410]

        async def is_taken() -> bool:
            return (await visitor.post(f"{DATA}/shorten", json=order)).status_code == 409

        await running.until(is_taken)
        assert (await visitor.get("/once-only")).status_code == 410

    during(body)


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "many", "1000000001", "9" * 40])
def test_numbers_of_visits_that_make_no_sense_are_refused_at_their_field(during: Callable[..., None], count: str):
    async def body(running: Any) -> None:
        visitor = await running.visitor()
        answer = await visitor.send("/", {"url": TARGET, "max_visits": count})
        assert (answer.status_code, 'id="max_visits-error"' in answer.text) == (400, True)

    during(body)


def test_links_of_nobody_are_limited_by_address_and_programs_on_this_machine_are_not(during: Callable[..., None]):
    async def body(running: Any) -> None:
        here, there, elsewhere = [await running.client(ip) for ip in ("127.0.0.1", "198.51.100.7", "2001:db8::1")]
        most = ANONYMOUS_LINKS.burst
        order = {"url": TARGET}
        assert {(await here.post(f"{DATA}/shorten", json=order)).status_code for _ in range(most + 5)} == {201}
        statuses = [(await there.post(f"{DATA}/shorten", json=order)).status_code for _ in range(most + 2)]
        assert statuses == [201] * most + [429] * 2
        refused = await there.post(f"{DATA}/shorten", json=order)
        assert int(refused.headers["retry-after"]) > 0
        assert refused.headers["content-type"] == "application/problem+json"
        page = await there.post("/", data={"url": TARGET}, headers={"accept": "text/html"})
        assert (page.status_code, f'value="{TARGET}"' in page.text) == (429, True)
        assert (await elsewhere.post(f"{DATA}/shorten", json=order)).status_code == 201
        behind = {"x-forwarded-for": "203.0.113.9"}
        proxied = [
            (await here.post(f"{DATA}/shorten", json=order, headers=behind)).status_code for _ in range(most + 1)
        ]
        assert proxied[-1] == 429, "a proxy on this machine is not this machine"

    during(body)


def test_the_exception_for_this_machine_can_be_ended(during: Callable[..., None]):
    async def body(running: Any) -> None:
        here = await running.client()
        order = {"url": TARGET}
        statuses = [
            (await here.post(f"{DATA}/shorten", json=order)).status_code for _ in range(ANONYMOUS_LINKS.burst + 1)
        ]
        assert statuses[-1] == 429

    during(body, limit_this_machine=True)


def test_passwords_of_a_name_are_tried_so_often_only_wherever_that_comes_from(during: Callable[..., None]):
    async def body(running: Any) -> None:
        await running.visitor("alice")
        form = {"name": "Alice ", "password": "wrong password"}
        for number in range(LOGINS_OF_A_NAME.burst):
            visitor = await running.visitor(address=f"198.51.100.{number}")
            assert (await visitor.send("/login", form)).status_code == 401
        late = await running.visitor(address="198.51.100.200")
        refused = await late.send("/login", form | {"password": PASSWORD})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0

    during(body)
