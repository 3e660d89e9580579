from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from bank import FIND, OPEN, SET, database, note, open_account, run
from databases import Kit, opened

from tenfold.blocks.database import Transaction
from tenfold.blocks.database.commits import RETENTION_S
from tenfold.blocks.database.scope import RequestScope, enter_scope, leave_scope
from tenfold.blocks.database.token import EMPTY
from tenfold.core.errors import Conflict, ContractError, InvalidRequest

runs: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    runs.clear()


@contextmanager
def request(key: str | None, fingerprint: bytes = b"same") -> Iterator[RequestScope]:
    scope = RequestScope(idempotency_key=key, fingerprint=fingerprint)
    entered = enter_scope(scope)
    try:
        yield scope
    finally:
        leave_scope(entered)


async def in_request(key: str | None, work: Awaitable[Any], fingerprint: bytes = b"same") -> Any:
    with request(key, fingerprint):
        return await work


@database.transaction(key="owner")
async def deposit(tx: Transaction, owner: str, amount: int) -> int:
    runs.append(owner)
    balance = await tx.scalar(SELECT_BALANCE, owner=owner)
    if balance is None:
        await tx.run(OPEN, owner=owner, balance=amount)
        return amount
    await tx.run(SET, of=owner, balance=balance + amount)
    return int(balance) + amount


KEYED_ROWS = "SELECT count(*) FROM tf_commit WHERE result <> ''"
SELECT_BALANCE = FIND.with_only_columns(FIND.selected_columns.balance)


