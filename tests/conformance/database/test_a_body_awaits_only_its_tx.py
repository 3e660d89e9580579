from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from bank import ADD_NOTE, FIND, OPEN, database, keyed, note, open_account, run
from databases import Kit, opened

from tenfold.blocks.database import Transaction
from tenfold.core.errors import Conflict, ContractError

Body = Callable[[Transaction], Awaitable[Any]]


async def sleeps(tx: Transaction) -> None:
    await tx.run(OPEN, owner="anna", balance=1)
    await asyncio.sleep(0)  # here: sleeps


async def waits_for_a_future(tx: Transaction) -> None:
    await asyncio.get_running_loop().create_future()  # here: waits_for_a_future


async def waits_for_a_lock(tx: Transaction) -> None:
    lock = asyncio.Lock()
    await lock.acquire()
    async with lock:  # here: waits_for_a_lock
        pass


async def _numbers() -> AsyncIterator[int]:
    yield 1
    await asyncio.sleep(0)
    yield 2


async def iterates(tx: Transaction) -> None:
    async for _ in _numbers():  # here: iterates
        pass


async def _helper() -> None:
    await _deeper()


async def _deeper() -> None:
    await asyncio.sleep(3600)  # here: calls_a_helper


async def calls_a_helper(tx: Transaction) -> None:
    await _helper()


async def sleeps_in_finally(tx: Transaction) -> None:
    try:
        await asyncio.sleep(0)  # here: sleeps_in_finally
    finally:
        await tx.run(OPEN, owner="anna", balance=2)
        await asyncio.sleep(0)


async def never_gives_up(tx: Transaction) -> None:
    for _ in range(5):
        try:
            await asyncio.sleep(0)  # here: never_gives_up
        except GeneratorExit:
            continue


async def runs_statements_at_once(tx: Transaction) -> None:
    first, second = tx.scalar(FIND, owner="anna"), tx.scalar(FIND, owner="anna")
    try:
        await asyncio.gather(first, second)  # here: runs_statements_at_once
    finally:
        pass


BODIES: list[Body] = [
    sleeps,
    waits_for_a_future,
    waits_for_a_lock,
    iterates,
    calls_a_helper,
    sleeps_in_finally,
    never_gives_up,
]


def marked_line(name: str) -> int:
    lines, _ = inspect.findsource(inspect.getmodule(sleeps) or sleeps)
    return next(at for at, line in enumerate(lines, 1) if line.rstrip().endswith(f"# here: {name}"))


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_awaiting_anything_else_is_refused_by_line_and_leaves_nothing(kit: Kit, tmp_path: Path, body: Body) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            first, second, third = await asyncio.gather(
                open_account("bert"), keyed("anna", body), open_account("carl"), return_exceptions=True
            )
            assert isinstance(second, ContractError)
            assert second.code == "TF-TX-1"
            assert f"{__file__}, line {marked_line(body.__name__)})" in second.message
            assert "awaits something other than its tx" in second.message
            assert (first, third) == (None, None)
            await open_account("anna", 3)
        assert kit.outside("SELECT owner, balance FROM accounts ORDER BY owner") == [
            ("anna", 3), ("bert", 0), ("carl", 0),
        ]  # fmt: skip

    run(work())


