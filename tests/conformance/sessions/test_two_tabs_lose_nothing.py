"""Requests of one session at the same moment, in one process and in two: each change is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from databases import Kit
from sessions_lab import Browser, Process, put
from sessions_lab import run_two as run

TABS = 20


async def together(*requests: Awaitable[Any]) -> None:
    for answer in await asyncio.gather(*requests):
        assert answer.status == 200, answer.body


def test_two_tabs_that_change_different_keys_keep_both(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.do(put("x", 0))
        gate = asyncio.Barrier(TABS)

        async def tab(number: int) -> Any:
            async def handler(session: Any) -> None:
                await gate.wait()
                session[f"tab{number}"] = number

            return await browser.at((here, there)[number % 2]).do(handler)

        await together(*(tab(number) for number in range(TABS)))
        wanted = {"x": 0} | {f"tab{number}": number for number in range(TABS)}
        for process in (here, there):
            assert await browser.at(process).see() == wanted

    run(kit, tmp_path, test)


def test_numbers_lists_and_maxima_come_together(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.do(put("n", 100))
        gate = asyncio.Barrier(TABS)

        async def tab(number: int) -> Any:
            async def handler(session: Any) -> None:
                await gate.wait()
                session.incr("n", 2)
                session.append("list", number)
                session.max("most", number)

            return await browser.at((here, there)[number % 2]).do(handler)

        await together(*(tab(number) for number in range(TABS)))
        seen = await browser.see()
        assert (seen["n"], sorted(seen["list"]), seen["most"]) == (100 + 2 * TABS, list(range(TABS)), TABS - 1)

    run(kit, tmp_path, test)


def test_of_one_key_the_last_writer_wins_and_a_removed_one_stays_away(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.do(lambda s: s.update({"a": 1, "b": 1}))
        first, second = asyncio.Event(), asyncio.Event()

        async def early(session: Any) -> None:
            session["a"] = "early"
            session.pop("b")

        async def late(session: Any) -> None:
            first.set()
            await second.wait()
            session["a"] = "late"

        slow = asyncio.create_task(browser.at(there).do(late))
        await first.wait()
        await together(browser.do(early))
        second.set()
        await together(slow)
        assert await browser.see() == {"a": "late"}

    run(kit, tmp_path, test)


def test_a_client_never_reads_behind_its_own_cookie_in_another_process(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.do(put("n", 0))
        there.tf.database.listen("tf:session", lambda texts: None)  # it hears nothing of what others change
        assert await browser.at(there).see() == {"n": 0}
        for number in range(1, 30):
            await browser.do(put("n", number))
            assert await browser.at(there).see() == {"n": number}

    run(kit, tmp_path, test)


def test_a_client_that_saw_another_ones_change_never_reads_behind_it(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.do(put("n", 0))
        watcher = browser.copy()  # a client of its own: its cookies know nothing of what the browser changes
        there.tf.database.listen("tf:session", lambda texts: None)  # it hears nothing of what others change
        for number in range(1, 30):
            assert await watcher.at(there).see() == {"n": number - 1}
            await browser.do(put("n", number))
            assert await watcher.see() == {"n": number}
            assert (await watcher.do()).cookies == [], "once is enough"
            assert await watcher.at(there).see() == {"n": number}

    run(kit, tmp_path, test)


def test_other_processes_read_a_change_within_milliseconds(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.do(put("n", 0))
        watcher = browser.copy().at(there)  # its cookie knows nothing of later versions
        assert await watcher.see() == {"n": 0}
        for number in range(1, 6):
            await browser.do(put("n", number))
            async with asyncio.timeout(2):
                while (await watcher.see()) != {"n": number}:
                    await asyncio.sleep(0.001)
        assert there.sessions.stats().loads < 20, "and in between it reads its own memory"

    run(kit, tmp_path, test)


def test_two_tabs_that_together_hold_too_much_are_told_so(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.do(put("x", 0))
        gate = asyncio.Barrier(2)

        async def tab(name: str) -> Any:
            async def handler(session: Any) -> None:
                await gate.wait()
                session[name] = "x" * 20_000

            return await browser.do(handler)

        answers = await asyncio.gather(tab("a"), tab("b"))
        assert sorted(answer.status for answer in answers) == [200, 422]
        (refused,) = [answer for answer in answers if answer.status == 422]
        assert b"TF-SESSION-SIZE" in refused.body
        assert len(await browser.see()) == 2

    run(kit, tmp_path, test)


def test_a_number_that_another_tab_made_a_text_is_a_conflict(kit: Kit, tmp_path: Path) -> None:
    async def test(here: Process, there: Process) -> None:
        browser = Browser(here)
        await browser.do(put("n", 1))

        async def handler(session: Any) -> None:
            await browser.at(there).do(put("n", "text"))
            session.incr("n")

        answer = await browser.do(handler)
        assert (answer.status, b"TF-SESSION-KIND" in answer.body) == (409, True)
        assert await browser.see() == {"n": "text"}

    run(kit, tmp_path, test)