def test_a_repeated_request_gets_the_first_result_without_running_the_body(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            assert await in_request("k1", deposit("anna", 5)) == 5
            assert await in_request("k1", deposit("anna", 5)) == 5
            assert await in_request("k2", deposit("anna", 5)) == 10
            assert await in_request(None, deposit("anna", 5)) == 15
            assert await deposit("anna", 5) == 20
        assert runs == ["anna"] * 4

    run(work())


def test_the_result_outlives_the_process(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        config = kit.create(tmp_path, database.metadata)
        for _ in range(3):
            await database.start(config, print)
            assert await in_request("k1", deposit("anna", 5)) == 5
            await database.stop()
        assert runs == ["anna"]

    run(work())


def test_a_key_used_for_another_request_is_refused(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await in_request("k1", deposit("anna", 5), b"one")
            with pytest.raises(InvalidRequest, match=r"TF-IDEM-1: .*used before for a different request") as caught:
                await in_request("k1", deposit("anna", 7), b"two")
            assert (caught.value.status, caught.value.public) == (422, True)
            assert "new key" in caught.value.hint
        assert kit.outside("SELECT balance FROM accounts") == [(5,)]

    run(work())


def test_transactions_of_one_request_are_told_apart_by_their_order(kit: Kit, tmp_path: Path) -> None:
    async def handler() -> list[int]:
        return [await deposit("anna", 1), await deposit("bert", 2), await deposit("anna", 3)]

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            assert await in_request("k1", handler()) == [1, 2, 4]
            assert await in_request("k1", handler()) == [1, 2, 4]
        assert runs == ["anna", "bert", "anna"]

    run(work())


def test_a_request_cut_off_in_the_middle_is_completed_by_its_replay(kit: Kit, tmp_path: Path) -> None:
    async def handler(fail: bool) -> list[int]:
        first = await deposit("anna", 1)
        if fail:
            raise ConnectionError
        return [first, await deposit("bert", 2)]

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            with pytest.raises(ConnectionError):
                await in_request("k1", handler(fail=True))
            assert await in_request("k1", handler(fail=False)) == [1, 2]
        assert runs == ["anna", "bert"]

    run(work())


def test_duplicates_at_the_same_time_run_once(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            calls = [in_request("k1", deposit("anna", 5)) for _ in range(20)]
            assert await asyncio.gather(*[asyncio.create_task(call) for call in calls]) == [5] * 20
        assert runs == ["anna"]
        assert kit.outside("SELECT balance FROM accounts") == [(5,)]

    run(work())


def test_a_failure_is_not_remembered(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await open_account("anna", 1)
            with pytest.raises(Conflict):
                await in_request("k1", open_account("anna", 2))
            await in_request("k1", deposit("anna", 4))
        assert kit.outside("SELECT balance FROM accounts") == [(5,)]

    run(work())


def test_a_replay_calls_no_callbacks(kit: Kit, tmp_path: Path) -> None:
    called: list[int] = []

    @database.transaction(key="owner")
    async def calling(tx: Transaction, owner: str) -> None:
        tx.on_commit(lambda: called.append(1))

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await in_request("k1", calling("anna"))
            await in_request("k1", calling("anna"))
        assert called == [1]

    run(work())


class Point(NamedTuple):
    x: int
    y: float


@dataclasses.dataclass
class Order:
    number: int
    points: list[Point]


class Receipt(msgspec.Struct):
    text: str
    order: Order | None = None


@database.transaction(key="owner")
async def number(tx: Transaction, owner: str) -> int:
    return 2**62


@database.transaction(key="owner")
async def point(tx: Transaction, owner: str) -> Point:
    return Point(1, 2.5)


@database.transaction(key="owner")
async def order(tx: Transaction, owner: str) -> Order:
    return Order(1, [Point(1, 2.0), Point(3, 4.0)])


@database.transaction(key="owner")
async def receipt(tx: Transaction, owner: str) -> Receipt | None:
    return Receipt("é€\U0001f600", Order(7, []))


@database.transaction(key="owner")
async def pairs(tx: Transaction, owner: str) -> tuple[tuple[str, int], ...]:
    return (("a", 1), ("b", 2))


@database.transaction(key="owner")
async def blob(tx: Transaction, owner: str) -> bytes:
    return b"\x00\xff"


@database.transaction()
async def nothing(tx: Transaction, owner: str) -> None:
    return None


@pytest.mark.parametrize("function", [number, point, order, receipt, pairs, blob, nothing])
def test_first_and_repeated_results_are_the_same_value_of_the_same_type(
    kit: Kit, tmp_path: Path, function: Any
) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            plain = await function("anna")
            first = await in_request("k1", function("anna"))
            second = await in_request("k1", function("anna"))
            assert plain == first == second
            assert type(plain) is type(first) is type(second)

    run(work())


def test_a_result_that_is_not_what_it_says_leaves_nothing(kit: Kit, tmp_path: Path) -> None:
    @database.transaction(key="owner")
    async def lies(tx: Transaction, owner: str) -> int:
        await tx.run(OPEN, owner=owner, balance=1)
        return "text"  # type: ignore[return-value]

    @database.transaction(key="owner")
    async def too_big(tx: Transaction, owner: str) -> str:
        await tx.run(OPEN, owner=owner, balance=1)
        return "x" * 1_000_001

    @database.transaction(key="owner")
    async def no_json(tx: Transaction, owner: str) -> Any:
        await tx.run(OPEN, owner=owner, balance=1)
        return object()

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            for function, what in (
                (lies, "is not what its annotation says"),
                (too_big, r"has 1,000,003 bytes; allowed: 1,000,000"),
                (no_json, "cannot be stored"),
            ):
                with pytest.raises(ContractError, match=f"TF-TX-4: .*{what}"):
                    await in_request("k1", function("anna"))
        assert kit.outside("SELECT count(*) FROM accounts") == [(0,)]

    run(work())


def test_home_transactions_are_remembered_too(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await in_request("k1", note(1, "x"))
            await in_request("k1", note(1, "x"))
        assert kit.outside("SELECT count(*) FROM notes") == [(1,)]

    run(work())


def test_old_results_are_pruned_and_young_ones_kept(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            for at in range(30):
                await in_request(f"k{at}", deposit("anna", 1))
            assert await database.prune_commits() == 0
            old = 1_000_000 * (RETENTION_S + 60)
            kit.outside(f"UPDATE tf_commit SET at_us = at_us - {old} WHERE at_us < (SELECT max(at_us) FROM tf_commit)")
            pruned = await database.prune_commits()
            assert pruned >= 1
            assert kit.outside(KEYED_ROWS) == [(30 - pruned,)]
            assert await in_request("k29", deposit("anna", 1)) == 30

    run(work())


def test_more_old_results_than_one_transaction_removes_are_pruned_too(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await asyncio.gather(*[asyncio.create_task(in_request(f"k{at}", nothing("x"))) for at in range(1100)])
            kit.outside("UPDATE tf_commit SET at_us = 1")
            assert await database.prune_commits() == 1100
            assert kit.outside(KEYED_ROWS) == [(0,)]

    run(work())


def test_the_clients_token_moves_with_its_writes_and_never_back(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            with request(None) as scope:
                assert scope.token == EMPTY
                await open_account("anna")
                first = scope.token
                await open_account("bert")
                assert first != EMPTY
                assert first.merged(scope.token) == scope.token
                assert (scope.token != first) is kit.capabilities.commits_numbered

    run(work())
