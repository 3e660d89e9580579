"""What a server or the driver says when something fails, as errors of our vocabulary. No message holds a password."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from tenfold.core.errors import StorageFull, TenfoldError, Unavailable
from tenfold.engines.postgres.address import ServerUrl

_FULL = "No space left on device"


class Starting(Unavailable):
    """The server runs and lets nobody in yet: it starts, repairs itself after a crash, or ends."""

    code = "TF-PG-STARTING"
    title = "The database server is starting"


class CannotConnect(Unavailable):
    """Nobody answers there, or not as a PostgreSQL server does."""

    code = "TF-PG-CONNECT"
    title = "The database server cannot be reached"


def connect_error(login: ServerUrl, error: BaseException) -> TenfoldError:
    """Why a login failed, in a sentence that names the server and what to do."""
    state = str(getattr(error, "sqlstate", "") or "")
    if isinstance(error, asyncpg.PostgresError):
        return _by_state(login, state, str(error))
    if isinstance(error, TimeoutError):
        return CannotConnect(
            f"{login.shown} did not answer in time.", hint="Check host and port, and whether a firewall is in between."
        )
    if "SSL" in str(error) or "certificate" in str(error).lower():
        return CannotConnect(
            f"{login.shown}: TLS failed: {_short(error)}.",
            hint="Check sslmode in the url: disable, prefer, require or verify-full.",
        )
    return CannotConnect(
        f"{login.shown} cannot be reached: {_short(error)}.", hint="Check host and port, and that the server runs."
    )


_REFUSALS = {
    "28P01": (
        "TF-PG-PASSWORD",
        "the password is wrong",
        "Correct it in [database] url (special characters percent-encoded), or in .tenfold/secrets.",
    ),
    "28000": ("TF-PG-PASSWORD", "{said}", "Check the role's name and pg_hba.conf of the server."),
    "3D000": ("TF-PG-CONNECT", "{said}", "Make an empty database and name it in the url."),
}
_PASSING = {
    "53300": ("TF-PG-CONNECTIONS", "Raise max_connections, or close what else is connected."),
    "53100": ("TF-DISK-FULL", "Free some space on the disk of the server."),
    "53200": ("TF-PG-CONNECT", "The server is out of memory."),
}
_STARTING = ("57P01", "57P02", "57P03")


def _by_state(login: ServerUrl, state: str, said: str) -> TenfoldError:
    said = said.rstrip(".")
    if state in _STARTING:
        return Starting(f"{login.shown}: {said}.", hint="Wait a moment.")
    if state in _PASSING:
        code, hint = _PASSING[state]
        return Unavailable(f"{login.shown}: {said}.", hint=hint, code=code)
    if state.startswith("08"):
        return CannotConnect(f"{login.shown}: {said}.", hint="See the server's log.")
    code, sentence, hint = _REFUSALS.get(state, ("TF-PG-CONNECT", "{said}", "See the server's log."))
    return TenfoldError(f"{login.shown}: {sentence.format(said=said)}.", hint=hint, code=code)


def start_error(node: str, tail: Sequence[str], data: str, code: str = "TF-PG-START") -> TenfoldError:
    """Why a supervised server does not start, by the last lines of its log."""
    words = "\n".join(tail)
    if _FULL in words:
        return StorageFull(
            f"{node} does not run: the disk of {data} is full.",
            hint="Free some space there; it starts again by itself, and what was acknowledged is intact.",
        )
    last = "\n".join(f"  {line}" for line in list(tail)[-6:]) or "  (nothing)"
    return TenfoldError(
        f"{node} does not start. Its last lines:\n{last}", hint=f"See `tenfold logs {node}`.", code=code
    )


def _short(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")[:200]
