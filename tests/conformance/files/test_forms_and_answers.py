"""Forms with files, as browsers and attackers send them; answers that keep a browser from running what users bring."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blocks_lab import Opener, run
from files_lab import PNG, header, on_disk, started
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from tenfold.blocks.database.scope import RequestScope, enter_scope, leave_scope
from tenfold.blocks.files import FormRefused
from tenfold.core.errors import InvalidRequest, TenfoldError

FILES = "files"
TYPE = b"multipart/form-data; boundary=B"


def part(name: str, content: bytes, filename: str | None = None, more: str = "") -> bytes:
    file = "" if filename is None else f'; filename="{filename}"'
    head = f'--B\r\nContent-Disposition: form-data; name="{name}"{file}\r\n{more}\r\n'
    return head.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--B--\r\n"


def receiving(body: bytes, at_once: int = 65_536, leaves: bool = False) -> Callable[[], Any]:
    """An ASGI receive that gives the body in pieces."""
    pieces = [body[at : at + at_once] for at in range(0, len(body), at_once)] or [b""]

    async def receive() -> dict[str, Any]:
        if not pieces:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces) or leaves}

    return receive


def scope(content_type: bytes = TYPE, **headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": "GET", "headers": [(b"content-type", content_type), *pairs]}


@pytest.mark.parametrize("at_once", [1, 7, 65_536])
def test_a_form_is_read_whatever_its_pieces_are(open_database: Opener, tmp_path: Path, at_once: int) -> None:
    picture = PNG + b"\r\n--B" * 20
    body = form(
        part("title", "안녕".encode()),
        part("tag", b"a"),
        part("tag", b"b"),
        part("picture", picture, "../고양이.png", "Content-Type: text/html\r\n"),
        part("nothing", b"", ""),
        part("empty", b"", "empty.txt"),
    ).replace(b"\r\n--B" * 20, b"\r\n--C" * 20)
    picture = picture.replace(b"--B", b"--C")

    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:
            found = await files.receive(scope(), receiving(body, at_once), owner="u1")
            assert found.fields == {"title": ["안녕"], "tag": ["a", "b"]}
            assert found.value("tag") == "a"
            assert found.value("other", "x") == "x"
            assert set(found.files) == {"picture", "empty"}
            picture_file, empty = found.file("picture"), found.file("empty")
            assert picture_file is not None
            assert empty is not None
            assert (picture_file.name, picture_file.type, picture_file.owner) == ("고양이.png", "image/png", "u1")
            assert await picture_file.bytes() == picture
            assert empty.size == 0
            assert found.file("nothing") is None

    run(main())


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        (b"application/json", b"{}", 415),
        (b"multipart/form-data", b"", 415),
        (b"multipart/form-data; boundary=" + b"x" * 71, b"", 415),
        (b"", b"", 415),
        (TYPE, b"", 400),
        (TYPE, b"garbage", 400),
        (TYPE, form(part("a", b"x"))[:-6], 400),
        (TYPE, b"--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--\r\n", 400),
        (TYPE, b"--B\r\nX-Other: y\r\n\r\nx\r\n--B--\r\n", 400),
        (TYPE, b"--B\r\n" + b"X: y\r\n" * 50 + b"\r\nx\r\n--B--\r\n", 400),
        (TYPE, b"--B\r\nX: " + b"y" * 10_000 + b"\r\n\r\nx\r\n--B--\r\n", 400),
        (TYPE, form(part("a", b"x" * 65_537)), 413),
        (TYPE, form(*(part("a", b"x") for _ in range(101))), 413),
    ],
)
def test_what_is_no_form_is_refused(
    open_database: Opener, tmp_path: Path, content_type: bytes, body: bytes, status: int
) -> None:
    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:
            with pytest.raises(FormRefused) as caught:
                await files.receive(scope(content_type), receiving(body))
            assert caught.value.status == status
            assert on_disk(tmp_path / FILES) == []

    run(main())


@pytest.mark.parametrize("trouble", ["size", "type", "cut", "left"])
def test_when_one_file_is_refused_none_of_the_form_is_kept(open_database: Opener, tmp_path: Path, trouble: str) -> None:
    last = {"size": b"x" * 3_000, "type": b"<html>"}.get(trouble, b"x" * 1_000)
    body = form(part("a", PNG, "a.png"), part("b", b"fine", "b.txt"), part("c", last, "c"))
    body = body[: -500 if trouble in ("cut", "left") else None]

    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:
            with pytest.raises(InvalidRequest):
                await files.receive(
                    scope(),
                    receiving(body, 600, leaves=trouble == "left"),
                    types=("image/png", "text/plain"),
                    limit=2_000,
                    owner="u1",
                )
            assert on_disk(tmp_path / FILES) == []
            assert await files.used("u1") == await files.used() == 0

    run(main())


def test_a_repeated_form_that_is_refused_takes_nothing_of_the_first_one_away(
    open_database: Opener, tmp_path: Path
) -> None:
    body = form(part("a", PNG, "a.png"), part("b", b"x" * 1_000, "b.txt"))

    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:

            async def sent(body: bytes, leaves: bool) -> Any:
                entered = enter_scope(RequestScope(idempotency_key="once", fingerprint=b"f" * 32))
                try:
                    return await files.receive(scope(), receiving(body, leaves=leaves), owner="u1")
                finally:
                    leave_scope(entered)

            first = await sent(body, leaves=False)
            with pytest.raises(FormRefused):
                await sent(body[:-500], leaves=True)
            assert await files.of("u1") == sorted(first.all_files(), key=lambda file: file.id)
            assert [await file.bytes() for file in first.all_files()] == [PNG, b"x" * 1_000]
            assert (await sent(body, leaves=False)).all_files() == first.all_files()

    run(main())


def test_what_users_bring_is_sent_so_that_no_browser_runs_it(open_database: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:
            page = await files.save(b"<html><script>alert(1)</script>", name='x".html')
            found = files.answer(page, scope(), inline=True)
            assert (
                header(found, "content-disposition") == "attachment; filename=\"x_.html\"; filename*=UTF-8''x%22.html"
            )
            assert header(found, "x-content-type-options") == "nosniff"
            policy = header(found, "content-security-policy") or ""
            assert "sandbox" in policy.split("; ")
            assert "default-src 'none'" in policy
            assert header(found, "cache-control") == "private, no-cache"
            picture = await files.save(PNG, name="cat.png")
            assert header(files.answer(picture, scope(), inline=True), "content-disposition") == (
                'inline; filename="cat.png"'
            )
            assert (header(files.answer(picture, scope()), "content-disposition") or "").startswith("attachment")
            drawing = await files.save(b"<svg onload='x()'/>", name="x.svg")
            shown = files.answer(drawing, scope(), inline=True)
            assert (header(shown, "content-disposition") or "").startswith("attachment")

    run(main())


def test_an_answer_is_a_part_when_a_part_was_asked_for(open_database: Opener, tmp_path: Path) -> None:
    content = b"0123456789" * 60_000

    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:
            saved = await files.save(content)

            async def of(**headers: str) -> tuple[Any, bytes]:
                found = files.answer(saved, scope(**headers))
                return found, b"".join([piece async for piece in found.body])

            whole, body = await of()
            assert (whole.status, body, header(whole, "content-length")) == (200, content, "600000")
            tag = header(whole, "etag") or ""
            half, body = await of(range="bytes=5-300004", if_range=tag)
            assert (half.status, body) == (206, content[5:300_005])
            assert header(half, "content-range") == "bytes 5-300004/600000"
            none, body = await of(range="bytes=600000-")
            assert (none.status, body, header(none, "content-length")) == (416, b"", "0")
            same, body = await of(if_none_match=tag)
            assert (same.status, body, header(same, "content-length")) == (304, b"", None)
            several, body = await of(range="bytes=0-1,5-6")
            assert (several.status, len(body)) == (200, 600_000)
            hot = files.answer(saved, scope(range="bytes=1-3")).hot()
            assert (hot.status, [piece async for piece in hot.stream]) == (206, [b"123"])

    run(main())


def test_the_current_request_says_which_part_is_wanted(open_database: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:
            saved = await files.save(b"0123456789")
            assert files.answer(saved).status == 200
            current = RequestScope()
            current.http = scope(range="bytes=2-3")
            entered = enter_scope(current)
            try:
                assert files.answer(saved).status == 206
            finally:
                leave_scope(entered)

    run(main())


def test_starlette_takes_forms_and_sends_answers(open_database: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:

            async def upload(request: Request) -> Any:
                received = await files.receive(request.scope, request.receive)
                file = received.file("f")
                assert file is not None
                return files.answer(await files.open(file.id), request.scope)

            app = Starlette(routes=[Route("/", upload, methods=["POST", "HEAD"])])
            for method, body in (("POST", b"hello"), ("HEAD", b"")):
                sent: list[Any] = []

                async def send(message: Any, sent: list[Any] = sent) -> None:
                    sent.append(message)

                asked = {**scope(), "method": method, "path": "/", "query_string": b"", "root_path": ""}
                await app(asked, receiving(form(part("f", b"hello", "a.txt"))), send)
                assert sent[0]["status"] == 200
                assert b"".join(message.get("body", b"") for message in sent[1:]) == body
                assert (b"content-length", b"5") in sent[0]["headers"]

    run(main())


def test_a_row_without_its_bytes_is_told_as_damage_and_not_as_an_empty_file(
    open_database: Opener, tmp_path: Path
) -> None:
    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:
            saved = await files.save(b"x" * 1_000)
            (path,) = (tmp_path / FILES / "objects").rglob("*" + saved.id)
            path.write_bytes(b"short")
            with pytest.raises(TenfoldError, match="TF-DAMAGED"):
                await saved.bytes()
            path.unlink()
            with pytest.raises(TenfoldError, match="TF-FILES-NONE"):
                await saved.bytes()

    run(main())


def open_below(folder: Path) -> list[str]:
    """The files in a folder that this process has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(link.readlink()))
    return [path for path in found if path.startswith(str(folder))]


def test_a_reader_that_leaves_in_the_middle_leaves_no_open_file(open_database: Opener, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_database() as database, started(database, tmp_path) as files:
            saved = await files.save(b"x" * 2_000_000)
            for _ in range(20):
                reading = saved.pieces()
                await anext(reading)
                await reading.aclose()
                later = asyncio.create_task(saved.bytes())
                await asyncio.sleep(0.002)
                later.cancel()
                await asyncio.wait([later])
            for _ in range(200):
                if not open_below(tmp_path / FILES):
                    break
                await asyncio.sleep(0.02)
            assert open_below(tmp_path / FILES) == []

    run(main())
