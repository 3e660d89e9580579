from __future__ import annotations

from typing import Any

import pytest
from serving import Answer, FakeRuntime, call

from tenfold.blocks.database.scope import current_scope
from tenfold.blocks.database.token import EMPTY, Position, Token, decode
from tenfold.serve.asgi import TenfoldASGI
from tenfold.serve.hot import Response

OLD = EMPTY.advanced("s1", Position(1, 0, 0, 5))
NEW = OLD.advanced("s1", Position(1, 0, 0, 6))


def ask(
    method: str, cache_control: str | None, headers: list[tuple[str, str]], after: Token | None, **more: Any
) -> tuple[Token, Answer]:
    """What the application saw as the client's token, and the response after it set `after`."""
    seen: list[Token] = []
    control = [] if cache_control is None else [(b"cache-control", cache_control.encode())]

    def work() -> None:
        scope = current_scope()
        assert scope is not None
        seen.append(scope.token)
        scope.token = scope.token if after is None else after

    async def app(scope: Any, receive: Any, send: Any) -> None:
        work()
        await send({"type": "http.response.start", "status": 200, "headers": control})
        await send({"type": "http.response.body", "body": b""})

    def hot(request: Any, code: str) -> Response:
        work()
        return Response(200, control)

    answer = call(
        TenfoldASGI(app, FakeRuntime(), {"/hot/{code}": hot}), method, more.pop("path", "/x"), headers, **more
    )
    return seen[0], answer


@pytest.mark.parametrize(
    "header",
    [
        ("TF-Token", OLD.encode()),
        ("Cookie", f"tf_token={OLD.encode()}"),
        ("Cookie", f"a=1; tf_token={OLD.encode()}; b=2"),
    ],
)
def test_the_token_comes_in_a_header_or_a_cookie(header: tuple[str, str]) -> None:
    assert ask("GET", None, [header], None)[0] == OLD


@pytest.mark.parametrize("damaged", ["", "!", "AAAA", "x" * 5000, "ä"])
def test_a_damaged_token_counts_as_none(damaged: str) -> None:
    assert ask("GET", None, [("TF-Token", damaged)], None)[0] == EMPTY


@pytest.mark.parametrize("path", ["/x", "/hot/a"])
@pytest.mark.parametrize("control", ["private", "no-store", "Private, max-age=5"])
def test_a_changed_token_is_set_on_private_responses(path: str, control: str) -> None:
    _, answer = ask("GET", control, [("TF-Token", OLD.encode())], NEW, path=path)
    assert decode(answer.headers["tf-token"]) == NEW
    assert answer.headers["set-cookie"] == f"tf_token={NEW.encode()}; Path=/; HttpOnly; SameSite=Lax"


@pytest.mark.parametrize("path", ["/x", "/hot/a"])
@pytest.mark.parametrize("control", [None, "public, max-age=60", "max-age=60"])
def test_public_responses_carry_none(path: str, control: str | None) -> None:
    _, answer = ask("GET", control, [("TF-Token", OLD.encode())], NEW, path=path)
    assert "tf-token" not in answer.headers
    assert "set-cookie" not in answer.headers


def test_an_unchanged_token_is_not_repeated() -> None:
    same = Token(OLD.positions)
    assert "tf-token" not in ask("GET", "private", [("TF-Token", OLD.encode())], same)[1].headers


def test_the_answer_to_a_write_is_kept_out_of_caches_and_carries_the_token() -> None:
    _, answer = ask("POST", None, [], NEW)
    assert answer.headers["cache-control"] == "no-store"
    assert decode(answer.headers["tf-token"]) == NEW
    assert "tf-token" not in ask("POST", "public", [], NEW)[1].headers


def test_the_cookie_stays_on_https() -> None:
    assert ask("GET", "private", [], NEW, scheme="https")[1].headers["set-cookie"].endswith("; Secure")
