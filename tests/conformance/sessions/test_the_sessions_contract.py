"""What a service relies on of its sessions, on every database."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from databases import Kit
from sessions_lab import Browser, Process, put
from sqlalchemy import MetaData

from tenfold.blocks.database.scope import RequestScope, enter_scope
from tenfold.core.errors import ContractError, InvalidRequest
from tenfold.serve.head import fingerprint_of

DAY_S = 86_400.0


def run(kit: Kit, folder: Path, test: Callable[[Process], Awaitable[None]]) -> None:
    async def work() -> None:
        async with Process(folder / "secrets").opened(kit.create(folder, MetaData())) as process:
            await test(process)

    asyncio.run(work())


def rows(kit: Kit) -> int:
    return int(kit.elsewhere(f"SELECT count(*) FROM {table(kit)}"))


def table(kit: Kit) -> str:
    return "tf.tf_session" if kit.capabilities.parallel_writers else "tf_session"


def test_what_a_request_sets_is_there_in_the_next_one(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        browser = Browser(process)
        answer = await browser.do(put("theme", "dark"))
        (cookie,) = answer.cookies
        assert re.fullmatch(r"shop_session=[\w-]{56}; Max-Age=2591999; Path=/; HttpOnly; SameSite=Lax", cookie)
        assert answer.all("cache-control") == ["no-store"]
        assert await browser.see() == {"theme": "dark"}
        process.sessions.forget()
        assert await browser.see() == {"theme": "dark"}, "and from the database"
        assert process.sessions.stats().loads == 1

    run(kit, tmp_path, test)


def test_a_visitor_who_stores_nothing_gets_no_session_no_row_and_no_cookie(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        browser = Browser(process)
        for do in (
            lambda s: s.get("x"),
            lambda s: s.pop("x"),
            lambda s: s.clear(),
            lambda s: (s.set("a", 1), s.pop("a")),
        ):
            answer = await browser.do(do)
            assert (answer.status, answer.headers) == (200, [])
        answer = await browser.send(process.sessions.rotate)
        assert (answer.status, answer.headers) == (200, [])
        assert (rows(kit), process.sessions.stats().writes) == (0, 0)

    run(kit, tmp_path, test)


def test_a_session_that_is_only_read_or_set_to_what_it_was_is_not_written(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        browser = Browser(process)
        await browser.do(lambda s: s.update({"n": 1, "cart": [{"id": 5}], "x": 1.0}))
        writes = process.sessions.stats().writes
        same: list[Any] = [
            lambda s: s["cart"][0]["id"], lambda s: s.set("n", 1), lambda s: s.pop("gone"),
            lambda s: s.set("cart", [{"id": 5}]), lambda s: (s["cart"].append(1), s["cart"].pop()),
        ]  # fmt: skip
        for do in same:
            answer = await browser.do(do)
            assert answer.cookies == []
            assert answer.all("cache-control") == ["private"], "what a session was read for is nobody else's"
        assert process.sessions.stats().writes == writes
        await browser.do(put("n", True))
        await browser.do(put("x", 1))
        assert process.sessions.stats().writes == writes + 2, "True and 1, 1.0 and 1 are different values"

    run(kit, tmp_path, test)


def test_a_list_that_is_changed_in_place_is_stored(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        browser = Browser(process)
        await browser.do(put("cart", [1]))
        await browser.do(lambda s: s["cart"].append(2))
        assert await browser.see() == {"cart": [1, 2]}
        await browser.do(lambda s: s.append("cart", 3))
        await browser.do(lambda s: (s["cart"].append(4), s.append("cart", 5, keep=3)))
        assert await browser.see() == {"cart": [3, 4, 5]}
        process.sessions.forget()
        assert await browser.see() == {"cart": [3, 4, 5]}

    run(kit, tmp_path, test)


def test_numbers_grow_and_keys_go(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        browser = Browser(process)
        assert (await browser.do(lambda s: (s.incr("n"), s.incr("n", 4), s.max("m", 3), s.max("m", 2)))).result == (
            1,
            5,
            3,
            3,
        )
        assert (await browser.do(lambda s: (s.incr("n", -1), s.pop("m")))).result == (4, 3)
        assert await browser.see() == {"n": 4}
        answer = await browser.do(lambda s: (len(s), list(s), "n" in s, "m" in s, s.keys(), s.get("m", 7)))
        assert answer.result == (1, ["n"], True, False, ["n"], 7)
        await browser.do(lambda s: s.clear())
        assert await browser.see() == {}

    run(kit, tmp_path, test)


def test_who_signs_in_has_a_new_id_and_what_was_there_before(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        browser = Browser(process)
        await browser.do(put("cart", [1]))
        before = browser.cookie
        await browser.login("ada", role="admin")
        assert browser.cookie[6:26] != before[6:26]
        assert await browser.user() == "ada"
        assert await browser.see() == {"cart": [1], "role": "admin"}
        assert (await browser.logout()).cookies == ["shop_session=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"]
        assert await browser.user() is None
        assert await browser.see() == {}

    run(kit, tmp_path, test)


def test_what_one_user_had_does_not_come_along_to_the_next(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        browser = Browser(process)
        await browser.login("ada", role="admin")
        as_ada = browser.copy()
        await browser.login("ben", colour="red")
        assert await browser.user() == "ben"
        assert await browser.see() == {"colour": "red"}
        assert await as_ada.see() == {}
        assert await as_ada.user() is None

    run(kit, tmp_path, test)


def test_a_cookie_that_was_signed_out_is_worth_nothing(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        browser = Browser(process)
        await browser.login("ada")
        replayed = browser.copy()
        await browser.logout()
        assert await replayed.user() is None
        answer = await replayed.do(put("x", 1))
        assert answer.status == 200
        assert replayed.cookie != browser.cookie, "it is a new session"
        assert await replayed.see() == {"x": 1}
        assert await replayed.user() is None

    run(kit, tmp_path, test)


def test_signing_out_and_going_on_begins_a_new_session(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        async def out_and_on(session: Any) -> None:
            await process.sessions.logout()
            session["left"] = True

        browser = Browser(process)
        await browser.login("ada", role="admin")
        before = browser.copy()
        await browser.do(out_and_on)
        assert (await browser.user(), await browser.see()) == (None, {"left": True})
        assert await before.see() == {}

    run(kit, tmp_path, test)


def test_a_request_that_fails_changes_nothing(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        def fail(session: Any) -> None:
            session["x"] = 1
            raise RuntimeError("on purpose")

        browser = Browser(process)
        await browser.do(put("x", 0))
        for answer in (await browser.do(fail), await browser.do(put("x", 2), status=503)):
            assert answer.status >= 500
            assert answer.cookies == []
        assert await browser.see() == {"x": 0}
        await browser.do(lambda s: s.incr("x"), status=404)
        assert await browser.see() == {"x": 1}, "a refusal may be counted"

    run(kit, tmp_path, test)


def test_sessions_end_when_they_are_idle_or_old(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        process.rules(7 * DAY_S, 30 * DAY_S)
        idle, busy = Browser(process), Browser(process)
        await idle.do(put("x", 1))
        await busy.do(put("x", 1))
        for days in (6, 12, 18, 24, 29):
            process.clock.put_off(days * DAY_S)
            assert await busy.see() == {"x": 1}
            await process.sessions._upkeep.write_down()
        process.sessions.forget()
        assert await busy.see() == {"x": 1}
        assert await idle.see() == {}
        process.clock.put_off(30.1 * DAY_S)
        assert await busy.see() == {}
        process.clock.put_off(0)
        assert await busy.see() == {"x": 1}, "a clock that is wrong for a moment ends nothing"

    run(kit, tmp_path, test)


def test_using_a_session_is_written_down_once_a_minute(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        browser = Browser(process)
        await browser.do(put("x", 1))
        for second in range(0, 190, 5):
            process.clock.put_off(float(second))
            await browser.see()
            await process.sessions._upkeep.write_down()
        assert process.sessions.stats().touches == 3

    run(kit, tmp_path, test)


def test_a_clock_that_steps_back_ends_no_session_and_is_made_up_for(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        browser = Browser(process)
        process.clock.put_off(3 * DAY_S)
        await browser.do(put("x", 1))
        process.clock.put_off(0)
        assert await browser.see() == {"x": 1}
        await process.sessions._upkeep.write_down()
        process.clock.put_off(8 * DAY_S)
        process.sessions.forget()
        assert await browser.see() == {}, "it was used 8 days ago, whatever the clock said then"

    run(kit, tmp_path, test)


def test_what_is_over_is_cleared_up_and_nothing_else(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        old, living, renewed = (Browser(process) for _ in range(3))
        await old.do(put("x", 1))
        await renewed.do(put("x", 1))
        process.clock.put_off(7 * DAY_S)
        await living.do(put("x", 1))
        await renewed.login("ada")
        assert await process.sessions._store.sweep() == 0
        process.clock.put_off(7.1 * DAY_S)
        assert await process.sessions._store.sweep() == 2, "the old one, and the id that was renewed"
        assert (await living.see(), await renewed.user(), rows(kit)) == ({"x": 1}, "ada", 2)

    run(kit, tmp_path, test)


def test_a_users_sessions_are_listed_and_ended_one_by_one_or_all(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        phone, laptop, other = (Browser(process) for _ in range(3))
        for browser in (phone, laptop):
            await browser.login("ada")
        await other.login("ben")
        listed = await process.sessions.of_user("ada")
        assert {info.id for info in listed} == {
            (await browser.do(lambda s: s.id_hash)).result for browser in (phone, laptop)
        }
        assert all(info.created.tzinfo is not None and info.seen >= info.created for info in listed)
        phone_id = (await phone.do(lambda s: s.id_hash)).result
        assert await process.sessions.revoke(phone_id)
        assert not await process.sessions.revoke(phone_id)
        assert (await phone.user(), await laptop.user()) == (None, "ada")
        assert await process.sessions.revoke_all("ada") == 1
        assert (await laptop.user(), await other.user()) == (None, "ben")
        assert await process.sessions.of_user("ada") == []
        for nonsense in ("", "zz", "00", phone_id + "00"):
            with pytest.raises(InvalidRequest):
                await process.sessions.revoke(nonsense)

    run(kit, tmp_path, test)


def test_the_database_holds_no_id_that_a_cookie_could_carry(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        import base64  # noqa: PLC0415 - only here

        browser = Browser(process)
        await browser.login("ada")
        raw = base64.urlsafe_b64decode(browser.cookie)
        hexed = "encode(id, 'hex')" if kit.capabilities.parallel_writers else "lower(hex(id))"
        stored = kit.elsewhere(f"SELECT {hexed} FROM {table(kit)}")
        assert stored == (await browser.do(lambda s: s.id_hash)).result
        assert raw[4:20].hex() not in stored

    run(kit, tmp_path, test)


def test_over_tls_the_cookie_cannot_be_planted(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        browser = Browser(process, scheme="https")
        (cookie,) = (await browser.do(put("x", 1))).cookies
        assert cookie.startswith("__Host-shop_session=")
        assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax; Secure")
        assert await browser.see() == {"x": 1}
        plain = await browser.do(cookies=f"shop_session={browser.cookie}")
        assert plain.result == {}, "the name without the prefix is not looked at"

    run(kit, tmp_path, test)


@pytest.mark.parametrize(
    ("declared", "then"),
    [
        ([], ["no-store"]),
        ([b"max-age=60"], ["max-age=60", "private"]),
        ([b"private, max-age=60"], ["private, max-age=60"]),
        ([b"No-Store"], ["No-Store"]),
    ],
)
def test_no_shared_cache_keeps_a_response_with_the_cookie(
    kit: Kit, tmp_path: Path, declared: list[bytes], then: list[str]
) -> None:
    async def test(process: Process) -> None:
        answers = [(b"cache-control", value) for value in declared]
        answer = await Browser(process).do(put("x", 1), answers=answers)
        assert (answer.all("cache-control"), len(answer.cookies)) == (then, 1)

    run(kit, tmp_path, test)


@pytest.mark.parametrize("declared", [b"public", b"max-age=1, Public", b"s-maxage=9"])
def test_a_public_response_carries_no_cookie_and_the_log_says_so(
    kit: Kit, tmp_path: Path, declared: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(process: Process) -> None:
        answer = await Browser(process).do(put("x", 1), answers=[(b"cache-control", declared)])
        assert (answer.status, answer.cookies, answer.all("cache-control")) == (200, [], [declared.decode()])
        assert "declared public" in caplog.text

    run(kit, tmp_path, test)


def test_a_session_is_asked_for_in_a_request_and_changed_before_its_response(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        kept: list[Any] = []
        await Browser(process).do(kept.append)
        with pytest.raises(ContractError) as late:
            kept[0]["x"] = 1
        assert late.value.code == "TF-SESSION-LATE"
        with pytest.raises(ContractError) as nowhere:
            await process.sessions.current()
        assert nowhere.value.code == "TF-SESSION-SCOPE"

    run(kit, tmp_path, test)


def test_hot_routes_have_sessions_too_and_their_kept_answers_stay_clean(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        first, second = Browser(process), Browser(process)
        for browser in (first, second, first):
            answer = await browser.do(method="GET", path="/hot")
            assert (answer.body, len(answer.cookies)) == (b"hot", 1)
        assert (await first.see(), await second.see()) == ({"hot": 2}, {"hot": 1})
        assert all(name != b"set-cookie" for name, _ in process.hot_answer.headers)

    run(kit, tmp_path, test)


def test_a_websocket_reads_and_changes_a_session_but_begins_none(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        async def on_socket(cookie: str, key: str) -> Any:
            scope = RequestScope()
            scope.http = {
                "type": "websocket",
                "scheme": "ws",
                "headers": [(b"cookie", f"shop_session={cookie}".encode())],
            }
            enter_scope(scope)
            session = await process.sessions.current()
            session[key] = 1
            await session.save()
            await session.save()
            return dict(session.items())

        browser = Browser(process)
        await browser.do(put("x", 0))
        assert await asyncio.create_task(on_socket(browser.cookie, "y")) == {"x": 0, "y": 1}
        assert await browser.see() == {"x": 0, "y": 1}
        with pytest.raises(ContractError) as refused:
            await asyncio.create_task(on_socket("", "y"))
        assert refused.value.code == "TF-SESSION-SOCKET"

    run(kit, tmp_path, test)


def test_saving_in_the_middle_of_a_request_stores_each_change_once(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        async def twice(session: Any) -> None:
            session.incr("n")
            await session.save()
            session.incr("n")

        browser = Browser(process)
        for headers in ([], [(b"idempotency-key", b"first")], [(b"idempotency-key", b"second")]):
            assert (await browser.do(twice, headers=headers)).status == 200
        assert await browser.see() == {"n": 6}

    run(kit, tmp_path, test)


def test_a_keyed_request_that_comes_again_counts_once(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        browser, other = Browser(process), Browser(process)
        await browser.do(put("n", 0))
        await other.do(put("n", 0))
        for client in (browser, browser.copy(), other):  # the same key from somebody else is his own request
            await client.do(lambda s: s.incr("n"), headers=[(b"idempotency-key", b"k")])
        process.sessions.forget()
        assert (await browser.see(), await other.see()) == ({"n": 1}, {"n": 1})

    run(kit, tmp_path, test)


def test_the_same_idempotency_key_never_gives_somebody_elses_session(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        victim, attacker = Browser(process), Browser(process)
        for browser in (victim, attacker):
            await browser.do(lambda s: s.incr("n"), headers=[(b"idempotency-key", b"1")])
        assert victim.cookie[6:26] != attacker.cookie[6:26]
        await victim.do(put("secret", 1))
        assert await attacker.see() == {"n": 1}

    run(kit, tmp_path, test)


def test_one_key_in_two_sessions_is_two_requests_and_one_session_may_repeat_its_own(kit: Kit, tmp_path: Path) -> None:
    async def test(process: Process) -> None:
        one, other = Browser(process), Browser(process)
        for browser in (one, other):
            await browser.do(put("n", 0))

        def named(browser: Browser, body: bytes = b"{}") -> bytes:
            scope = {
                "method": "POST", "path": "/", "scheme": "http",
                "headers": [(b"cookie", f"shop_session={browser.cookie}".encode())] if browser.cookie else [],
            }  # fmt: skip
            return fingerprint_of(scope, body, process.sessions.visitor(scope))

        assert named(one) == named(one.copy()) != named(other)
        assert named(Browser(process)) not in (named(one), named(other))
        before = named(one)
        await one.do(lambda s: s.incr("n"))
        assert named(one) == before, "a change of the session does not make a repeated request another one"

    run(kit, tmp_path, test)
