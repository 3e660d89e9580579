"""The interface for programs: keys, links, figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from shortener.visits.record import record_visit

DATA = "/api/v1/data"
TARGET = "https://example.com/a/page"


def assert_problem(answer: httpx.Response, status: int, says: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]


def test_a_link_is_made_listed_changed_and_deleted(during: Callable[..., None]):
    async def body(running: Any) -> None:
        key = await (await running.visitor("alice")).key()
        program = await running.client(**key)
        order = {"url": TARGET, "alias": "by-program", "expires_in": "7d", "max_visits": 100}
        made = await program.post(f"{DATA}/shorten", json=order)
        assert made.status_code == 201
        assert made.json()["max_visits"] == 100
        assert (await program.post(f"{DATA}/shorten", json={"url": TARGET})).status_code == 201

        async def is_listed() -> bool:
            return len((await program.get(f"{DATA}/links")).json()["links"]) == 2

        await running.until(is_listed)
        listed = (await program.get(f"{DATA}/links")).json()
        assert [listed["links"][1]["code"], listed["next"]] == ["by-program", None]
        ends = {"expires_at", "max_visits", "spent_at", "quarantined_at"}
        assert set(listed["links"][0]) == {"code", "short_url", "url", "created_at", "visits"} | ends
        where = f"{DATA}/links/by-program"
        changed = await program.patch(where, json={"url": "https://example.com/b", "expires_at": None})
        assert changed.status_code == 200
        assert changed.json()["expires_at"] is None
        assert changed.json()["max_visits"] == 100, "what is not named stays"
        one = (await program.get(where)).json()
        assert (one["url"], one["visits"]) == ("https://example.com/b", 0)
        assert (await program.get("/by-program")).headers["location"] == "https://example.com/b"
        assert_problem(await program.patch(where, json={}), 400, "nothing to change")
        assert_problem(await program.patch(where, json={"alias": "x"}), 400, "'alias' is unknown")
        assert_problem(await program.patch(where, json={"max_visits": 0}), 400, "1 to 1,000,000,000 visits")
        assert_problem(await program.patch(where, json={"url": None}), 400, "not null")
        assert (await program.delete(where)).status_code == 204
        assert_problem(await program.delete(where), 404, "You have no link with this code")
        assert_problem(await program.get(where), 404, "You have no link")

    during(body)


def test_nobody_gets_in_without_a_key_in_force_or_to_others_links(during: Callable[..., None]):
    async def body(running: Any) -> None:
        alice, mallory = await running.visitor("alice"), await running.visitor("mallory")
        code, key = await alice.make(TARGET), await mallory.key()
        stranger = await running.client()
        assert_problem(await stranger.get(f"{DATA}/links"), 401, "An API key is needed")
        for text in ("Bearer nonsense", "Basic abc", f"{key['authorization'][:-1]}!", key["authorization"][:-1] + "0"):
            answer = await stranger.get(f"{DATA}/links", headers={"authorization": text})
            assert_problem(answer, 401, "not valid")
            assert answer.headers["www-authenticate"].startswith("Bearer")
        wrong = await running.client(authorization="Bearer x")
        assert_problem(await wrong.post(f"{DATA}/shorten", json={"url": TARGET}), 401, "not valid")
        program = await running.client(**key)
        for method, path, content in (
            ("GET", "", None), ("PATCH", "", {"url": TARGET}), ("DELETE", "", None), ("GET", "/stats", None),
        ):  # fmt: skip
            answer = await program.request(method, f"{DATA}/links/{code}{path}", json=content)
            assert_problem(answer, 404, "You have no link with this code")
        assert_problem(await program.put(f"{DATA}/links/{code}/quarantine"), 403, "the right quarantine")
        with_session = await alice.client.get(f"{DATA}/links", headers={"accept": "application/json"})
        assert with_session.status_code == 401, "a cookie is no key: no other site can use it here"

    during(body)


def test_keys_are_shown_once_listed_and_revoked_at_once(during: Callable[..., None]):
    async def body(running: Any) -> None:
        alice = await running.visitor("alice")
        first = await alice.key("the first key")
        program = await running.client(**first)
        made = await program.post(f"{DATA}/keys", json={"label": "  another \n key "})
        assert made.status_code == 201
        secret = made.json()["key"]
        listed = (await program.get(f"{DATA}/keys")).json()["keys"]
        assert [key["label"] for key in listed] == ["the first key", "another key"]
        assert all("key" not in key and "hash" not in key for key in listed)
        assert secret not in (await alice.client.get("/account")).text

        async def use_is_noted() -> bool:
            return (await program.get(f"{DATA}/keys")).json()["keys"][0]["last_used_at"] is not None

        await running.until(use_is_noted)
        other = await running.client(authorization=f"Bearer {secret}")
        assert (await other.get(f"{DATA}/links")).status_code == 200
        assert (await program.delete(f"{DATA}/keys/{made.json()['id']}")).status_code == 204
        assert (await other.get(f"{DATA}/links")).status_code == 401
        assert_problem(await program.delete(f"{DATA}/keys/{made.json()['id']}"), 404, "no key")
        assert_problem(await program.post(f"{DATA}/keys", json={"label": ""}), 400, "Say what the key is for")
        assert_problem(await program.post(f"{DATA}/keys", json={"label": "x" * 61}), 400, "at most 60")
        assert_problem(await program.post(f"{DATA}/keys", json={"label": "x", "rights": ["quarantine"]}), 403, "cannot")
        assert_problem(await program.post(f"{DATA}/keys", json={"label": "x", "rights": ["all"]}), 400, "cannot")
        for number in range(19):
            await program.post(f"{DATA}/keys", json={"label": f"key {number}"})
        assert_problem(await program.post(f"{DATA}/keys", json={"label": "one more"}), 409, "at most 20 keys")

    during(body)


def test_an_idempotency_key_makes_one_link_and_shows_a_key_once(during: Callable[..., None]):
    async def body(running: Any) -> None:
        key = await (await running.visitor("alice")).key()
        program = await running.client(**key, **{"idempotency-key": "the-same"})
        links = [await program.post(f"{DATA}/shorten", json={"url": TARGET}) for _ in range(2)]
        assert links[0].status_code == 201, links[0].text
        assert links[0].text == links[1].text
        again = await program.post(f"{DATA}/keys", json={"label": "once"}, headers={"idempotency-key": "other"})
        twice = await program.post(f"{DATA}/keys", json={"label": "once"}, headers={"idempotency-key": "other"})
        assert again.json()["key"] is not None
        assert twice.json()["id"] == again.json()["id"]
        assert twice.json()["key"] is None, "it was shown the first time; only its hash is kept"

    during(body)


def test_visits_become_figures(during: Callable[..., None]):
    async def body(running: Any) -> None:
        alice = await running.visitor("alice")
        code, key = await alice.make(TARGET), await alice.key()
        program = await running.client(**key)
        visitor = await running.client(**{"user-agent": "Mozilla/5.0 (iPhone) Mobile"})
        for number in range(6):
            referrer = {"referer": "https://www.news.example.org/page"} if number % 2 else {}
            assert (await visitor.get(f"/{code}", headers=referrer)).status_code == 302
        await visitor.head(f"/{code}")
        record_visit("no-such-link", None, None)

        async def counted() -> bool:
            return bool((await program.get(f"{DATA}/links/{code}/stats")).json()["total"] == 6)

        await running.until(counted)
        stats = (await program.get(f"{DATA}/links/{code}/stats", params={"days": "7"})).json()
        assert len(stats["days"]) == 7
        assert sum(day["visits"] for day in stats["days"]) == 6
        assert {row["host"]: row["visits"] for row in stats["referrers"]} == {"": 3, "news.example.org": 3}
        assert stats["devices"] == [{"device": "phone", "visits": 6}]
        assert stats["last_visit_at"] is not None
        for days in ("0", "366", "-1", "x", "9" * 30):
            assert_problem(await program.get(f"{DATA}/links/{code}/stats", params={"days": days}), 400, "1 to 365")
        page = (await alice.client.get(f"/dashboard/{code}/stats?days=7")).text
        assert "<svg" in page
        assert "news.example.org" in page
        assert page.count('<th scope="row"><time') == 7, "the plot's figures are also a table"
        assert " style=" not in page

    during(body)
