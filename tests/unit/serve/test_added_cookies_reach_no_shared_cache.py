"""Headers that blocks add: a cookie is never on a response that a shared cache may keep."""

from __future__ import annotations

import pytest

from tenfold.serve.added import Headers, with_added

COOKIE = (b"set-cookie", b"s=1")
OTHER = (b"x-other", b"1")
PRIVATE = (b"cache-control", b"private")
TWO_LINES = [(b"cache-control", b"a"), (b"cache-control", b" S-MaxAge = 5")]


@pytest.mark.parametrize(
    ("own", "added", "then"),
    [
        ([], [], []),
        ([], [OTHER], [OTHER]),
        ([], [PRIVATE], [PRIVATE]),
        ([(b"cache-control", b"max-age=5")], [PRIVATE, OTHER], [(b"cache-control", b"max-age=5"), OTHER]),
        ([], [COOKIE], [COOKIE, (b"cache-control", b"no-store")]),
        ([], [PRIVATE, COOKIE], [COOKIE, (b"cache-control", b"no-store")]),
        ([(b"cache-control", b"max-age=5")], [COOKIE], [(b"cache-control", b"max-age=5"), COOKIE, PRIVATE]),
        ([(b"cache-control", b"no-cache=public")], [COOKIE], [(b"cache-control", b"no-cache=public"), COOKIE, PRIVATE]),
        ([(b"Cache-Control", b"PRIVATE")], [COOKIE], [(b"Cache-Control", b"PRIVATE"), COOKIE]),
        ([(b"cache-control", b"public")], [COOKIE, OTHER], [(b"cache-control", b"public"), OTHER]),
        (TWO_LINES, [COOKIE], TWO_LINES),
    ],
)  # fmt: skip
def test_what_a_response_says_of_caches(own: Headers, added: Headers, then: Headers) -> None:
    assert with_added(own, added, "GET /") == then


def test_the_log_names_the_request_whose_cookie_was_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with_added([(b"cache-control", b"public")], [OTHER], "GET /fine")
    assert caplog.text == ""
    with_added([(b"cache-control", b"public")], [COOKIE], "GET /page")
    assert "GET /page" in caplog.text
    assert "s=1" not in caplog.text
