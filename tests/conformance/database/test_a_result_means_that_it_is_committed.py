from __future__ import annotations

import asyncio
import re
from contextvars import ContextVar
from pathlib import Path

import pytest
from bank import ADD_NOTE, FIND, OPEN, accounts, at_home, database, keyed, note, open_account, run
from databases import Kit, opened
from sqlalchemy import bindparam, delete

from tenfold.blocks.database import Transaction
from tenfold.core.errors import Conflict, NotFound, TenfoldError


def count(kit: Kit, where: str = "1=1") -> int:
    return int(kit.outside(f"SELECT count(*) FROM accounts WHERE {where}")[0][0])


def test_another_process_sees_the_row_when_the_result_is_there(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await open_account("anna", 7)
            assert kit.elsewhere("SELECT balance FROM accounts WHERE owner = 'anna'") == "7"

    run(work())


def test_each_of_many_callers_finds_its_row_committed(kit: Kit, tmp_path: Path) -> None:
    async def caller(number: int) -> None:
        for at in range(5):
            await open_account(f"u{number}-{at}")
            assert count(kit, f"owner = 'u{number}-{at}'") == 1

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await asyncio.gather(*[caller(number) for number in range(20)])
        assert count(kit) == 100

    run(work())


def test_a_failing_body_leaves_no_trace_and_its_neighbours_commit(kit: Kit, tmp_path: Path) -> None:
    async def fail(tx: Transaction) -> None:
        await tx.run(OPEN, owner="bad", balance=1)
        raise ValueError("no")

    async def work() -> list[object]:
        async with opened(kit, tmp_path, database):
            calls = [open_account(f"good{n}") for n in range(10)]
            calls.insert(5, keyed("bad", fail))
            return list(await asyncio.gather(*calls, return_exceptions=True))

    results = run(work())
    assert [type(result) for result in results] == [type(None)] * 5 + [ValueError] + [type(None)] * 5
    assert (count(kit), count(kit, "owner = 'bad'")) == (10, 0)


@pytest.mark.parametrize("raised", [KeyError("k"), asyncio.CancelledError(), SystemError("s"), GeneratorExit()])
def test_whatever_a_body_raises_belongs_to_its_caller_alone(kit: Kit, tmp_path: Path, raised: BaseException) -> None:
    async def fail(tx: Transaction) -> None:
        await tx.run(OPEN, owner="bad", balance=1)
        raise raised

    async def guarded() -> BaseException | None:
        try:
            await keyed("bad", fail)
        except BaseException as error:
            return error
        return None

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            error, _ = await asyncio.gather(guarded(), open_account("good"))
            assert type(error) is type(raised)
        assert (count(kit), count(kit, "owner = 'good'")) == (1, 1)

    run(work())


def test_a_conflict_is_told_only_when_the_row_in_its_way_is_committed(kit: Kit, tmp_path: Path) -> None:
    async def attempt() -> int | None:
        try:
            await open_account("anna", 1)
        except Conflict as conflict:
            assert "accounts.owner" in conflict.message  # noqa: PT017 - one of them wins
            return count(kit, "owner = 'anna'")
        return None

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            seen = await asyncio.gather(attempt(), attempt(), attempt())
            assert sorted(seen, key=str) == [1, 1, None]

    run(work())


def test_a_conflict_names_its_columns_to_the_log_and_not_to_clients(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await open_account("anna", 1)
            for refused, column in (
                (open_account("anna", 1), "accounts.owner"),
                (open_account("otto", None), "balance"),
            ):
                with pytest.raises(Conflict) as caught:
                    await refused
                assert column in str(caught.value)
                assert caught.value.for_clients
                assert not re.search("account|owner|balance|constraint|NULL", caught.value.for_clients)

    run(work())


def test_callers_that_fail_get_errors_of_their_own(kit: Kit, tmp_path: Path) -> None:
    async def work() -> list[object]:
        async with opened(kit, tmp_path, database):
            calls = [open_account("anna") for _ in range(5)]
            return list(await asyncio.gather(*calls, return_exceptions=True))

    errors = [result for result in run(work()) if result is not None]
    assert len(errors) == len({id(error) for error in errors}) == 4
    assert all(isinstance(error, Conflict) and error.status == 409 for error in errors)


def test_callbacks_run_after_the_commit_and_before_the_result(kit: Kit, tmp_path: Path) -> None:
    order: list[str] = []

    async def body(tx: Transaction) -> None:
        tx.on_commit(lambda: order.append(f"first sees {count(kit)}"))
        await tx.run(OPEN, owner="anna", balance=1)
        tx.on_commit(lambda: order.append(f"second sees {count(kit)}"))

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await keyed("anna", body)
            order.append("result")

    run(work())
    assert order == ["first sees 1", "second sees 1", "result"]


def test_callbacks_of_a_failing_body_never_run(kit: Kit, tmp_path: Path) -> None:
    called: list[int] = []

    async def body(tx: Transaction) -> None:
        tx.on_commit(lambda: called.append(1))
        raise ValueError("no")

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            with pytest.raises(ValueError, match="no"):
                await keyed("anna", body)
            await open_account("bert")

    run(work())
    assert called == []


def test_a_failing_callback_harms_nobody(kit: Kit, tmp_path: Path) -> None:
    async def body(tx: Transaction) -> None:
        tx.on_commit(lambda: 1 / 0)
        await tx.run(OPEN, owner="anna", balance=1)

    async def work() -> None:
        told: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, what: told.append(what))
        async with opened(kit, tmp_path, database):
            await asyncio.gather(keyed("anna", body), open_account("bert"))
            await open_account("carl")
        assert count(kit) == 3
        assert [type(what["exception"]) for what in told] == [ZeroDivisionError]

    run(work())


def test_a_caller_that_leaves_before_its_turn_withdraws_its_transaction(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            tasks = [asyncio.create_task(open_account(f"u{n}")) for n in range(3)]
            await asyncio.sleep(0)
            tasks[1].cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(results[1], asyncio.CancelledError)
            await open_account("last")
        assert kit.outside("SELECT owner FROM accounts ORDER BY owner") == [("last",), ("u0",), ("u2",)]

    run(work())


def test_a_body_that_began_commits_although_its_caller_left(kit: Kit, tmp_path: Path) -> None:
    called: list[int] = []

    async def work() -> None:
        async with opened(kit, tmp_path, database):

            async def body(tx: Transaction) -> None:
                await tx.run(OPEN, owner="anna", balance=1)
                tx.on_commit(lambda: called.append(1))
                task.cancel()

            task = asyncio.create_task(keyed("anna", body))
            with pytest.raises(asyncio.CancelledError):
                await task
            await open_account("last")
        assert count(kit, "owner = 'anna'") == 1
        assert called == [1]

    run(work())


def test_a_body_can_withdraw_a_neighbour_that_has_not_begun(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):

            async def body(tx: Transaction) -> None:
                other.cancel()

            first = asyncio.create_task(keyed("anna", body))
            other = asyncio.create_task(open_account("bert"))
            await asyncio.gather(first, other, return_exceptions=True)
            assert other.cancelled()
        # Where several write at once, the other may have begun; then it goes on alone.
        assert count(kit) == 0 or kit.capabilities.parallel_writers

    run(work())


def test_rows_written_are_read_in_the_same_transaction(kit: Kit, tmp_path: Path) -> None:
    async def body(tx: Transaction) -> list[object]:
        await tx.run(OPEN, owner="anna", balance=5)
        row = await tx.one(FIND, owner="anna")
        removed = await tx.run(delete(accounts).where(accounts.c.owner == bindparam("owner")), owner="anna")
        return [tuple(row), removed, await tx.one_or_none(FIND, owner="anna"), await tx.scalar(FIND, owner="anna")]

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            assert await keyed("anna", body) == [("anna", 5), 1, None, None]
            with pytest.raises(NotFound, match="TF-NO-ROW"):
                await keyed("anna", lambda tx: tx.one(FIND, owner="anna"))

    run(work())


def test_home_transactions_work_without_a_key(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await note(1, "x")
            with pytest.raises(TenfoldError, match=r"notes\.id"):
                await at_home(lambda tx: tx.run(ADD_NOTE, id=1, text="y"))
            assert kit.outside("SELECT id, text FROM notes") == [(1, "x")]

    run(work())


def test_what_a_body_sets_in_its_context_stays_there(kit: Kit, tmp_path: Path) -> None:

    variable = ContextVar("variable", default="outside")
    seen: list[str] = []

    async def body(tx: Transaction) -> None:
        seen.append(variable.get())
        variable.set("in the body")

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            variable.set("caller")
            await keyed("anna", body)
            assert variable.get() == "caller"
            await asyncio.create_task(keyed("bert", body))

    run(work())
    assert seen == ["caller", "caller"]
