"""Accounts, and the pages of those who have one: through the forms, with their tokens and cookies."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from shortener.accounts import passwords
from shortener.accounts.keys import make_key
from shortener.accounts.names import check_name, check_password
from shortener.links.making import Wanted, make_link
from shortener.refusal import Refusal

PASSWORD = "correct horse battery"
TARGET = "https://example.com/a/page"


@pytest.mark.parametrize("name", ["", "ab", "a b c", "-abc", "abc.", "a" * 33, "Ünal", "admin", "a\x00b", "a/b"])
def test_names_that_nobody_may_have(name: str):
    with pytest.raises(Refusal) as caught:
        check_name(name)
    assert caught.value.field == "name"


def test_a_name_has_one_spelling():
    assert check_name(" Alice.B ") == "alice.b"


@pytest.mark.parametrize(
    "password", ["", "short", "aaaaaaaaaaaa", "abababababab", "longer-name", "eman-regnol", "x" * 201]
)
def test_passwords_that_nobody_may_have(password: str):
    with pytest.raises(Refusal) as caught:
        check_password(password, "longer-name")
    assert caught.value.field == "password"


def test_a_password_is_stored_as_a_hash_and_unknown_names_cost_the_same_work(monkeypatch: pytest.MonkeyPatch):
    async def body() -> None:
        stored = await passwords.hashed(PASSWORD)
        assert stored.startswith("$argon2id$")
        assert PASSWORD not in stored
        assert await passwords.is_right(stored, PASSWORD)
        assert not await passwords.is_right(stored, PASSWORD + "x")
        assert not await passwords.is_right("no hash", PASSWORD)
        worked: list[str] = []
        verify = passwords._hasher.verify
        monkeypatch.setattr(
            passwords, "_hasher", type("Counted", (), {"verify": lambda _, h, p: worked.append(h) or verify(h, p)})()
        )
        assert not await passwords.is_right(None, "a password that nobody has")
        assert worked[0].split("$")[:4] == stored.split("$")[:4], "the same parameters, so the same work"

    passwords._nobodys()
    asyncio.run(body())


def test_from_signing_up_to_the_end(during: Callable[..., None]):
    async def body(running: Any) -> None:
        alice = await running.visitor("Alice")
        page = await alice.client.get("/dashboard")
        assert "No links yet" in page.text
        refused = await alice.client.get("/login")
        assert (refused.status_code, refused.headers["location"]) == (303, "/dashboard")
        assert (await alice.send("/logout", {}, page="/")).status_code == 303
        away = await alice.client.get("/dashboard")
        assert (away.status_code, away.headers["location"]) == (303, "/login?next=/dashboard")
        for name, password in (("alice", "wrong password"), ("nobody", PASSWORD), ("", ""), ("\x00", "x")):
            wrong = await alice.send("/login", {"name": name, "password": password})
            assert wrong.status_code == 401
            assert "There is no account with this name and this password." in wrong.text
        right = await alice.send("/login", {"name": "ALICE", "password": PASSWORD, "next": "/account"})
        assert (right.status_code, right.headers["location"]) == (303, "/account")
        taken = await (await running.visitor()).send("/signup", {"name": "alice", "password": PASSWORD})
        assert (taken.status_code, "The name alice is taken" in taken.text) == (409, True)

    during(body)


@pytest.mark.parametrize("path", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_logging_in_leads_nowhere_else(during: Callable[..., None], path: str):
    async def body(running: Any) -> None:
        visitor = await running.visitor()
        answer = await visitor.send("/signup", {"name": "alice", "password": PASSWORD, "next": path})
        assert answer.headers["location"] == "/dashboard"

    during(body)


def test_logging_in_gives_another_session_id_and_no_form_works_without_its_token(during: Callable[..., None]):
    async def body(running: Any) -> None:
        visitor = await running.visitor("alice")
        before = dict(visitor.client.cookies)
        await visitor.send("/logout", {}, page="/")
        await visitor.send("/login", {"name": "alice", "password": PASSWORD})
        assert visitor.client.cookies["shortener_session"] != before["shortener_session"]
        code = await visitor.make(TARGET)
        forms = ("/", "/logout", f"/dashboard/{code}", f"/dashboard/{code}/delete", "/account/keys", "/account/delete")
        for path in (*forms, "/account/password", "/login", "/signup", "/report", "/settings/language"):
            for token in ("", "x" * 43):
                answer = await visitor.client.post(path, data={"csrf": token, "url": TARGET, "leave": PASSWORD})
                assert answer.status_code == 403, path
        from_elsewhere = {"sec-fetch-site": "cross-site"}
        stranger = await running.client(accept="text/html")
        answer = await stranger.post("/", data={"url": TARGET}, headers=from_elsewhere)
        assert (answer.status_code, "another site" in answer.text) == (403, True)
        assert (await visitor.client.get(f"/{code}")).status_code == 302

    during(body)


def test_a_password_is_changed_and_all_other_sessions_end(during: Callable[..., None]):
    async def body(running: Any) -> None:
        here, there = await running.visitor("alice"), await running.visitor()
        await there.send("/login", {"name": "alice", "password": PASSWORD})
        form = {"old": "wrong password", "password": "another good password"}
        wrong = await here.send("/account/password", form, page="/account")
        assert (wrong.status_code, "This is not the password of the account." in wrong.text) == (403, True)
        done = await here.send("/account/password", form | {"old": PASSWORD}, page="/account")
        assert done.status_code == 303
        assert "The password is changed" in (await here.client.get(done.headers["location"])).text
        assert (await there.client.get("/dashboard")).status_code == 303
        again = await there.send("/login", {"name": "alice", "password": PASSWORD})
        assert again.status_code == 401
        assert (await there.send("/login", {"name": "alice", "password": form["password"]})).status_code == 303

    during(body)


def test_links_are_listed_newest_first_changed_and_deleted(during: Callable[..., None]):
    async def body(running: Any) -> None:
        alice, mallory = await running.visitor("alice"), await running.visitor("mallory")
        codes = [await alice.make(f"https://example.com/{number}", alias=f"link-{number:02}") for number in range(23)]

        async def listed(path: str = "/dashboard") -> list[str]:
            return re.findall(r'href="/dashboard/([^"/]+)"', (await alice.client.get(path)).text)

        async def complete() -> bool:
            return (await listed())[:1] == codes[-1:]

        await running.until(complete)
        page = await alice.client.get("/dashboard")
        older = re.search(r'href="(/dashboard\?after=[^"]+)"', page.text)
        assert older is not None
        assert await listed() + await listed(older[1]) == codes[::-1]
        assert (await alice.client.get("/dashboard?after=nonsense")).status_code == 200

        code = codes[0]
        assert (await alice.client.get(f"/{code}")).headers["location"] == "https://example.com/0"
        edited = {"url": "https://example.com/new", "expires_in": "", "max_visits": ""}
        assert (await mallory.client.get(f"/dashboard/{code}")).status_code == 404
        stolen = await mallory.send(f"/dashboard/{code}", edited, page="/")
        assert stolen.status_code == 404
        wrong = await alice.send(f"/dashboard/{code}", edited | {"url": "javascript:x"})
        assert (wrong.status_code, "javascript: address cannot be shortened" in wrong.text) == (400, True)
        assert (await alice.send(f"/dashboard/{code}", edited)).status_code == 303
        assert (await alice.client.get(f"/{code}")).headers["location"] == "https://example.com/new"

        assert (await mallory.send(f"/dashboard/{code}/delete", {}, page="/")).status_code == 404
        gone = await alice.send(f"/dashboard/{code}/delete", {}, page="/")
        assert f"The link {code} is deleted." in (await alice.client.get(gone.headers["location"])).text
        assert (await alice.client.get(f"/{code}")).status_code == 410
        taken = await mallory.send("/", {"url": TARGET, "alias": code})
        assert taken.status_code == 409, "what was printed somewhere must not lead to somebody else"

        async def unlisted() -> bool:
            return code not in await listed(older[1])

        await running.until(unlisted)

    during(body)


def test_an_account_that_is_deleted_takes_its_links_and_keys_with_it(during: Callable[..., None]):
    async def body(running: Any) -> None:
        alice = await running.visitor("alice")
        code, key = await alice.make(TARGET), await alice.key()
        wrong = await alice.send("/account/delete", {"leave": "wrong password"}, page="/account")
        assert (wrong.status_code, 'id="leave-error"' in wrong.text) == (403, True)
        assert (await alice.send("/account/delete", {"leave": PASSWORD}, page="/account")).status_code == 303
        assert (await alice.client.get("/dashboard")).status_code == 303
        again = await alice.send("/login", {"name": "alice", "password": PASSWORD})
        assert again.status_code == 401
        program = await running.client()

        async def all_gone() -> bool:
            link = await program.get(f"/{code}")
            answer = await program.get("/api/v1/data/links", headers=key)
            return (link.status_code, answer.status_code) == (410, 401)

        await running.until(all_gone)
        await alice.sign_up("alice")
        assert "No links yet" in (await alice.client.get("/dashboard")).text

    during(body)


def test_what_was_on_its_way_while_an_account_ended_ends_too(during: Callable[..., None]):
    async def body(running: Any) -> None:
        alice = await running.visitor("alice")
        key = await alice.key()
        owner = key["authorization"].split("_")[1]
        await alice.send("/account/delete", {"leave": PASSWORD}, page="/account")
        program = await running.client()

        async def ended() -> bool:
            return (await program.get("/api/v1/data/links", headers=key)).status_code == 401

        await running.until(ended)
        with pytest.raises(Refusal, match="not valid"):
            await make_key(owner, "alice", "late")
        made = await make_link(Wanted(TARGET, owner=owner))

        async def deleted() -> bool:
            return (await program.get(f"/{made.code}")).status_code == 410

        await running.until(deleted)

    during(body)


def test_pages_speak_korean_to_who_wants_it_also_when_they_refuse(during: Callable[..., None]):
    async def body(running: Any) -> None:
        visitor = await running.visitor()
        visitor.client.headers["accept-language"] = "ko-KR,ko;q=0.9"
        page = await visitor.client.get("/")
        assert '<html lang="ko">' in page.text
        assert "긴 주소를 넣으면" in page.text
        refused = await visitor.send("/", {"url": "http://localhost/"})
        assert "내부 호스트로 가는 링크는 만들지 않습니다." in refused.text
        assert "아무것도 없습니다" in (await visitor.client.get("/nothing-here")).text
        chosen = await visitor.send("/settings/language", {"language": "en", "next": "/report"}, page="/")
        assert (chosen.status_code, chosen.headers["location"]) == (303, "/report")
        assert '<html lang="en">' in (await visitor.client.get("/")).text
        program = await running.client(**{"accept-language": "ko"})
        answer = await program.post("/api/v1/data/shorten", json={"url": "http://localhost/"})
        assert answer.json()["detail"].startswith("The host localhost is not on the public internet")

    during(body)
