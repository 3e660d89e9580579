"""What uploads keep on every database: whole or not at all, within size, types and quotas."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from blocks_lab import Opener, run
from files_lab import PNG, on_disk, several, started

from tenfold.blocks.database.scope import RequestScope, enter_scope, leave_scope
from tenfold.blocks.files import FileTooLarge, QuotaExceeded, Store, TypeRefused
from tenfold.blocks.files.uploads import DOUBT_S
from tenfold.core.clock import ManualClock
from tenfold.core.errors import ContractError, NotFound, StorageFull, TenfoldError, Unavailable, UnknownOutcome

FILES = "files"


def test_an_upload_comes_back_whole_and_in_parts(open_database: Opener, tmp_path: Path) -> None:
    content = PNG + bytes(range(256)) * 5_000

    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:
            saved = await files.save(several(content[:3], content[3:]), name="C:\\me\\my cat.png", owner="u1")
            found = await files.open(saved.id)
            assert found == saved
            assert (found.name, found.type, found.size) == ("my cat.png", "image/png", len(content))
            assert (found.owner, found.sha256) == ("u1", hashlib.sha256(content).hexdigest())
            assert await found.bytes() == content
            assert b"".join([piece async for piece in found.pieces(5, 300_000)]) == content[5:300_000]
            assert b"".join([piece async for piece in found.pieces(len(content) - 2)]) == content[-2:]
            assert b"".join([piece async for piece in found.pieces(10**9, 10**9)]) == b""
            assert await files.used("u1") == await files.used() == len(content)

    run(main())


@pytest.mark.parametrize("kind", ["bytes", "stream", "file", "async file", "nothing"])
def test_an_upload_may_come_from_whatever_frameworks_give(open_database: Opener, tmp_path: Path, kind: str) -> None:
    class Reads(io.BytesIO):
        async def read(self, size: int = -1) -> bytes:  # type: ignore[override]
            return super().read(size)

    content = b"" if kind == "nothing" else b"hello " * 100_000
    sources: dict[str, Any] = {
        "bytes": content,
        "stream": several(content),
        "file": io.BytesIO(content),
        "async file": Reads(content),
        "nothing": b"",
    }

    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:
            saved = await files.save(sources[kind])
            assert await (await files.open(saved.id)).bytes() == content
            for wrong in ("text", several("text"), 5, None):  # type: ignore[arg-type]
                with pytest.raises(ContractError, match="TF-FILES-SOURCE"):
                    await files.save(wrong)

    run(main())


def test_the_limit_is_kept_while_it_streams_and_nothing_stays(open_database: Opener, tmp_path: Path) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 100_000
            yield b"x" * 100_000

    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:
            with pytest.raises(FileTooLarge) as caught:
                await files.save(endless(), limit="1MB")
            assert caught.value.status == 413
            assert read <= 1_100_000
            assert (await files.save(b"x" * 1024, limit=1024)).size == 1024
            assert len(on_disk(tmp_path / FILES)) == 1
            assert files.stats().refused == 1

    run(main())


def test_the_type_is_what_the_bytes_say(open_database: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:
            with pytest.raises(TypeRefused, match="text/html") as caught:
                await files.save(b"<html><script>alert(1)</script>", name="cat.png", types=("image/png",))
            assert caught.value.status == 415
            with pytest.raises(TypeRefused, match="image/svg"):  # a picture with scripts is let in by name only
                await files.save(b"<svg onload='x()'>", types=("image/*",))
            with pytest.raises(TypeRefused, match="octet-stream"):  # text only at its beginning
                await files.save(b"a" * 300_000 + b"\x00", types=("text/plain",))
            with pytest.raises(ContractError, match="TF-FILES-TYPES"):
                await files.save(b"", types=("image/jpg",))
            assert on_disk(tmp_path / FILES) == []
            assert (await files.save(b"a" * 300_000 + b"\x00")).type == "application/octet-stream"
            assert (await files.save(b"<svg>", types=("image/svg+xml",))).type == "image/svg+xml"
            assert (await files.save("é".encode() * 300_000, types=("text/plain",))).type == "text/plain"

    run(main())


def test_quotas_hold_for_each_owner_and_for_all(open_database: Opener, tmp_path: Path) -> None:
    text = '[files]\nquota = "1MB"\nowner_quota = "600KB"\n'

    async def main() -> None:
        async with open_database() as database, started(database, tmp_path, text) as files:
            await files.save(b"x" * 600 * 1024, owner="a")
            with pytest.raises(QuotaExceeded, match="This owner") as caught:
                await files.save(b"x", owner="a")
            assert caught.value.status == 507
            await files.save(b"x" * 400 * 1024, owner="b")
            with pytest.raises(QuotaExceeded, match="All files"):
                await files.save(b"x" * 100 * 1024, owner="b")
            last = await files.save(b"x" * 24 * 1024)
            with pytest.raises(QuotaExceeded, match="All files"):
                await files.save(b"x")
            assert await files.delete(last.id)
            assert (await files.used(), await files.used("a"), await files.used("b")) == (1_024_000, 614_400, 409_600)
            await files.save(b"x" * 24 * 1024)
            assert len(on_disk(tmp_path / FILES)) == 3

    run(main())


def test_uploads_at_once_do_not_slip_past_the_quota(open_database: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(open_database()) for _ in range(2)]
            text = '[files]\nowner_quota = "100KB"\n'
            both = [await stack.enter_async_context(started(database, tmp_path, text)) for database in opened]

            async def one(number: int) -> bool:
                try:
                    await both[number % 2].save(b"x" * 10 * 1024, owner="a")
                except QuotaExceeded:
                    return False
                return True

            assert sum(await asyncio.gather(*(one(number) for number in range(24)))) == 10
            assert await both[0].used("a") == 100 * 1024
            assert len(on_disk(tmp_path / FILES)) == 10

    run(main())


def test_a_deleted_upload_is_gone_with_its_bytes(open_database: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:
            saved = await files.save(b"x", owner="a")
            assert await files.delete(saved.id)
            assert not await files.delete(saved.id)
            for wrong in (saved.id, "", "../../x", "0" * 32, "A" * 32):
                with pytest.raises(NotFound, match="TF-FILES-NONE"):
                    await files.open(wrong)
                assert not await files.delete(wrong)
            assert on_disk(tmp_path / FILES) == []
            assert await files.used("a") == await files.used() == 0

    run(main())


def test_an_owners_uploads_are_listed_page_by_page(open_database: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:
            saved = sorted([(await files.save(b"x", owner="a")).id for _ in range(5)])
            await files.save(b"x", owner="b")
            first = await files.of("a", limit=3)
            rest = await files.of("a", after=first[-1].id)
            assert [file.id for file in (*first, *rest)] == saved
            assert await files.of("nobody") == []

    run(main())


def test_a_repeated_request_gets_the_upload_of_the_first(open_database: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:
            made = []
            for _ in range(2):
                entered = enter_scope(RequestScope(idempotency_key="once", fingerprint=b"f" * 32))
                try:
                    made.append(await files.save(b"x", owner="a"))
                finally:
                    leave_scope(entered)
            assert made[0] == made[1]
            assert len(on_disk(tmp_path / FILES)) == await files.used("a") == 1

    run(main())


# -- what goes wrong --------------------------------------------------------------------------------------------------


class Trouble:
    """A store that fails where a test says, else another one."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.at: dict[str, Exception] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def begin(self, name: str, *, durable: bool = True) -> Any:
        if "mark" in self.at and name.startswith("doubt/"):
            raise self.at["mark"]
        draft = await self.store.begin(name, durable=durable)
        for step in ("write", "finish"):
            if step in self.at and not name.startswith("doubt/"):
                setattr(draft, step, self._failing(step))
        return draft

    async def delete(self, name: str) -> bool:
        if "delete" in self.at and not name.startswith("doubt/"):
            raise self.at["delete"]
        return await self.store.delete(name)

    def _failing(self, step: str) -> Any:
        async def fail(*_: Any) -> None:
            raise self.at[step]

        return fail


