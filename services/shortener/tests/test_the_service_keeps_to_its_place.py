"""What the service may import, how it uses the cache, and what it says when Tenfold cannot write."""

from __future__ import annotations

import ast
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

import shortener
from shortener import settings
from shortener.api import links as api
from shortener.app import app
from shortener.links import finding, making
from shortener.links.finding import find_link
from shortener.model import tf
from shortener.pages import home
from tenfold import Unavailable
from tenfold.testing import running

SERVICE = Path(__file__).parents[1]
SHORTEN = "/api/v1/data/shorten"
TARGET = {"url": "https://example.com/"}
NEEDED = {"starlette", "jinja2", "msgspec", "idna", "sqlalchemy", "argon2"}
ALLOWED = {"shortener", "tenfold"} | NEEDED | sys.stdlib_module_names


def during(state: Path, body: Callable[[httpx.AsyncClient], Awaitable[None]], **values: Any) -> None:
    """Runs `body` with a client of the running service."""

    async def whole() -> None:
        async with running(app, state, root=SERVICE, settings=values) as client:
            await body(client)

    asyncio.run(whole())


def imported(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("file", sorted(Path(shortener.__file__).parent.rglob("*.py")), ids=lambda file: file.stem)
def test_it_imports_tenfold_and_nothing_inside_it(file: Path):
    names = imported(file.read_text())
    assert not {name for name in names if name.startswith("tenfold.")}
    assert {name.partition(".")[0] for name in names} <= ALLOWED


def test_a_hundred_who_follow_a_cold_link_cost_one_look_and_unknown_codes_too(tmp_path: Path):
    async def body(client: httpx.AsyncClient) -> None:
        code = (await client.post(SHORTEN, json=TARGET)).json()["code"]
        for path, status in ((f"/{code}", 302), ("/unknown", 404), ("/unknown", 404)):
            tf_loads = tf.cache.stats().by_key["link:{code}"].loads
            answers = await asyncio.gather(*(client.get(path) for _ in range(100)))
            assert {answer.status_code for answer in answers} == {status}
            loads.append(tf.cache.stats().by_key["link:{code}"].loads - tf_loads)

    loads: list[int] = []
    tf.cache.clear()
    during(tmp_path, body)
    assert loads == [1, 1, 0]


def test_what_cannot_be_a_code_is_never_looked_up(tmp_path: Path):
    async def body(client: httpx.AsyncClient) -> None:
        for path in ("/a.b", "/" + "a" * 33, "/%C3%A9", "/a%20b", "/a.b+"):
            assert (await client.get(path)).status_code == 404
        assert tf.cache.stats().by_key["link:{code}"].loads == before

    before = tf.cache.stats().by_key["link:{code}"].loads
    during(tmp_path, body)


def test_a_link_that_could_not_be_saved_says_so_and_keeps_what_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def full(*_: Any) -> None:
        raise Unavailable("The disk is full; nothing was saved.", retry_after_s=7)

    async def body(client: httpx.AsyncClient) -> None:
        answer = await client.post(SHORTEN, json=TARGET)
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "7"
        assert answer.json()["detail"] == "The disk is full; nothing was saved."
        form = await client.post("/", data=TARGET)
        assert (form.status_code, form.headers["retry-after"]) == (503, "7")
        assert "The disk is full; nothing was saved." in form.text
        assert 'value="https://example.com/"' in form.text

    monkeypatch.setattr(api, "make_link", full)
    monkeypatch.setattr(home, "make_link", full)
    during(tmp_path, body)


def test_a_person_who_follows_a_link_while_the_database_is_away_gets_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def away(_: str) -> None:
        raise Unavailable("The database is moving; try again in a moment.")

    async def body(client: httpx.AsyncClient) -> None:
        page = await client.get("/abc", headers={"accept": "text/html"})
        assert page.status_code == 503
        assert "The database is moving; try again in a moment." in page.text
        assert (await client.get("/abc")).headers["content-type"] == "application/problem+json"

    monkeypatch.setattr(finding, "find_link", away)
    during(tmp_path, body)


def test_settings_hold_at_once_when_a_new_map_comes(tmp_path: Path):
    async def body(client: httpx.AsyncClient) -> None:
        code = (await client.post(SHORTEN, json=TARGET)).json()["code"]
        statuses = [(await client.get(f"/{code}")).status_code]
        for status in (301, 302):
            assert tf.map is not None
            app.adopt(msgspec.structs.replace(tf.map, epoch=tf.map.epoch + 1, settings={"redirect_status": status}))
            statuses.append((await client.get(f"/{code}")).status_code)
        assert statuses == [302, 301, 302]

    during(tmp_path, body)


@pytest.mark.parametrize(
    ("name", "value", "read", "default"),
    [
        ("redirect_status", 307, settings.redirect_status, 302),
        ("redirect_status", "301", settings.redirect_status, 302),
        ("redirect_max_age", -1, settings.redirect_max_age, 86_400),
        ("redirect_max_age", True, settings.redirect_max_age, 86_400),
        ("codes", "random", settings.generator, "permuted"),
        ("code_key", 7, settings.code_key, ""),
        ("public_url", "sho.example", settings.public_url, ""),
    ],
)
def test_a_setting_that_is_not_allowed_is_named_in_the_log_and_the_default_goes_on(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    value: object,
    read: Callable[[], object],
    default: object,
):
    monkeypatch.setattr(tf, "setting", lambda asked, _: value if asked == name else None)
    with caplog.at_level(logging.WARNING, "shortener"):
        assert read() == default
    assert f"settings.{name}: found {value!r}; allowed: " in caplog.text


def test_a_link_made_is_found_by_the_next_reader(tmp_path: Path):
    async def body(client: httpx.AsyncClient) -> None:
        assert await find_link("fresh-one") is None
        await client.post(SHORTEN, json=TARGET | {"alias": "fresh-one"})
        link = await find_link("fresh-one")
        assert link is not None
        assert link.url == TARGET["url"]

    during(tmp_path, body)


def test_reserved_and_taken_codes_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def body(client: httpx.AsyncClient) -> None:
        await client.post(SHORTEN, json={"url": "https://example.com/squatter", "alias": "squatter"})
        link = (await client.post(SHORTEN, json=TARGET)).json()
        assert link["code"] == "free-one"
        assert (await client.get("/squatter")).headers["location"] == "https://example.com/squatter"

    drawn = iter(["healthz", "METRICS", "squatter", "free-one"])
    monkeypatch.setattr(making, "permuted_code", lambda *_: next(drawn))
    during(tmp_path, body)


@pytest.mark.parametrize("generator", ["permuted", "hash"])
def test_when_no_code_is_free_it_says_so_instead_of_trying_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: str
):
    async def body(client: httpx.AsyncClient) -> None:
        await client.post(SHORTEN, json={"url": "https://example.com/squatter", "alias": "squatter"})
        answer = await client.post(SHORTEN, json=TARGET)
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith("No free code was found in 16 attempts")

    monkeypatch.setattr(making, "permuted_code", lambda *_: "squatter")
    monkeypatch.setattr(making, "hash_codes", lambda *_, **__: iter(["squatter"] * 16))
    during(tmp_path, body, codes=generator)
