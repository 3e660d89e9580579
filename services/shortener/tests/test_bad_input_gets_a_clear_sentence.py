"""Whatever comes in: a problem document with one sentence a person understands, the same beside the form's field."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest

SHORTEN = "/api/v1/data/shorten"
JSON = {"content-type": "application/json"}
GOOD = "https://example.com/"


def assert_problem(answer: httpx.Response, status: int, says: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["title"]
    assert says in document["detail"]
    assert document["detail"].endswith(".")
    assert "Traceback" not in answer.text
    return document


BODIES = [
    (b"", "The body is empty"),
    (b"  \n", "The body is empty"),
    (b"{", "not valid JSON"),
    (b'{"url": "https://example.com/"', "not valid JSON"),
    (b"{'url': 'x'}", "not valid JSON"),
    (b'{"url": NaN}', "not valid JSON"),
    (b'{"url": "\xff\xfe"}', "not valid"),
    (b'\xff\xfe{"url": "x"}', "not valid"),
    (b'{"url": "\\ud800"}', "not valid JSON"),
    (b"[" * 100_000, "not valid JSON"),
    (b'"https://example.com/"', "JSON object"),
    (b'["https://example.com/"]', "JSON object"),
    (b"null", "JSON object"),
    (b"{}", "The field url is missing"),
    (b'{"alias": "abc"}', "The field url is missing"),
]

ORDERS: list[tuple[dict[str, Any], str, str]] = [
    ({"url": None}, "url", "has to be a text, not null"),
    ({"url": 7}, "url", "has to be a text, not a number"),
    ({"url": ["a"]}, "url", "has to be a text, not a list"),
    ({"url": {"a": 1}}, "url", "has to be a text, not an object"),
    ({"url": True}, "url", "has to be a text, not true or false"),
    ({"longUrl": 7}, "url", "The field longUrl has to be a text"),
    ({"url": GOOD, "longUrl": GOOD}, "url", "not both"),
    ({"url": ""}, "url", "Enter the address"),
    ({"url": "https://example.com/" + "a" * 2_980}, "url", "3,000 characters long; the limit is 2,048 characters"),
    ({"url": "javascript:alert(1)"}, "url", "A javascript: address cannot be shortened"),
    ({"url": "file:///etc/passwd"}, "url", "A file: address cannot be shortened"),
    ({"url": "https://example.com/\r\nSet-Cookie: a=b"}, "url", "control character"),
    ({"url": "http://127.0.0.1:8000/"}, "url", "private, local or reserved"),
    ({"url": "http://[::1]/"}, "url", "private, local or reserved"),
    ({"url": "http://169.254.169.254/"}, "url", "private, local or reserved"),
    ({"url": GOOD, "alias": "ab"}, "alias", "3 to 32 characters"),
    ({"url": GOOD, "alias": ""}, "alias", "3 to 32 characters"),
    ({"url": GOOD, "alias": "a\r\nLocation: x"}, "alias", "letters"),
    ({"url": GOOD, "alias": "../../etc"}, "alias", "letters"),
    ({"url": GOOD, "alias": "healthz"}, "alias", "reserved"),
    ({"url": GOOD, "alias": 12345}, "alias", "has to be a text"),
    ({"url": GOOD, "expires_in": "soon"}, "expires", "number of seconds"),
    ({"url": GOOD, "expires_in": 1.5}, "expires", "not a fraction"),
    ({"url": GOOD, "expires_in": True}, "expires", "not true or false"),
    ({"url": GOOD, "expires_in": 10**30}, "expires", "number of seconds"),
    ({"url": GOOD, "expires_at": "yesterday"}, "expires", "with its offset"),
    ({"url": GOOD, "expires_at": "2020-01-01T00:00:00Z"}, "expires", "in the future"),
    ({"url": GOOD, "expires_in": 60, "expires_at": "2030-01-01T00:00:00Z"}, "expires", "not both"),
]


@pytest.mark.parametrize(("body", "says"), BODIES, ids=range(len(BODIES)))
def test_bodies_that_are_no_order(client: httpx.Client, body: bytes, says: str):
    assert_problem(client.post(SHORTEN, content=body, headers=JSON), 400, says)


@pytest.mark.parametrize(("order", "field", "says"), ORDERS, ids=range(len(ORDERS)))
def test_orders_that_make_no_sense(client: httpx.Client, order: dict[str, Any], field: str, says: str):
    assert assert_problem(client.post(SHORTEN, json=order), 400, says)["field"] == field


def test_an_unknown_field_is_named_and_the_right_one_guessed(client: httpx.Client):
    assert_problem(
        client.post(SHORTEN, json={"url": GOOD, "alais": "x"}), 400, "'alais' is unknown. Perhaps alias was meant."
    )
    assert_problem(client.post(SHORTEN, json={"url": GOOD, "zzz\r\n": 1}), 400, "Known are url")


def test_an_order_of_another_type_is_refused(client: httpx.Client):
    assert_problem(
        client.post(SHORTEN, content=b"url=x", headers={"content-type": "text/plain"}), 415, "application/json"
    )


@pytest.mark.parametrize("path", [SHORTEN, "/"])
def test_ten_megabytes_are_too_many(client: httpx.Client, path: str):
    answer = client.post(path, content=b'{"url": "' + b"a" * 10_000_000 + b'"}', headers=JSON)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_host_header_that_is_none_is_refused(client: httpx.Client):
    for host in ("evil.example/path", "a b", "<script>", "x@evil.example", "a.example:port", "a.example, b.example"):
        answer = client.post(SHORTEN, json={"url": GOOD}, headers={"host": host})
        assert answer.status_code == 400, host
        assert "Set-Cookie" not in answer.text


@pytest.mark.parametrize(
    "head",
    [
        b"Host: a.example\r\nHost: b.example\r\n",
        b"Host: a.example\r\n X-Folded: 1\r\n",
        b"Host: a\x00b.example\r\n",
        b"",
    ],
    ids=["two hosts", "folded", "NUL", "none"],
)
def test_a_request_with_a_crooked_head_makes_no_link(client: httpx.Client, head: bytes):
    body = b'{"url": "https://example.com/"}'
    request = (
        b"POST %b HTTP/1.1\r\n%bContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
    )
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as connection:
        connection.sendall(request % (SHORTEN.encode(), head, len(body), body))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "path", ["/%0d%0aSet-Cookie:a=b", "/%00", "/%ff", "/..%2f..", "/" + "a" * 4_000, "/a/b/c", "/%F0%9F%98%80"]
)
def test_paths_that_are_no_codes_are_not_found(client: httpx.Client, path: str):
    answer = client.get(path)
    assert answer.status_code in (400, 404)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "set-cookie" not in answer.headers


def test_people_get_pages_and_programs_get_problems(client: httpx.Client):
    browser = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    page = client.get("/no-such-code", headers=browser)
    assert page.status_code == 404
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "There is no link with this code" in page.text
    for accept in ("*/*", "application/json", "application/json, text/html;q=0.5", ""):
        assert_problem(client.get("/no-such-code", headers={"accept": accept}), 404, "There is no link with this code")
    assert_problem(client.get("/api/v1/no-such-code", headers=browser), 404, "There is no link with this code")
    assert_problem(client.delete("/no-such-code"), 405, "DELETE is not possible")
    assert "allow" in client.delete("/no-such-code").headers


@pytest.mark.parametrize(
    ("order", "field", "says"),
    [
        row
        for row in ORDERS
        if set(row[0]) <= {"url", "alias"}
        and all(isinstance(v, str) for v in row[0].values())
        and row[0].get("alias") != ""
    ],
)
def test_the_form_says_the_same_sentence(client: httpx.Client, order: dict[str, Any], field: str, says: str):
    answer = client.post("/", data=order, headers={"accept": "text/html"})
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    assert says in answer.text.replace("&#39;", "'")


def test_a_form_shows_what_was_typed_without_running_it(client: httpx.Client):
    typed = '"><script>alert(1)</script>'
    answer = client.post("/", data={"url": typed, "alias": typed})
    assert answer.status_code == 400
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text


@pytest.mark.parametrize("body", [b"url=%ff%fe", b"url=\xff", b"&".join([b"a=b"] * 50)])
def test_a_form_that_cannot_be_read_is_shown_again(client: httpx.Client, body: bytes):
    answer = client.post("/", content=body, headers={"content-type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 400
    assert "The form could not be read" in answer.text


def test_a_form_of_another_kind_is_refused(client: httpx.Client):
    assert client.post("/", files={"url": b"x"}).status_code == 415


def test_nothing_of_all_this_was_saved(client: httpx.Client):
    for alias in ("ab", "healthz", "a"):
        assert client.get(f"/{alias}+").status_code in (404, 200)
    assert client.get("/healthz").status_code == 200