@pytest.mark.parametrize("step", ["write", "finish", "mark"])
def test_a_full_disk_is_told_and_nothing_half_written_is_seen(
    open_database: Opener, store: Store, tmp_path: Path, step: str
) -> None:
    async def main() -> None:
        trouble = Trouble(store)
        async with open_database() as database, started(database, tmp_path, store=trouble) as files:  # type: ignore[arg-type]
            trouble.at[step] = StorageFull(f"Cannot write {tmp_path}/secret: No space left on device.")
            with pytest.raises(StorageFull) as caught:
                await files.save(b"x" * 1_000_000, owner="a")
            assert caught.value.status == 507
            assert str(tmp_path) not in str(caught.value)
            assert await files.used("a") == 0
            trouble.at.clear()
            await files.save(b"x", owner="a")
            assert await files.tidy() == 0

    run(main())


def test_an_upload_whose_outcome_is_unknown_is_settled_by_its_row(open_database: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        clock = ManualClock(2_000_000_000_000_000)
        async with open_database() as database, started(database, tmp_path, clock=clock) as files:
            add = files._rows._add

            async def lost(*args: Any) -> None:
                if args[0].name == "arrives":
                    await add(*args)
                raise UnknownOutcome("The answer was lost.")

            files._rows._add = lost
            for name in ("arrives", "does not"):
                with pytest.raises(UnknownOutcome):
                    await files.save(b"x", name=name, owner="a")
            assert len(on_disk(tmp_path / FILES)) == 4
            for path in (tmp_path / FILES / "doubt").iterdir():
                now_s = clock.wall_us() / 1e6
                os.utime(path, (now_s, now_s))
            clock.step_wall(DOUBT_S)
            assert await files.tidy() == 0  # not yet
            clock.step_wall(1)
            assert await files.tidy() == 1
            (kept,) = await files.of("a")
            assert await kept.bytes() == b"x"
            assert len(on_disk(tmp_path / FILES)) == 1
            assert await files.tidy() == 0

    run(main())


def test_what_cannot_be_written_to_the_database_leaves_no_bytes(open_database: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:

            async def away(*_: Any) -> None:
                raise Unavailable("The database is away.")

            files._rows._add = away
            with pytest.raises(Unavailable):
                await files.save(b"x")
            assert on_disk(tmp_path / FILES) == []

    run(main())


def test_bytes_that_cannot_be_removed_now_are_removed_later(
    open_database: Opener, store: Store, tmp_path: Path
) -> None:
    async def main() -> None:
        trouble, clock = Trouble(store), ManualClock(4_000_000_000_000_000)
        async with open_database() as database, started(database, tmp_path, clock=clock, store=trouble) as files:  # type: ignore[arg-type]
            saved = await files.save(b"x")
            trouble.at["delete"] = StorageFull("busy")
            assert await files.delete(saved.id)
            assert await store.size(saved.id) == 1
            trouble.at.clear()
            assert await files.tidy() == 1
            assert await store.size(saved.id) is None

    run(main())


def test_a_caller_that_leaves_in_the_middle_leaves_nothing(open_database: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        reached = asyncio.Event()

        async def stalls() -> AsyncIterator[bytes]:
            yield b"x" * 1_000_000
            reached.set()
            await asyncio.sleep(3600)

        async with open_database() as database, started(database, tmp_path) as files:
            saving = asyncio.create_task(files.save(stalls()))
            await reached.wait()
            assert len(on_disk(tmp_path / FILES)) == 1  # the draft
            saving.cancel()
            await asyncio.wait([saving])
            assert on_disk(tmp_path / FILES) == []

    run(main())


def test_an_upload_that_was_held_up_for_too_long_is_given_up(open_database: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        clock = ManualClock(4_000_000_000_000_000)
        async with open_database() as database, started(database, tmp_path, clock=clock) as files:
            add = files._rows._add

            async def late(*args: Any) -> Any:
                clock.advance(DOUBT_S + 1)
                assert await files.tidy() == 1  # another process takes it for dead
                return await add(*args)

            files._rows._add = late
            with pytest.raises(Unavailable, match="TF-FILES-LATE"):
                await files.save(b"x", owner="a")
            assert await files.used("a") == 0

    run(main())


@pytest.mark.parametrize("owner", ["", "a\x00", "\ud800", "a" * 201, 5])
def test_what_is_no_owner_is_refused(open_database: Opener, tmp_path: Path, owner: Any) -> None:
    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:
            with pytest.raises(TenfoldError, match="TF-FILES-OWNER"):
                await files.save(b"x", owner=owner)

    run(main())