def test_statements_of_one_tx_cannot_run_at_once(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            with pytest.raises(ContractError, match=r"TF-TX-1"):
                await keyed("anna", runs_statements_at_once)

    run(work())


def test_nested_scopes_are_refused(kit: Kit, tmp_path: Path) -> None:
    async def reads(tx: Transaction) -> None:
        async with database.read("anna"):
            pass

    async def fans_out(tx: Transaction) -> None:
        async with database.fanout():
            pass

    async def nests(tx: Transaction) -> None:
        await open_account("anna")

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            assert not database.in_transaction()
            for body, what in (
                (reads, "A read scope"),
                (fans_out, "A fanout"),
                (nests, "The transaction open_account"),
            ):
                with pytest.raises(ContractError, match=rf"TF-TX-2: {what} was opened inside a transaction's body"):
                    await keyed("anna", body)
            assert await keyed("anna", in_transaction) is True
            assert not database.in_transaction()
        assert kit.outside("SELECT count(*) FROM accounts") == [(0,)]

    run(work())


async def in_transaction(tx: Transaction) -> bool:
    return database.in_transaction()


def test_a_statement_error_cannot_be_swallowed(kit: Kit, tmp_path: Path) -> None:
    async def goes_on(tx: Transaction) -> str:
        with contextlib.suppress(Conflict):
            await tx.run(OPEN, owner="anna", balance=2)
        return "fine"

    async def tries_again(tx: Transaction) -> None:
        try:
            await tx.run(OPEN, owner="anna", balance=2)
        except Conflict:
            await tx.one(FIND, owner="anna")

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await open_account("anna", 1)
            for body in (goes_on, tries_again):
                with pytest.raises(ContractError, match=r"TF-TX-3: .* went on after a statement had failed") as caught:
                    await keyed("anna", body)
                assert "let the error out" in caught.value.hint
                assert isinstance(caught.value.__cause__ or caught.value.__context__, Conflict)
        assert kit.outside("SELECT owner, balance FROM accounts") == [("anna", 1)]

    run(work())


def test_a_tx_is_over_when_its_body_is(kit: Kit, tmp_path: Path) -> None:
    kept: list[Transaction] = []

    async def body(tx: Transaction) -> None:
        kept.append(tx)

    async def fails(tx: Transaction) -> None:
        kept.append(tx)
        raise ValueError

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await asyncio.gather(keyed("anna", body), keyed("anna", fails), return_exceptions=True)
            assert len(kept) == 2
            for tx in kept:
                with pytest.raises(ContractError, match="TF-TX-5: A tx was used after its transaction had ended"):
                    await tx.run(OPEN, owner="anna", balance=1)
                with pytest.raises(ContractError, match="TF-TX-5"):
                    await tx.all(FIND, owner="anna")
                with pytest.raises(ContractError, match="TF-TX-5"):
                    tx.on_commit(list)

    run(work())


def test_results_that_are_not_annotated_must_be_plain(kit: Kit, tmp_path: Path) -> None:
    @database.transaction(key="owner")
    async def listed(tx: Transaction, owner: str, result: object):  # type: ignore[no-untyped-def]
        await tx.run(OPEN, owner=owner, balance=1)
        return result

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            for number, result in enumerate((None, True, 7, 1.5, "text")):
                assert await listed(f"u{number}", result) == result
            with pytest.raises(ContractError, match=r"TF-TX-4: .*listed returns a list without saying so.*Annotate"):
                await listed("refused", [1])
        assert kit.outside("SELECT count(*) FROM accounts WHERE owner = 'refused'") == [(0,)]

    run(work())


def test_annotations_that_cannot_be_stored_show_on_the_first_run(kit: Kit, tmp_path: Path) -> None:
    @database.transaction(key="owner")
    async def unusable(tx: Transaction, owner: str) -> "Nowhere":  # type: ignore[name-defined]  # noqa: F821, UP037
        await tx.run(OPEN, owner=owner, balance=1)

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            with pytest.raises(ContractError, match=r"TF-TX-4: .*its return annotation is not usable"):
                await unusable("anna")
        assert kit.outside("SELECT count(*) FROM accounts") == [(0,)]

    run(work())


def test_a_transaction_is_an_async_function_whose_key_is_one_of_its_arguments() -> None:
    with pytest.raises(ContractError, match=r"TF-TX-6: .*plain is not an async function"):

        @database.transaction()
        def plain(tx: Transaction) -> None:
            pass

    with pytest.raises(ContractError, match=r"TF-TX-6: .*has no argument owner, which its key names.*: who\."):

        @database.transaction(key="owner")
        async def lost(tx: Transaction, who: str) -> None:
            pass


@pytest.mark.parametrize("isolation", ["read committed", "read uncommitted", "none"])
def test_a_service_has_no_transaction_that_sees_commits_of_others_between_its_statements(isolation: Any) -> None:
    before = list(database.transactions)
    with pytest.raises(ContractError, match=rf'TF-TX-7: .*weak asks for the isolation "{isolation}".*"snapshot"'):

        @database.transaction(isolation=isolation)
        async def weak(tx: Transaction) -> None:
            pass

    assert database.transactions == before


def test_the_key_is_found_wherever_the_caller_puts_it(kit: Kit, tmp_path: Path) -> None:
    @database.transaction(key="owner")
    async def by_name(tx: Transaction, *rest: int, owner: str = "anna") -> int:
        return await tx.run(OPEN, owner=owner, balance=sum(rest))

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await by_name(1, 2)
            await by_name(3, owner="bert")
            await open_account(balance=9, owner="carl")
            with pytest.raises(Exception, match="TF-VALUE: Found None; a key is text, a whole number or a UUID"):
                await open_account(None)  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                await open_account()  # type: ignore[call-arg]
        assert kit.outside("SELECT owner, balance FROM accounts ORDER BY owner") == [
            ("anna", 3), ("bert", 3), ("carl", 9),
        ]  # fmt: skip

    run(work())


def test_a_key_and_the_home_shard_do_not_mix(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            with pytest.raises(ContractError, match=r"TF-KEY-4: notes: this belongs to the home shard"):
                await keyed("anna", lambda tx: tx.run(ADD_NOTE, id=1, text="x"))
            await note(1)

    run(work())
