"""Making links and following them, over real sockets."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from shortener.links.codes import hash_code

SHORTEN = "/api/v1/data/shorten"
TARGET = "https://example.com/a/page?with=query#part"


def made(client: httpx.Client, url: str = TARGET, *, key: str = "", **more: Any) -> dict[str, Any]:
    headers = {"idempotency-key": key} if key else {}
    answer = client.post(SHORTEN, json={"url": url, **more}, headers=headers)
    assert answer.status_code in (200, 201), answer.text
    return dict(answer.json())


def test_a_link_is_made_and_followed(client: httpx.Client):
    answer = client.post(SHORTEN, json={"url": "HTTPS://Example.COM:443/a/./page?with=query#part"})
    assert answer.status_code == 201
    link = answer.json()
    assert set(link) == {"code", "short_url", "url"}
    assert re.fullmatch("[0-9A-Za-z]{7,8}", link["code"])
    assert link["url"] == TARGET
    assert link["short_url"] == f"{str(client.base_url).rstrip('/')}/{link['code']}"
    assert answer.headers["location"] == link["short_url"]
    assert answer.headers["cache-control"] == "no-store"
    followed = client.get(link["short_url"])
    assert (followed.status_code, followed.headers["location"]) == (302, TARGET)


def test_the_textbook_s_names_work(client: httpx.Client):
    link = client.post(SHORTEN, json={"longUrl": TARGET}).json()
    followed = client.get(f"/api/v1/{link['code']}")
    assert (followed.status_code, followed.headers["location"]) == (302, TARGET)


@pytest.mark.parametrize("path", ["/{code}", "/api/v1/{code}"])
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_head_answers_like_get_without_a_body(client: httpx.Client, path: str, warm: bool):
    where = path.format(code=made(client)["code"])
    if warm:
        client.get(where)
    head, get = client.head(where), client.get(where)
    for name in ("location", "cache-control", "x-robots-tag"):
        assert head.headers[name] == get.headers[name]
    assert head.status_code == get.status_code == 302
    assert head.content == b""


def test_a_302_is_asked_for_every_time_and_not_indexed(client: httpx.Client):
    code = made(client)["code"]
    cold, warm = client.get(f"/{code}"), client.get(f"/{code}")
    for answer in (cold, warm):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-robots-tag"] == "noindex"
        assert answer.headers["content-length"] == "0"


def test_a_301_may_be_remembered_but_not_beyond_the_end_of_its_link(serve: Callable[..., httpx.Client]):
    client = serve(redirect_status=301, redirect_max_age=600)
    lasting = made(client)["code"]
    ending = made(client, expires_in=60)["code"]
    for code, most in ((lasting, 600), (ending, 60)):
        for _ in ("cold", "warm"):
            answer = client.get(f"/{code}")
            assert answer.status_code == 301
            found = re.fullmatch(r"public, max-age=(\d+)", answer.headers["cache-control"])
            assert found is not None
            assert most - 20 <= int(found[1]) <= most
            assert "set-cookie" not in answer.headers


def test_an_alias_is_the_code(client: httpx.Client):
    link = made(client, alias="Summer_Sale-26")
    assert link["code"] == "Summer_Sale-26"
    assert client.get("/Summer_Sale-26").headers["location"] == TARGET
    assert client.get("/summer_sale-26").status_code == 404


def test_an_alias_that_leads_elsewhere_is_taken_the_same_again_is_fine(client: httpx.Client):
    made(client, alias="taken")
    again = client.post(SHORTEN, json={"url": TARGET, "alias": "taken"})
    assert (again.status_code, again.json()["url"]) == (200, TARGET)
    other = client.post(SHORTEN, json={"url": "https://example.com/other", "alias": "taken"})
    assert other.status_code == 409
    assert other.json()["detail"] == "The alias taken is taken; choose another one."
    assert other.json()["field"] == "alias"
    assert client.get("/taken").headers["location"] == TARGET


def test_of_many_who_want_one_alias_at_once_one_gets_it(client: httpx.Client):
    def want(number: int) -> int:
        order = {"url": f"https://example.com/{number}", "alias": "contested"}
        return client.post(SHORTEN, json=order).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(want, range(24)))
    assert sorted(statuses) == [201] + [409] * 23


def test_many_links_at_once_all_get_codes_of_their_own(client: httpx.Client):
    with ThreadPoolExecutor(8) as pool:
        links = list(pool.map(lambda n: made(client, f"https://example.com/{n}"), range(200)))
    assert len({link["code"] for link in links}) == 200
    assert all(client.get(f"/{link['code']}").headers["location"] == link["url"] for link in links)


@pytest.mark.parametrize("generator", ["permuted", "hash"])
@pytest.mark.parametrize("order", [{}, {"alias": "once"}, {"expires_in": "7d"}], ids=["code", "alias", "end"])
def test_an_idempotency_key_gives_the_same_answer_again(
    serve: Callable[..., httpx.Client], generator: str, order: dict[str, Any]
):
    client = serve(codes=generator)
    body = {"url": TARGET, **order}
    answers = [client.post(SHORTEN, json=body, headers={"idempotency-key": "a-key"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert len({answer.text for answer in answers}) == 1
    other = client.post(SHORTEN, json=body | {"url": "https://example.com/b"}, headers={"idempotency-key": "a-key"})
    assert other.status_code in (409, 422)
    assert other.headers["content-type"] == "application/problem+json"


def test_hash_codes_are_the_same_for_the_same_address_and_probe_past_a_collision(serve: Callable[..., httpx.Client]):
    client = serve(codes="hash")
    first = client.post(SHORTEN, json={"url": "https://example.com/"})
    again = client.post(SHORTEN, json={"url": "https://EXAMPLE.com"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json()["code"] == "3zwNnbp"
    # Another link sits on the first code of this address: the next one of its series is taken.
    squatter = made(client, "https://example.com/squatter", alias=hash_code(TARGET))
    probed = made(client, TARGET)
    assert probed["code"] == hash_code(TARGET, 1)
    assert client.get(f"/{probed['code']}").headers["location"] == TARGET
    assert client.get(f"/{squatter['code']}").headers["location"] == squatter["url"]


def test_hash_codes_of_links_that_end_are_their_own_and_never_run_out(serve: Callable[..., httpx.Client]):
    client = serve(codes="hash")
    lasting = made(client, TARGET)
    ending = {made(client, TARGET, expires_in=3600)["code"] for _ in range(40)}
    assert len(ending) == 40
    assert lasting["code"] not in ending
    assert made(client, TARGET)["code"] == lasting["code"]


def test_a_link_ends(serve: Callable[..., httpx.Client]):
    client = serve()
    link = made(client, expires_in=1)
    end = datetime.fromisoformat(link["expires_at"])
    assert end - datetime.now(UTC) < timedelta(seconds=1)
    answer = client.get(f"/{link['code']}")
    while datetime.now(UTC) <= end:
        assert answer.status_code in (302, 410)
        answer = client.get(f"/{link['code']}")
    gone = client.get(f"/{link['code']}")
    assert gone.status_code == 410
    assert gone.json()["detail"].startswith("This link has ended")
    assert client.get(f"/{link['code']}+").status_code == 410
    assert client.get(f"/api/v1/{link['code']}").status_code == 410
    again = client.post(SHORTEN, json={"url": "https://example.com/b", "alias": link["code"]})
    assert again.status_code == 409, "a code that was printed somewhere must not lead elsewhere later"


def test_an_end_is_answered_in_utc(client: httpx.Client):
    link = made(client, expires_at="2030-01-31T12:00:00+02:00")
    assert link["expires_at"] == "2030-01-31T10:00:00Z"


def test_a_code_that_was_asked_for_too_early_works_as_soon_as_it_is_made(client: httpx.Client):
    for _ in range(3):
        assert client.get("/early-bird").status_code == 404
    made(client, alias="early-bird")
    assert client.get("/early-bird").headers["location"] == TARGET


def test_the_public_address_comes_from_the_setting_or_from_the_host(serve: Callable[..., httpx.Client]):
    client = serve()
    answer = client.post(SHORTEN, json={"url": TARGET}, headers={"host": "Sho.Example:8080"}).json()
    assert answer["short_url"] == f"http://sho.example:8080/{answer['code']}"
    client = serve(public_url="https://go.example/")
    answer = client.post(SHORTEN, json={"url": TARGET}).json()
    assert answer["short_url"] == f"https://go.example/{answer['code']}"
    loop = client.post(SHORTEN, json={"url": "https://go.example/abc"})
    assert (loop.status_code, loop.json()["field"]) == (400, "url")
    assert "loop" in loop.json()["detail"]


def test_the_preview_tells_programs_where_a_link_leads(client: httpx.Client):
    link = made(client, expires_in="7d")
    answer = client.get(f"/{link['code']}+")
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in link} == link
    assert datetime.fromisoformat(answer.json()["created_at"]) <= datetime.now(UTC)
