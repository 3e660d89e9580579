"""Where a PostgreSQL server is and as whom one logs in there; read from `[database] url`. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

from tenfold.core.errors import SpecError

Tls = Literal["disable", "prefer", "require", "verify-full"]

FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=require"
_IGNORED = frozenset({"application_name", "channel_binding", "connect_timeout", "target_session_attrs"})
"""What providers put into the urls that they show; Tenfold decides these itself."""
_HOME = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class ServerUrl:
    """A login at a server. `host` may be a folder: the one of a unix socket. It never shows its password."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(default="", repr=False)
    tls: Tls = "prefer"

    @property
    def shown(self) -> str:
        """The server as a message names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}:{self.port}/{self.database}"


def parse_url(text: str) -> ServerUrl:
    """The login that a url means: `postgresql://` or `postgres://`, with a percent-encoded user and password.

    The password may be missing. TLS is `sslmode`: `disable`, `prefer`, `require` or `verify-full`; without it, `prefer`
    on this machine and `require` elsewhere. Raises `SpecError` (TF-PG-URL) that says what is wrong and never quotes
    the url, because there is a password in it.
    """
    if any(char.isspace() or not char.isprintable() for char in text):
        raise _refused("holds blanks or control characters; they are written as %20 and the like")
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("postgresql", "postgres"):
        raise _refused("does not begin with postgresql://")
    if rest.split("/")[0].rpartition("@")[2].count(",") or "," in rest.split("?")[0].rpartition("@")[2].split("/")[0]:
        raise _refused("names several hosts; one is allowed")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _refused("has a host or a port that cannot be read; the port is 1 to 65535") from None
    host = unquote(parts.hostname or "")
    user, database = unquote(parts.username or ""), unquote(parts.path.removeprefix("/"))
    _check(host, port, user, database, parts.fragment)
    password = unquote(parts.password or "")
    return ServerUrl(host, port or 5432, database, user, password, _tls(parts.query, host))


def _check(host: str, port: int | None, user: str, database: str, fragment: str) -> None:
    if not host:
        raise _refused("names no host")
    if port == 0:
        raise _refused("has port 0; the port is 1 to 65535")
    if not user:
        raise _refused("names no user")
    if not database or "/" in database:
        raise _refused("names no database behind the host" if not database else "names more than one database")
    if fragment:
        raise _refused("has a # in it; in a password it is written as %23")


def _tls(query: str, host: str) -> Tls:
    found: Tls = "prefer" if host in _HOME else "require"
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in _IGNORED:
            continue
        if name != "sslmode":
            raise _refused(f"has the option {name!r}, which Tenfold does not know; it knows sslmode")
        matching: list[Tls] = [tls for tls in get_args(Tls) if tls == value]
        if not matching:
            raise _refused(f"has sslmode={value}; allowed: {', '.join(get_args(Tls))}")
        found = matching[0]
    return found


def _refused(what: str) -> SpecError:
    return SpecError(f"[database] url {what}.", hint=f"Its form is {FORM}.", code="TF-PG-URL")
