"""New ids and ended sessions, while other requests of the same session are on their way."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from databases import Kit
from sessions_lab import Browser, Process, put
from sessions_lab import run_two as run

GRACE_S = 30.0


def renewed(browser: Browser) -> Any:
    return browser.send(browser.process.sessions.rotate)


def test_the_id_before_sees_the_same_users_session_for_half_a_minute(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.login("ada", n=1)
        parallel = browser.copy()
        await renewed(browser)
        assert parallel.cookie[6:26] != browser.cookie[6:26]
        for late in (parallel, parallel.at(there)):
            assert (await late.user(), "n" in await late.see()) == ("ada", True)
            assert (await late.do(lambda s: s.incr("n"))).cookies == [], "it has the new cookie already"
        here.sessions.forget()
        assert await browser.see() == {"n": 3}
        for process in (here, there):
            process.clock.put_off(GRACE_S + 1)
        assert (await parallel.user(), await parallel.at(there).user()) == (None, None)
        assert await browser.see() == {"n": 3}

    run(kit, tmp_path, test)


def test_a_planted_id_is_worth_nothing_once_its_victim_signs_in(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        attacker = Browser(here)
        await attacker.do(put("cart", ["planted"]))
        victim = attacker.copy()
        await victim.login("ada", role="admin")
        for process in (here, there):
            again = attacker.copy().at(process)
            assert await again.user() is None
            assert await again.see() == {"cart": ["planted"]}, "what was there before, and nothing of the user's"
            answer = await again.do(lambda s: s.append("cart", "more"))
            assert (answer.status, b"TF-SESSION-RENEWED" in answer.body, answer.cookies) == (409, True, [])
        assert await victim.see() == {"cart": ["planted"], "role": "admin"}
        here.clock.put_off(GRACE_S + 1)
        assert await attacker.see() == {}

    run(kit, tmp_path, test)


def test_a_change_that_meets_a_sign_in_is_not_lost_silently(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.do(put("cart", [1]))
        tab = browser.copy().at(there)

        async def handler(session: Any) -> None:
            await browser.login("ada")
            session.append("cart", 2)

        answer = await tab.do(handler)
        assert (answer.status, b"TF-SESSION-RENEWED" in answer.body) == (409, True)
        assert (await browser.at(there).do(lambda s: s.append("cart", 2))).status == 200
        assert await browser.see() == {"cart": [1, 2]}

    run(kit, tmp_path, test)


def test_a_change_that_meets_a_renewal_reaches_the_new_session(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.login("ada")
        tab = browser.copy().at(there)

        async def handler(session: Any) -> None:
            await renewed(browser)
            session["tab"] = 1

        assert (await tab.do(handler)).status == 200
        async with asyncio.timeout(2):
            while await browser.see() != {"tab": 1}:
                await asyncio.sleep(0.001)

    run(kit, tmp_path, test)


def test_two_tabs_that_sign_in_at_once_both_stay_signed_in(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.do(put("cart", [1]))
        tabs = [browser.copy().at(process) for process in (here, there, here, there)]
        answers = await asyncio.gather(*(tab.login("ada") for tab in tabs))
        assert [answer.status for answer in answers] == [200] * 4
        here.clock.put_off(GRACE_S + 1)
        for tab in tabs:  # whichever cookie came last
            assert (await tab.at(here).user(), await tab.at(here).see()) == ("ada", {"cart": [1]})

    run(kit, tmp_path, test)


def test_a_response_that_arrives_after_the_one_of_a_sign_in_does_not_sign_out(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.do(put("n", 1))
        late = await browser.copy().do(put("n", 2))  # stored before the sign-in; its response is on its way
        await browser.login("ada")
        assert late.cookies
        for text in late.cookies:
            browser.keep(text)
        assert (await browser.user(), await browser.see()) == ("ada", {"n": 2})

    run(kit, tmp_path, test)


def test_who_presses_sign_in_twice_is_signed_in_by_both(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.do(put("cart", [1]))
        second = browser.copy().at(there)
        await browser.login("ada")
        assert (await second.login("ada")).status == 200
        for each in (browser, second):
            assert (await each.user(), await each.see()) == ("ada", {"cart": [1]})

    run(kit, tmp_path, test)


def test_signing_out_or_renewing_with_an_id_that_somebody_signed_in_with_is_to_be_sent_again(
    kit: Kit, tmp_path: Path
) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.do(put("cart", [1]))
        late = browser.copy()
        await browser.login("ada")
        for call in (here.sessions.logout, here.sessions.rotate):
            answer = await late.send(call)
            assert (answer.status, answer.cookies) == (409, []), "a cookie would take away the new one"
        assert await browser.user() == "ada"

    run(kit, tmp_path, test)


def test_renewing_does_not_make_a_session_live_longer_and_signing_in_does(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        here.rules(100.0, 100.0)
        first, second = Browser(here), Browser(here)
        for browser in (first, second):
            await browser.login("ada")
        here.clock.put_off(90.0)
        (cookie,) = (await renewed(first)).cookies
        assert "; Max-Age=9; " in cookie
        await second.login("ada")
        here.clock.put_off(105.0)
        assert (await first.user(), await second.user()) == (None, "ada")

    run(kit, tmp_path, test)


def test_what_is_revoked_ends_here_at_once_and_elsewhere_within_milliseconds(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.login("ada")
        assert await browser.at(there).user() == "ada"
        assert await here.sessions.revoke_all("ada") == 1
        assert await browser.user() is None
        async with asyncio.timeout(2):
            while await browser.at(there).user() is not None:
                await asyncio.sleep(0.001)

    run(kit, tmp_path, test)


def test_a_request_that_began_before_a_revocation_brings_nothing_back(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        for end in ("revoke", "revoke_all", "logout"):
            for late in ("change", "rotate"):
                browser = Browser(here)
                await browser.login("ada")
                tab = browser.copy().at(there)

                async def handler(session: Any, browser: Browser = browser, end: str = end, late: str = late) -> None:
                    if end == "logout":
                        await browser.logout()
                    elif end == "revoke":
                        await here.sessions.revoke(session.id_hash)
                    else:
                        await here.sessions.revoke_all("ada")
                    if late == "rotate":
                        await there.sessions.rotate()
                    session["late"] = 1

                answer = await tab.do(handler)
                assert (answer.status, answer.cookies) == (200, []), (end, late)
                assert (await tab.user(), await tab.see()) == (None, {}), (end, late)
        assert await here.sessions.of_user("ada") == []

    run(kit, tmp_path, test)


def test_signing_out_with_the_id_before_ends_the_new_one_too(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.login("ada")
        parallel = browser.copy()
        await renewed(browser)
        await parallel.logout()
        assert (await browser.user(), await here.sessions.of_user("ada")) == (None, [])

    run(kit, tmp_path, test)


@pytest.mark.parametrize("seed", range(3))
def test_no_session_survives_revoke_all_however_it_races_with_renewals(kit: Kit, tmp_path: Path, seed: int) -> None:
    async def test(here: Process, there: Process) -> None:
        draw = random.Random(seed)
        for _ in range(10):
            tabs = [Browser(draw.choice((here, there))) for _ in range(5)]
            for tab in tabs:
                await tab.login("ada")

            async def renew(tab: Browser) -> None:
                for _ in range(draw.randrange(3)):
                    await asyncio.sleep(0)
                await renewed(tab)
                await tab.do(lambda s: s.incr("n"))

            async def revoke() -> None:
                for _ in range(draw.randrange(12)):
                    await asyncio.sleep(0)
                await here.sessions.revoke_all("ada")

            await asyncio.gather(*(renew(tab) for tab in tabs), revoke())
            assert await here.sessions.of_user("ada") == []

    run(kit, tmp_path, test)
