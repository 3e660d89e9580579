"""An Idempotency-Key names a request; the fingerprint tells two requests with one key apart."""

from __future__ import annotations

from typing import Any

import pytest
from serving import FakeRuntime, call

from tenfold.blocks.database.scope import RequestScope, current_scope
from tenfold.serve.asgi import TenfoldASGI


def observed(method: str, headers: list[tuple[str, str]], body: Any = b"", **more: Any) -> tuple[RequestScope, bytes]:
    """The scope and the body that the application saw."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        parts, more_body = [], True
        while more_body:
            message = await receive()
            parts.append(message.get("body", b""))
            more_body = message.get("more_body", False)
        seen.extend([current_scope(), b"".join(parts)])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    answer = call(TenfoldASGI(app, FakeRuntime()), method, more.pop("path", "/x"), headers, body, **more)
    assert answer.status == 204
    return seen[0], seen[1]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_the_application_reads_the_body_as_if_nobody_had(method: str) -> None:
    scope, body = observed(method, [("Idempotency-Key", "k-1")], [b"ab", b"c", b""])
    assert (scope.idempotency_key, body, len(scope.fingerprint)) == ("k-1", b"abc", 32)


def test_a_key_on_a_read_means_nothing() -> None:
    scope, _ = observed("GET", [("Idempotency-Key", "k-1")])
    assert (scope.idempotency_key, scope.fingerprint) == (None, b"")


def test_the_parts_in_which_a_body_arrives_do_not_matter() -> None:
    key = [("Idempotency-Key", "k")]
    assert observed("POST", key, [b"a", b"bc"])[0].fingerprint == observed("POST", key, b"abc")[0].fingerprint


DIFFERENT: list[tuple[str, list[tuple[str, str]], bytes, dict[str, Any]]] = [
    ("POST", [], b"abc", {}),
    ("PUT", [], b"abc", {}),
    ("POST", [], b"abd", {}),
    ("POST", [], b"abc", {"path": "/y"}),
    ("POST", [], b"abc", {"query_string": b"a=1"}),
    ("POST", [("Content-Type", "text/plain")], b"abc", {}),
    ("POST", [("Authorization", "text/plain")], b"abc", {}),
    ("POST", [("Authorization", "Bearer b")], b"abc", {}),
    ("POST", [], b"", {"query_string": b"abc"}),
]


def test_every_part_of_a_requests_meaning_changes_its_fingerprint() -> None:
    prints = {
        observed(method, [("Idempotency-Key", "k"), *headers], body, **more)[0].fingerprint
        for method, headers, body, more in DIFFERENT
    }
    # A content type and an authorization of the same text share one place: no request has the one for the other.
    assert len(prints) == len(DIFFERENT) - 1


def test_what_does_not_change_a_requests_meaning_does_not_change_its_fingerprint() -> None:
    key = ("Idempotency-Key", "k")
    assert observed("POST", [key, ("User-Agent", "a"), ("X-Request-Id", "1")])[0].fingerprint == (
        observed("POST", [("X-Request-Id", "2"), key])[0].fingerprint
    )


@pytest.mark.parametrize(
    "headers",
    [
        [("Idempotency-Key", "")],
        [("Idempotency-Key", "x" * 256)],
        [("Idempotency-Key", "a b")],
        [("Idempotency-Key", "ä")],
        [("Idempotency-Key", "a\x7f")],
        [("Idempotency-Key", "a"), ("Idempotency-Key", "a")],
    ],
)
def test_a_key_that_is_not_usable_is_refused(headers: list[tuple[str, str]]) -> None:
    answer = call(TenfoldASGI(None, FakeRuntime()), "POST", "/x", headers)
    assert (answer.status, answer.problem["code"]) == (400, "TF-KEY")
    assert answer.problem["hint"]


def test_a_key_of_255_characters_is_usable() -> None:
    assert observed("POST", [("Idempotency-Key", "~" * 255)])[0].idempotency_key == "~" * 255


@pytest.mark.parametrize("sane", ["abc", "5f-1.2:3/4+5=6@7_8", "x" * 128])
def test_a_sane_request_id_is_kept(sane: str) -> None:
    assert observed("GET", [("X-Request-Id", sane)])[0].request_id == sane


@pytest.mark.parametrize("insane", ["", "a b", "x" * 129, "ä", '"', "a\x00"])
def test_any_other_request_id_is_replaced(insane: str) -> None:
    made = observed("GET", [("X-Request-Id", insane)])[0].request_id
    assert made != insane
    assert made.isascii()


def test_made_request_ids_differ() -> None:
    ids: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        current = current_scope()
        assert current is not None
        ids.append(current.request_id)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    tenfold = TenfoldASGI(app, FakeRuntime())
    for _ in range(100):
        call(tenfold, "GET", "/x")
    assert len(set(ids)) == 100
