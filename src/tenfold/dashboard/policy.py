"""Who may look at the page and who may change something through it: pure decisions about one request.

The page can do what the command line can, so a browser that has it open is worth attacking. Against which attack is:

- the `Host` header must be an address or a name of ours: a foreign name that was made to resolve to this machine (DNS
  rebinding, Jackson et al. 2007) would make a stranger's page one of our origin;
- what changes something needs our own `Origin` (or none), `Sec-Fetch-Site` of this origin, and a token in a header that
  is bound to a cookie of this browser (OWASP, CSRF prevention: signed double submit, with fetch metadata);
- a page that is not bound to loopback asks for a token of 192 bits, and answers wrong ones ever more slowly.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tenfold.core.errors import TenfoldError
from tenfold.topology.dashboard import Mode
from tenfold.topology.door import is_loopback

BODY_MAX = 64 * 1024
TRIES, LONGEST_WAIT_S, CLIENTS_MAX = 5, 60.0, 1000
"""Wrong tokens of one address before it has to wait, how long at most, and addresses that are remembered."""
SAFE = ("GET", "HEAD")
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; font-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""Of every answer. Nothing of another origin is loaded, nobody frames it, and the page holds no script or style."""
REPORT_CSP = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "frame-ancestors 'self'"
)
"""Of a proof's report, which is one file: its script runs in an origin of its own and can ask nobody. The page shows
it in a frame."""

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


class Refused(TenfoldError):
    """The page does not do this for who asks; the sentence says why."""

    code = "TF-DASHBOARD"
    title = "The dashboard does not do this"
    public = True

    def __init__(self, status: int, message: str, *, hint: str = "", code: str = "TF-DASHBOARD") -> None:
        super().__init__(message, hint=hint, code=code)
        self.status = status


@dataclass(frozen=True)
class Asked:
    """What is known of one request; a header that was not sent is empty."""

    method: str
    path: str
    host: str
    origin: str = ""
    fetch_site: str = ""
    content_type: str = ""
    length: int = 0
    csrf: str = ""
    cookie: str = ""
    """The browser's own random text."""
    pass_: str = ""
    """What the browser got for the token (`pass_of`)."""


@dataclass(frozen=True)
class Rules:
    """What holds for one dashboard. `names`: hosts by which it may be called beside addresses; lower case. `key` signs
    what is bound to a cookie. `token`: empty where none is needed."""

    mode: Mode
    loopback: bool
    names: frozenset[str]
    key: str = field(repr=False)
    token: str = field(default="", repr=False)


def names_of(host: str, machine: Iterable[str]) -> frozenset[str]:
    """The names under which the page may be asked for: the configured one, and on the network the machine's own."""
    own = [] if is_loopback(host) else list(machine)
    names = (name.lower().rstrip(".") for name in ("localhost", host, *own))
    return frozenset(name for name in names if _NAME.fullmatch(name))


def refusal(rules: Rules, asked: Asked) -> Refused | None:
    """Why this request is refused; None for one that is answered."""
    return _foreign_host(rules, asked) or _without_pass(rules, asked) or _foreign_page(asked) or _change(rules, asked)


def _foreign_host(rules: Rules, asked: Asked) -> Refused | None:
    host = _host_of(asked.host)
    ours = host in rules.names or _is_address(host, loopback=rules.loopback)
    if ours:
        return None
    return Refused(421, "This is not a name of the dashboard.", hint="Use the address that `tenfold status` prints.")


def _without_pass(rules: Rules, asked: Asked) -> Refused | None:
    if not rules.token or hmac.compare_digest(asked.pass_.encode(), pass_of(rules).encode()):
        return None
    return Refused(
        401,
        "The dashboard asks for its token here.",
        hint="It is in .tenfold/secrets/dashboard-token beside tenfold.toml.",
        code="TF-DASHBOARD-TOKEN",
    )


def _foreign_page(asked: Asked) -> Refused | None:
    """Another site's page may lead here, and may not ask for data: it would take the places of those who look."""
    if asked.fetch_site in ("", "none", "same-origin") or (asked.path == "/" and asked.method in SAFE):
        return None
    return Refused(403, "Another site's page may not ask the dashboard.")


def _change(rules: Rules, asked: Asked) -> Refused | None:
    if asked.method in SAFE:
        return None
    if asked.origin and _authority(asked.origin) != asked.host.lower():
        return Refused(403, "Another site's page may not ask the dashboard.")
    if rules.mode != "full":
        hint = 'Set mode = "full" under [dashboard] in tenfold.toml, then run `tenfold up`.'
        return Refused(403, "The dashboard is read-only: it changes nothing.", hint=hint, code="TF-DASHBOARD-READS")
    if asked.content_type.split(";")[0].strip().lower() != "application/json":
        return Refused(415, "The body must be application/json.")
    if not csrf_fits(rules, asked.cookie, asked.csrf):
        return Refused(403, "The page is older than its session.", hint="Load it again.", code="TF-DASHBOARD-CSRF")
    return too_long(asked.length)


def too_long(length: int) -> Refused | None:
    """Why a body of so many bytes is refused."""
    if length <= BODY_MAX:
        return None
    return Refused(413, f"The body has more than {BODY_MAX} bytes.")


def _host_of(header: str) -> str:
    """The host of a `Host` header without its port, in lower case; an IPv6 address without its brackets."""
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".") if "@" not in header else ""
    except ValueError:
        return ""


def _is_address(host: str, *, loopback: bool) -> bool:
    """Whether it is an IP address: nobody can make a stranger's name resolve to it. On loopback, one of loopback."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or not loopback


def _authority(origin: str) -> str:
    """`host:port` of an `Origin` header; empty for one that has none, such as `null`."""
    scheme, _, rest = origin.partition("://")
    return rest.lower() if scheme in ("http", "https") else ""


# What is bound to a cookie


def csrf_of(rules: Rules, cookie: str) -> str:
    """The token of the page that goes with a browser's cookie."""
    return _signed(rules.key, f"csrf {cookie}")


def csrf_fits(rules: Rules, cookie: str, token: str) -> bool:
    """Whether the page that asks was made for this browser."""
    return bool(cookie) and hmac.compare_digest(csrf_of(rules, cookie).encode(), token.encode())


def pass_of(rules: Rules) -> str:
    """What a browser keeps once it has shown the token; of no use after another token was made."""
    return _signed(rules.key, f"pass {rules.token}")


def token_fits(rules: Rules, token: str) -> bool:
    """Whether this is the token; compared in constant time."""
    return bool(rules.token) and hmac.compare_digest(rules.token.encode(), token.encode())


def _signed(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


class Tries:
    """Wrong tokens by client address: after a few, each further one doubles the time until the next is looked at."""

    def __init__(self) -> None:
        self._wrong: dict[str, tuple[int, float]] = {}

    def wait_s(self, client: str, now_s: float) -> float:
        """How long this client has to wait now, in seconds."""
        _count, until_s = self._wrong.get(client, (0, 0.0))
        return max(0.0, until_s - now_s)

    def wrong(self, client: str, now_s: float) -> None:
        """A wrong token came from there."""
        count = self._wrong.pop(client, (0, 0.0))[0] + 1
        wait_s = 0.0 if count < TRIES else min(2.0 ** (count - TRIES), LONGEST_WAIT_S)
        self._wrong[client] = (count, now_s + wait_s)
        while len(self._wrong) > CLIENTS_MAX:
            del self._wrong[next(iter(self._wrong))]

    def right(self, client: str) -> None:
        """The token came from there: what was wrong before is forgotten."""
        self._wrong.pop(client, None)
