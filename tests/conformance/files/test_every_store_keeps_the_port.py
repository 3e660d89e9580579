"""What the files block asks of a store; every store passes this."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from blocks_lab import run

from tenfold.blocks.files import Store
from tenfold.blocks.files.http import Span
from tenfold.core.errors import NotFound

NAME = "0123456789abcdef"


async def put(store: Store, name: str, *pieces: bytes) -> None:
    draft = await store.begin(name)
    for piece in pieces:
        await draft.write(piece)
    await draft.finish()


async def read(store: Store, name: str, start: int, stop: int) -> bytes:
    return b"".join([piece async for piece in store.open(name, Span(start, stop))])


async def names(store: Store, prefix: str) -> list[str]:
    return sorted([kept.name async for kept in store.list(prefix)])


def test_an_object_is_read_as_it_was_put_whole_and_in_parts(store: Store) -> None:
    async def main() -> None:
        content = bytes(range(256)) * 4_000
        await put(store, NAME, content[:5], b"", content[5:])
        assert await store.size(NAME) == len(content)
        for start, stop in ((0, len(content)), (0, 1), (7, 7), (300_000, 600_001), (len(content) - 1, len(content))):
            assert await read(store, NAME, start, stop) == content[start:stop]

    run(main())


def test_nothing_is_seen_of_a_draft_before_it_is_finished(store: Store) -> None:
    async def main() -> None:
        draft = await store.begin(NAME)
        await draft.write(b"half")
        assert await store.size(NAME) is None
        with pytest.raises(NotFound):
            await read(store, NAME, 0, 1)
        await draft.finish()
        assert await store.size(NAME) == 4
        await draft.abort()  # after the end it does nothing
        assert await store.size(NAME) == 4

    run(main())


def test_an_aborted_draft_leaves_nothing_and_the_object_before_it_stays(store: Store) -> None:
    async def main() -> None:
        await put(store, NAME, b"old")
        draft = await store.begin(NAME)
        await draft.write(b"new")
        await draft.abort()
        await draft.abort()
        assert await read(store, NAME, 0, 3) == b"old"
        assert await store.tidy() == 0

    run(main())


def test_a_finished_draft_replaces_the_object_of_its_name(store: Store) -> None:
    async def main() -> None:
        await put(store, NAME, b"old")
        await put(store, NAME, b"newer")
        assert await read(store, NAME, 0, 5) == b"newer"

    run(main())


def test_a_deleted_object_is_gone_but_who_reads_it_reads_on(store: Store) -> None:
    async def main() -> None:
        content = b"x" * 1_000_000
        await put(store, NAME, content)
        reading = store.open(NAME, Span(0, len(content)))
        first = await anext(reading)
        assert await store.delete(NAME)
        assert not await store.delete(NAME)
        assert await store.size(NAME) is None
        assert first + b"".join([piece async for piece in reading]) == content

    run(main())


def test_names_below_a_prefix_are_listed_with_size_and_no_others(store: Store) -> None:
    async def main() -> None:
        assert await names(store, "doubt") == []
        for name in ("doubt/a", "doubt/b", NAME, "a"):
            await put(store, name, b"12")
        assert await names(store, "doubt") == ["doubt/a", "doubt/b"]
        assert {kept.size async for kept in store.list("doubt")} == {2}

    run(main())


def test_drafts_under_way_are_not_tidied_away(store: Store) -> None:
    async def main() -> None:
        drafts = [await store.begin(f"{number:04}") for number in range(10)]
        assert await store.tidy() == 0
        await asyncio.gather(*(draft.write(b"x") for draft in drafts))
        await asyncio.gather(*(draft.finish() for draft in drafts))
        assert await store.size("0009") == 1

    run(main())


@pytest.mark.parametrize("name", ["", "../a", "a/../b", "/a", "a/b/c", "A", "a.b", "a\x00", "a" * 65, "a/", "."])
def test_a_name_that_is_none_of_ours_is_never_used(store: Store, name: str) -> None:
    calls: list[Any] = [store.begin, store.size, store.delete]

    async def main() -> None:
        for call in calls:
            with pytest.raises(AssertionError):
                await call(name)
        with pytest.raises(AssertionError):
            await read(store, name, 0, 1)

    run(main())


def test_a_caller_that_is_cancelled_while_it_writes_can_abort(store: Store) -> None:
    async def main() -> None:
        draft = await store.begin(NAME)
        writing = asyncio.create_task(draft.write(b"x" * 20_000_000))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        await draft.abort()
        assert await store.size(NAME) is None
        assert await store.tidy() == 0

    run(main())
