"""`[sessions]` in tenfold.toml: how long visitors stay signed in, and the cookie that says who they are."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Struct, field

from tenfold.topology.rules import Duration, Key, OneOf, Text

IDLE_S = 7 * 86_400.0
LIFETIME_S = 30 * 86_400.0

Secure = Literal["auto", "always"]


class SessionsSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[sessions]`: how long visitors stay signed in, and the cookie that says who they are."""

    idle_s: Annotated[
        float, Key(Duration("1m", "365d"), "A session that is not used for so long is over; known to a minute.")
    ] = field(default=IDLE_S, name="idle")
    lifetime_s: Annotated[
        float, Key(Duration("1m", "3650d"), "A session is over so long after it began, or its user signed in.")
    ] = field(default=LIFETIME_S, name="lifetime")
    cookie: Annotated[
        str | None,
        Key(
            Text(r"[A-Za-z][A-Za-z0-9_-]{0,47}", "a name of at most 48 letters, digits, - and _, a letter first"),
            "Cookies do not tell the ports of one machine apart, so each service has a name of its own.",
            '"<name>_session"',
        ),
    ] = None
    secure: Annotated[
        Secure,
        Key(
            OneOf(("auto", "always")),
            "With auto the cookie is Secure, and its name begins with `__Host-`, where a request came encrypted.",
        ),
    ] = "auto"


class SessionsMap(msgspec.Struct, frozen=True):
    """How long sessions live, in seconds, and their cookie; an empty name stands for `<service>_session`."""

    idle_s: float = IDLE_S
    lifetime_s: float = LIFETIME_S
    cookie: str = ""
    secure: Secure = "auto"


def sessions_map(spec: SessionsSpec) -> SessionsMap:
    """What processes see of it."""
    return SessionsMap(spec.idle_s, spec.lifetime_s, spec.cookie or "", spec.secure)
