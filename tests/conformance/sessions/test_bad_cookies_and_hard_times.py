"""Forged and doubled cookies, new keys, a database that is away: what visitors meet then."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from databases import Kit
from sessions_lab import Browser, Process, put, run_two
from sqlalchemy import MetaData

from tenfold.core.errors import ContractError
from tenfold.core.keyring import KeyRing
from tenfold.core.randomness import SYSTEM_RANDOMNESS


def test_a_forged_cookie_is_no_session_and_asks_the_database_nothing(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.login("ada")
        good = browser.cookie
        for bad in (
            good[:-1],
            good[:-1] + ("A" if good[-1] != "A" else "B"),
            "x" * 56,
            "",
            "a" * 30_000,
            "\x7f\x01",
            "ä",
        ):
            answer = await browser.do(cookies=f"shop_session={bad}")
            assert (answer.status, answer.result, answer.cookies) == (200, {}, [])
        stats = here.sessions.stats()
        assert (stats.loads, stats.refused) == (0, 7)

    run_two(kit, tmp_path, test)


def test_a_second_cookie_of_the_name_signs_nobody_in(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        victim, attacker = Browser(here), Browser(here)
        await victim.login("ada")
        await attacker.login("eve")
        old = victim.cookie
        await victim.do(put("n", 1))
        for first, second in ((victim, attacker), (attacker, victim)):
            both = f"shop_session={first.cookie}; shop_session={second.cookie}"
            assert (await victim.do(lambda s: s.user, cookies=both)).result is None
        for both in (
            f"shop_session={old}; shop_session={victim.cookie}",
            f"shop_session=x; shop_session={victim.cookie}",
        ):
            assert (await victim.do(lambda s: s.user, cookies=both)).result == "ada"

    run_two(kit, tmp_path, test)


def test_new_keys_sign_and_old_cookies_count_in_every_process_without_a_restart(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser, later = Browser(here), Browser(here)
        await browser.login("ada")
        assert await browser.at(there).user() == "ada"
        KeyRing(tmp_path / "secrets" / "session-keys", here.clock, SYSTEM_RANDOMNESS).rotate(86_400)
        assert await browser.at(there).user() == "ada"
        async with asyncio.timeout(5):
            while later.cookie[:6] in ("", browser.cookie[:6]):
                later.jar.clear()
                await later.login("ben")
                await asyncio.sleep(0.05)
        assert await later.at(there).user() == "ben"

    run_two(kit, tmp_path, test)


def test_forms_are_bound_to_the_session_and_masked(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        ada, eve = Browser(here), Browser(here)
        for browser, user in ((ada, "ada"), (eve, "eve")):
            await browser.login(user)
        token = (await ada.send(here.sessions.csrf_token)).result
        assert (await ada.send(here.sessions.csrf_token)).result != token
        assert (await ada.at(there).send(lambda: there.sessions.check_csrf(token))).status == 200
        by_header = await ada.send(here.sessions.check_csrf, headers=[(b"x-csrf-token", token.encode())])
        assert by_header.status == 200
        # The first character: some bits of the last one may stand for nothing.
        for wrong in (("B" if token[0] == "A" else "A") + token[1:], "", None):
            refused = await ada.send(lambda wrong=wrong: here.sessions.check_csrf(wrong))
            assert (refused.status, b"TF-CSRF" in refused.body) == (403, True)
        assert (await eve.send(lambda: here.sessions.check_csrf(token))).status == 403
        await ada.send(here.sessions.rotate)
        assert (await ada.send(lambda: here.sessions.check_csrf(token))).status == 403, "a page from before"

    run_two(kit, tmp_path, test)


def test_forms_of_visitors_without_a_session_need_their_cookie(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        visitor, other = Browser(here), Browser(here)
        answer = await visitor.send(here.sessions.csrf_token, method="GET")
        assert [text.partition("=")[0] for text in answer.cookies] == ["shop_session_csrf"]
        assert answer.all("cache-control") == ["no-store"]
        token = answer.result
        again = await visitor.send(here.sessions.csrf_token)
        assert again.cookies == [], "it has the cookie"
        assert again.all("cache-control") == ["private"], "and its token is nobody else's"
        assert (await visitor.at(there).send(lambda: there.sessions.check_csrf(token))).status == 200
        assert (await other.send(lambda: here.sessions.check_csrf(token))).status == 403
        await other.send(here.sessions.csrf_token)
        assert (await other.send(lambda: here.sessions.check_csrf(token))).status == 403
        await visitor.do(put("cart", 1))
        assert (await visitor.send(lambda: here.sessions.check_csrf(token))).status == 200, "the page is still open"
        await visitor.login("ada")
        assert (await visitor.send(lambda: here.sessions.check_csrf(token))).status == 403
        assert here.sessions.stats().writes == 2

    run_two(kit, tmp_path, test)


def test_the_form_on_the_page_that_begins_a_session_can_be_sent(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        for begin in (lambda s: s.set("x", 1), lambda s: here.sessions.login("ada")):
            browser = Browser(here)

            async def page(session: object, begin: object = begin) -> str:
                begun = begin(session)  # type: ignore[operator]
                if begun is not None:
                    await begun
                return await here.sessions.csrf_token()

            token = (await browser.do(page)).result
            assert (await browser.at(there).send(lambda token=token: there.sessions.check_csrf(token))).status == 200

    run_two(kit, tmp_path, test)


def test_what_a_session_cannot_hold_is_refused_where_it_is_set(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.do(put("x", 1))
        refused = {
            "TF-SESSION-KEY": put("a\nb", 1),
            "TF-SESSION-VALUE": put("a", {1, 2}),
            "TF-SESSION-SIZE": put("a", "x" * 40_000),
        }
        for code, do in refused.items():
            answer = await browser.do(do)
            assert (answer.status, code.encode() in answer.body, answer.cookies) == (422, True, [])
        assert (await browser.send(lambda: here.sessions.login("a\x00"))).status == 422
        assert await browser.see() == {"x": 1}
        answer = await browser.do(lambda s: [s.set(f"k{number}", 1) for number in range(64)])
        assert (answer.status, b"TF-SESSION-SIZE" in answer.body) == (422, True)
        assert len(await browser.see()) == 64, "what fitted is there, as in any dict"

    run_two(kit, tmp_path, test)


def test_while_the_database_is_away_who_has_a_session_gets_503_and_who_has_none_is_served(
    kit: Kit, tmp_path: Path
) -> None:
    async def work() -> None:
        process = Process(tmp_path / "secrets")
        browser = Browser(process)
        async with process.opened(kit.create(tmp_path, MetaData())):
            await browser.login("ada")
        process.sessions.forget()
        answer = await browser.do()
        assert (answer.status, b"TF-CLOSED" in answer.body) == (503, True)
        answer = await Browser(process).do()
        assert (answer.status, answer.result) == (200, {}), "a visitor without a cookie needs no database"

    asyncio.run(work())


def test_a_session_is_not_changed_inside_the_body_of_a_transaction_by_a_read(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        @here.tf.database.transaction()
        async def body(tx: object) -> None:
            await here.sessions.current()

        browser = Browser(here)
        await browser.login("ada")
        here.sessions.forget()
        answer = await browser.send(body)
        assert answer.status == 500
        with pytest.raises(ContractError):
            await here.sessions.current()

    run_two(kit, tmp_path, test)
