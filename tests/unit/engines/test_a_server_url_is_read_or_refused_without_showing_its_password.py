"""`[database] url`: what it may be, and what is said when it is not."""

from __future__ import annotations

import pytest

from tenfold.core.errors import SpecError
from tenfold.engines.postgres import ServerUrl, parse_url


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("postgresql://u:p@db.example.com/shop", ServerUrl("db.example.com", 5432, "shop", "u", "p", "require")),
        ("postgres://u:p@10.0.0.7:6432/shop", ServerUrl("10.0.0.7", 6432, "shop", "u", "p", "require")),
        ("postgresql://u:p@localhost/shop", ServerUrl("localhost", 5432, "shop", "u", "p", "prefer")),
        ("postgresql://u@127.0.0.1/shop", ServerUrl("127.0.0.1", 5432, "shop", "u", "", "prefer")),
        ("postgresql://u:p@[::1]:5433/shop", ServerUrl("::1", 5433, "shop", "u", "p", "prefer")),
        ("postgresql://a%40b:p%2F%3A%40%23%25@h/s", ServerUrl("h", 5432, "s", "a@b", "p/:@#%", "require")),
        ("postgresql://u:p@h/my%20shop", ServerUrl("h", 5432, "my shop", "u", "p", "require")),
        ("postgresql://u:p@h/s?sslmode=disable", ServerUrl("h", 5432, "s", "u", "p", "disable")),
        ("postgresql://u:p@h/s?sslmode=verify-full", ServerUrl("h", 5432, "s", "u", "p", "verify-full")),
        (
            "postgresql://u:p@h/s?sslmode=require&channel_binding=require&connect_timeout=10",
            ServerUrl("h", 5432, "s", "u", "p", "require"),
        ),
    ],
)
def test_urls_as_providers_show_them(text: str, meant: ServerUrl) -> None:
    assert parse_url(text) == meant


SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"mysql://u:{SECRET}@h/s", "does not begin with postgresql://"),
        (f"postgresql+asyncpg://u:{SECRET}@h/s", "does not begin with postgresql://"),
        (f"u:{SECRET}@h/s", "does not begin with postgresql://"),
        ("", "does not begin with postgresql://"),
        (f"postgresql://u:{SECRET}@/s", "names no host"),
        (f"postgresql://:{SECRET}@h/s", "names no user"),
        ("postgresql://h/s", "names no user"),
        (f"postgresql://u:{SECRET}@h", "names no database"),
        (f"postgresql://u:{SECRET}@h/", "names no database"),
        (f"postgresql://u:{SECRET}@h/a/b", "more than one database"),
        (f"postgresql://u:{SECRET}@h:0/s", "port 0"),
        (f"postgresql://u:{SECRET}@h:70000/s", "cannot be read"),
        (f"postgresql://u:{SECRET}@h:x/s", "cannot be read"),
        (f"postgresql://u:{SECRET}@[::1/s", "cannot be read"),
        (f"postgresql://u:{SECRET}@h,i/s", "several hosts"),
        (f"postgresql://u:{SECRET}@h:1,i:2/s", "several hosts"),
        (f"postgresql://u:{SECRET}@h/s#x", "has a #"),
        (f"postgresql://u:{SECRET} x@h/s", "blanks"),
        (f"postgresql://u:{SECRET}@h/s\n", "blanks"),
        (f"postgresql://u:{SECRET}@h/s?sslmode=on", "sslmode=on; allowed: disable, prefer, require, verify-full"),
        (f"postgresql://u:{SECRET}@h/s?sslmode=verify-ca", "allowed:"),
        (f"postgresql://u:{SECRET}@h/s?options=-c%20x", "the option 'options'"),
    ],
)
def test_refusals_name_the_reason_and_never_the_password(text: str, why: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_url(text)
    assert caught.value.code == "TF-PG-URL"
    assert why in caught.value.message
    assert "postgresql://USER:PASSWORD@HOST" in caught.value.hint
    assert SECRET not in str(caught.value)


def test_a_login_never_shows_its_password() -> None:
    login = parse_url(f"postgresql://u:{SECRET}@h/s")
    assert SECRET not in repr(login) + str(login) + login.shown
    assert login.shown == "u@h:5432/s"
    assert parse_url("postgresql://u@[::1]/s").shown == "u@[::1]:5432/s"
