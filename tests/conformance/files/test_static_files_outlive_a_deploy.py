"""Static files: URLs that name their content, answers that may be kept for ever, and deploys in both directions."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from blocks_lab import run
from files_lab import header, map_for, on_disk, request
from sqlalchemy import MetaData

from tenfold import Tenfold
from tenfold.blocks.database import Database
from tenfold.blocks.files import Files, Static, assets, static
from tenfold.blocks.files.published import UNUSED_S, Content, Published
from tenfold.core.clock import ManualClock
from tenfold.core.errors import ContractError
from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.serve.asgi import ResponseAbortedError, TenfoldASGI
from tenfold.serve.hot import Response

CSS = b"body { color: black }\n" * 50
FOR_EVER = "public, max-age=31536000, immutable"


def folder(root: Path, name: str, **contents: bytes) -> Path:
    """A folder of static files; `__` in names stands for `/`, `_` for `.`."""
    made = root / name
    for path, content in contents.items():
        target = made / path.replace("__", "/").replace("_", ".")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return made


class Process:
    """One process with some version of the code, in the deployment at `root`."""

    def __init__(self, root: Path, static: Path, clock: ManualClock | None = None) -> None:
        self.files = Files(Database(MetaData()), clock or ManualClock(), SYSTEM_RANDOMNESS)
        self.files.respond = Response
        self.files.adopt(map_for(root))
        self.static: Static = self.files.static(static)

    async def get(self, path: str, **headers: str) -> tuple[Any, bytes]:
        """The response, and its body."""
        found = self.static.handler(request(path, **headers))
        response = await found if asyncio.iscoroutine(found) else found
        streamed = b"" if response.stream is None else b"".join([piece async for piece in response.stream])
        return response, response.body or streamed


async def body_of(process: Process, path: str) -> bytes:
    response, body = await process.get(path)
    assert response.status == 200
    return body


def test_a_url_names_the_content_and_may_be_kept_for_ever(tmp_path: Path) -> None:
    async def main() -> None:
        process = Process(tmp_path, folder(tmp_path, "v1", css__site_css=CSS, LICENSE=b"mine"))
        url = process.static.url("css/site.css")
        assert url.startswith("/static/css/site.")
        assert url.endswith(".css")
        response, body = await process.get(url)
        assert body == CSS
        assert header(response, "cache-control") == FOR_EVER
        assert header(response, "content-type") == "text/css; charset=utf-8"
        assert header(response, "x-content-type-options") == "nosniff"
        plain, body = await process.get("/static/css/site.css")
        assert (body, header(plain, "cache-control")) == (CSS, "public, max-age=60")
        assert header(plain, "etag") == header(response, "etag") is not None
        assert await body_of(process, process.static.url("LICENSE")) == b"mine"

    run(main())


def test_an_unknown_name_fails_where_it_is_written(tmp_path: Path) -> None:
    static = Process(tmp_path, folder(tmp_path, "v1", site_css=CSS)).static
    with pytest.raises(ContractError, match=r'TF-FILES-NAME.*Did you mean "site.css"'):
        static.url("sites.css")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../secret",
        "/static/.env",
        "/static/css/.hidden",
        "/static/out",
        "/static/out.txt",
        "/static/",
        "/static/%2e%2e/secret",
        "/static/linked/passwd",
        "/static//etc/passwd",
        "/static/x.0123456789abcdef.css",
        "/static/../../x.0123456789abcdef.css",
        "/static/site.css/",
        "/elsewhere/x.0123456789abcdef.css",
        "/static/a\x00",
    ],
)
def test_nothing_else_is_served(tmp_path: Path, path: str) -> None:
    async def main() -> None:
        static = folder(tmp_path, "v1", site_css=CSS, _env=b"secret", css___hidden=b"secret")
        (tmp_path / "secret").write_bytes(b"secret")
        (static / "out").symlink_to(tmp_path / "secret")
        (static / "out.txt").symlink_to("/etc/passwd")
        (static / "linked").symlink_to("/etc")
        process = Process(tmp_path, static)
        await process.files.start()
        try:
            response, _ = await process.get(path)
            assert response.status == 404
            assert header(response, "cache-control") == "no-store"
        finally:
            await process.files.stop()

    run(main())


def test_a_link_inside_of_the_folder_is_a_file_of_it(tmp_path: Path) -> None:
    static = folder(tmp_path, "v1", site_css=CSS)
    (static / "same.css").symlink_to("site.css")
    assert asyncio.run(body_of(Process(tmp_path, static), "/static/same.css")) == CSS


def test_encoded_forms_go_to_who_takes_them(tmp_path: Path) -> None:
    async def main() -> None:
        static = folder(
            tmp_path, "v1", a_css=CSS, b_css=CSS + b"b", b_css_br=b"brotli", c_png=b"\x89PNG" * 500, d_css=b"short"
        )
        process = Process(tmp_path, static)
        await process.files.start()
        try:
            squeezed, body = await process.get("/static/a.css", accept_encoding="br, gzip")
            assert gzip.decompress(body) == CSS
            assert header(squeezed, "content-encoding") == "gzip"
            assert header(squeezed, "vary") == "accept-encoding"
            plain, body = await process.get("/static/a.css")
            assert (body, header(plain, "content-encoding"), header(plain, "vary")) == (CSS, None, "accept-encoding")
            assert header(plain, "etag") != header(squeezed, "etag")
            made, body = await process.get("/static/b.css", accept_encoding="gzip, br")
            assert (body, header(made, "content-encoding")) == (b"brotli", "br")
            for name in ("c.png", "d.css"):
                as_it_is, _ = await process.get(f"/static/{name}", accept_encoding="gzip")
                assert header(as_it_is, "content-encoding") is None
                assert header(as_it_is, "vary") is None
            ranged, body = await process.get("/static/a.css", accept_encoding="gzip", range="bytes=0-3")
            assert (ranged.status, body, header(ranged, "content-encoding")) == (206, CSS[:4], None)
            with pytest.raises(ContractError):
                process.static.url("b.css.br")
        finally:
            await process.files.stop()

    run(main())


@pytest.mark.parametrize("held", [True, False])
def test_ranges_and_conditions_hold_in_memory_and_from_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    if not held:
        monkeypatch.setattr(assets, "HELD_FILE", 100)
    content = os.urandom(700_000)

    async def main() -> None:
        process = Process(tmp_path, folder(tmp_path, "v1", big_bin=content))
        url = process.static.url("big.bin")
        response, body = await process.get(url)
        assert body == content
        assert header(response, "content-length") == str(len(content))
        tag = header(response, "etag") or ""
        for asked, status, part in (
            ("bytes=10-300000", 206, content[10:300_001]),
            ("bytes=-5", 206, content[-5:]),
            ("bytes=700000-", 416, b""),
            ("bytes=0-1,3-4", 200, content),
        ):
            response, body = await process.get(url, range=asked)
            assert (response.status, body) == (status, part)
            assert header(response, "content-length") == str(len(part))
        response, body = await process.get(url, if_none_match=tag)
        assert (response.status, body, header(response, "content-length")) == (304, b"", None)
        assert header(response, "cache-control") == FOR_EVER
        response, _ = await process.get(url, range="bytes=0-1", if_range='"other"')
        assert response.status == 200

    run(main())


def test_pages_of_the_old_and_the_new_code_find_their_files_at_each_other(tmp_path: Path) -> None:
    async def main() -> None:
        old = Process(tmp_path, folder(tmp_path, "v1", site_css=CSS, gone_js=b"1"))
        new = Process(tmp_path, folder(tmp_path, "v2", site_css=CSS + b"new", more_js=b"2"))
        await old.files.start()
        await new.files.start()
        try:
            for asking, owner, name, content in (
                (new, old, "site.css", CSS),
                (new, old, "gone.js", b"1"),
                (old, new, "site.css", CSS + b"new"),
                (old, new, "more.js", b"2"),
            ):
                url = owner.static.url(name)
                for _ in range(2):  # from the disk, then from memory
                    response, body = await asking.get(url)
                    assert (response.status, body, header(response, "cache-control")) == (200, content, FOR_EVER)
                    mine, _ = await owner.get(url)
                    assert response.headers == mine.headers
            squeezed, body = await new.get(old.static.url("site.css"), accept_encoding="gzip")
            assert gzip.decompress(body) == CSS
            assert header(squeezed, "content-encoding") == "gzip"
            assert (await new.get("/static/gone.js"))[0].status == 404  # a plain name means the code's own
        finally:
            await old.files.stop()
            await new.files.stop()

    run(main())


def test_a_version_that_is_gone_is_still_served_until_nobody_used_it_for_long(tmp_path: Path) -> None:
    async def main() -> None:
        clock = ManualClock()
        old = Process(tmp_path, folder(tmp_path, "v1", site_css=CSS), clock)
        await old.files.start()
        await old.files.stop()
        new = Process(tmp_path, folder(tmp_path, "v2", site_css=b"x"), clock)
        await new.files.start()
        caretaker = new.files._caretaker
        assert caretaker is not None
        clock.advance(UNUSED_S - 10)
        caretaker.renew()
        assert await body_of(new, old.static.url("site.css")) == CSS  # which counts as use
        clock.advance(UNUSED_S - 10)
        caretaker.renew()
        new.static._others.clear()
        assert await body_of(new, old.static.url("site.css")) == CSS
        clock.advance(UNUSED_S + 10)
        caretaker.renew()
        new.static._others.clear()
        assert (await new.get(old.static.url("site.css")))[0].status == 404
        assert await body_of(new, new.static.url("site.css")) == b"x"
        await new.files.stop()

    run(main())


def test_who_asks_for_all_old_versions_fills_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(static, "HELD_BYTES", 3500)
        shipped = {f"f{number}_png": bytes([number]) * 1000 for number in range(6)}
        old = Process(tmp_path, folder(tmp_path, "v1", **shipped))
        new = Process(tmp_path, folder(tmp_path, "v2", site_css=CSS))
        await old.files.start()
        await new.files.start()
        try:
            for _ in range(2):
                for number in range(6):
                    content = shipped[f"f{number}_png"]
                    assert await body_of(new, old.static.url(f"f{number}.png")) == content
                    assert sum(asset.held for asset in new.static._others.values()) <= 3500
            assert len(new.static._others) == 3
        finally:
            await old.files.stop()
            await new.files.stop()

    run(main())


def test_the_shared_folder_has_a_bound_and_drops_what_was_unused_longest(tmp_path: Path) -> None:
    published = Published(tmp_path / "static")
    for number in range(5):
        published.put([Content(f"{number:016x}.css", b"x" * 100)], 1_000.0 + number)
    assert published.prune(1_005.0, bytes_max=250) == 3
    assert on_disk(tmp_path / "static") == ["0000000000000003.css", "0000000000000004.css"]


def test_a_large_file_is_shared_by_pieces_and_only_if_it_is_still_what_its_name_says(tmp_path: Path) -> None:
    published, source = Published(tmp_path / "static"), tmp_path / "film.mp4"
    data = bytes(range(256)) * 32 * 1024
    source.write_bytes(data)
    name = hashlib.sha256(data).hexdigest()[:16] + ".mp4"
    tracemalloc.start()
    try:
        assert published.put([Content(name, None, source)], 1_000.0) == 0
        assert tracemalloc.get_traced_memory()[1] < len(data) / 4, "8 MB are not read at once"
    finally:
        tracemalloc.stop()
    assert (tmp_path / "static" / name).read_bytes() == data
    assert (tmp_path / "static" / name).stat().st_mode & 0o777 == 0o600
    source.write_bytes(data[:-1])
    assert published.put([Content("0" * 16 + ".mp4", None, source)], 1_000.0) == 1
    assert on_disk(tmp_path / "static") == [name]


def test_a_folder_that_cannot_be_shared_keeps_nobody_from_starting(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / ".tenfold" / "data").mkdir(parents=True)
        (tmp_path / ".tenfold" / "data" / "static").write_bytes(b"no folder")
        process = Process(tmp_path, folder(tmp_path, "v1", site_css=CSS))
        await process.files.start()
        try:
            assert await body_of(process, process.static.url("site.css")) == CSS
        finally:
            await process.files.stop()

    run(main())


@pytest.mark.parametrize(
    ("name", "prefix"), [("none", "/other"), ("v1/site.css", "/other"), ("v1", "/static"), ("v1", "other")]
)
def test_a_declaration_that_cannot_work_fails_at_once(tmp_path: Path, name: str, prefix: str) -> None:
    files = Process(tmp_path, folder(tmp_path, "v1", site_css=CSS)).files
    with pytest.raises(ContractError, match="TF-FILES-FOLDER"):
        files.static(tmp_path / name, prefix)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_hot_route_serves_them_before_any_framework(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(assets, "HELD_FILE", 2_000)
    monkeypatch.chdir(tmp_path)
    tf = Tenfold("shop")
    static = tf.files.static(folder(tmp_path, "v1", a__b__site_css=CSS, big_bin=b"x" * 600_000))

    async def framework(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nothing comes here")

    async def ask(app: TenfoldASGI, path: str) -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": [], "client": None, "scheme": "http"}
        await app(scope, send, send)
        return sent

    async def main() -> None:
        app = tf.asgi(framework, hot=static.routes)
        for name, content in (("a/b/site.css", CSS), ("big.bin", b"x" * 600_000)):
            sent = await ask(app, static.url(name))
            assert sent[0]["status"] == 200
            assert (b"content-length", b"%d" % len(content)) in list(sent[0]["headers"])
            body = b"".join(message.get("body", b"") for message in sent[1:])
            assert body == content if method == "GET" else body in (b"", content)
            assert not sent[-1].get("more_body", False)
        assert len(sent) == (5 if method == "GET" else 2)
        assert (await ask(app, "/static/none.css"))[0]["status"] == 404

    run(main())


def test_a_file_that_became_shorter_is_cut_off_and_never_ended_as_if_it_were_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "HELD_FILE", 2_000)
    static_folder = folder(tmp_path, "v1", big_bin=b"x" * 600_000)
    tf = Tenfold("shop")
    static = tf.files.static(static_folder)
    (static_folder / "big.bin").write_bytes(b"x" * 300_000)

    async def main() -> None:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        app = tf.asgi(None, hot=static.routes)
        path = static.url("big.bin")
        scope = {"type": "http", "method": "GET", "path": path, "headers": [], "client": None, "scheme": "http"}
        with pytest.raises(ResponseAbortedError):
            await app(scope, send, send)
        assert sent[0]["status"] == 200
        assert sum(len(message.get("body", b"")) for message in sent) == 300_000
        assert sent[-1]["more_body"] is True

    run(main())
