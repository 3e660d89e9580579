"""The few request headers that Tenfold itself reads, in one pass."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import unquote_to_bytes

from tenfold.core.errors import InvalidRequest
from tenfold.core.randomness import Randomness
from tenfold.core.trace import Caller, parse_traceparent

TOKEN_COOKIE = b"tf_token"
KEYED_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})

RELAYED = "tenfold.relayed"
"""In a scope: a proxy has passed the request on, or its client pretends so; its headers about that are set aside."""

EVENTS = "tenfold.events"
"""In a scope: the response is an event stream."""

_FORWARDING = frozenset({b"forwarded", b"x-real-ip"})
_READ_HERE = frozenset(
    {b"x-request-id", b"tf-token", b"cookie", b"idempotency-key", b"content-length", b"expect", b"traceparent"}
)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")
_IN_FINGERPRINT = (b"content-type", b"authorization")


class Head:
    """What the headers of one request say to Tenfold."""

    __slots__ = ("cookies", "expects_continue", "keys", "length", "malformed", "request_id", "token", "traceparents")

    def __init__(self) -> None:
        self.request_id = ""
        self.token = ""
        self.keys: list[bytes] = []
        self.cookies: list[bytes] = []
        self.length = 0
        self.expects_continue = False
        self.malformed: InvalidRequest | None = None
        self.traceparents: list[bytes] = []

    def caller(self) -> Caller | None:
        """The trace of the caller, or None: a `traceparent` that is sent twice, or is not exactly one, says nothing."""
        if len(self.traceparents) != 1:
            return None
        return parse_traceparent(self.traceparents[0].decode("latin-1"))

    def key(self) -> str | None:
        """The Idempotency-Key, or None. Raises `InvalidRequest` for one that cannot be told apart for certain."""
        if not self.keys:
            return None
        if len(self.keys) > 1 or not _KEY.fullmatch(self.keys[0]):
            raise InvalidRequest(
                "The Idempotency-Key header is not usable.",
                hint="Send it once, with 1 to 255 visible ASCII characters; a UUID is a good choice.",
                code="TF-KEY",
            )
        return self.keys[0].decode("ascii")


NOTHING = Head()
"""The head of requests that carry none of these headers; shared, so never changed."""


def read_head(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """Reads what is ours; one pass over the names when there is nothing, as in most requests."""
    for name, _ in headers:
        if name in _READ_HERE:
            return _read(headers)
    return NOTHING


def _read(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    head = Head()
    for name, value in headers:
        if name == b"cookie":
            head.cookies.append(value)
        elif name == b"content-length":
            if value.isdigit() and len(value) <= 18:
                head.length = int(value)
            else:
                head.malformed = InvalidRequest("The Content-Length header is not a number of bytes.")
        elif name == b"idempotency-key":
            head.keys.append(value)
        elif name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            head.request_id = value.decode("ascii")
        elif name == b"tf-token":
            head.token = value.decode("latin-1")
        elif name == b"traceparent":
            head.traceparents.append(value)
        elif name == b"expect":
            head.expects_continue = True
    if head.cookies and not head.token:
        head.token = _cookie(head.cookies)
    return head


def _cookie(cookies: list[bytes]) -> str:
    for line in cookies:
        if TOKEN_COOKIE in line:
            for pair in line.split(b";"):
                name, _, value = pair.strip().partition(b"=")
                if name == TOKEN_COOKIE:
                    return value.decode("latin-1")
    return ""


def is_forwarding(name: bytes) -> bool:
    """Whether a header (its name in lower case) says for whom a proxy speaks."""
    return name.startswith(b"x-forwarded-") or name in _FORWARDING


def named_headers(headers: Iterable[tuple[bytes, bytes]], head: Head, request_id: str) -> list[tuple[bytes, bytes]]:
    """The headers as the service gets them: with the id of the request, whoever chose it."""
    if head.request_id:
        return list(headers)
    kept = headers if head is NOTHING else (each for each in headers if each[0] != b"x-request-id")
    return [*kept, (b"x-request-id", request_id.encode("ascii"))]


def check_path(scope: Mapping[str, Any]) -> None:
    """Refuses a path whose escapes are not UTF-8: servers replace such bytes, so two paths would become one."""
    raw = scope.get("raw_path")
    if raw is None:
        return
    try:
        unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest(
            "The path is not valid UTF-8.", hint="Percent-encode the UTF-8 bytes of the path."
        ) from None


def fingerprint_of(scope: Mapping[str, Any], body: bytes, visitor: bytes = b"") -> bytes:
    """Tells two requests that use one Idempotency-Key apart: 32 bytes over everything that gives a request its meaning.

    `visitor` names the session of the sender, so that nobody is given the answer of somebody else.

    Every part is preceded by its length, so that no two different requests share one input.
    """
    digest = sha256()
    chosen = [value for wanted in _IN_FINGERPRINT for name, value in scope["headers"] if name == wanted]
    chosen += [visitor] if visitor else []
    for part in (scope["method"].encode(), scope["path"].encode(), scope.get("query_string", b""), *chosen, body):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()


class RequestIds:
    """Makes ids that differ between processes and requests: a random prefix and a counter. Not secret, not guessed at
    random either; cheap enough for every request."""

    __slots__ = ("_count", "_prefix")

    def __init__(self, randomness: Randomness) -> None:
        self._prefix = f"{randomness.bits(40):010x}-"
        self._count = 0

    def next(self) -> str:
        """The next id, such as `5f0c1a2b3d-1f`."""
        self._count += 1
        return f"{self._prefix}{self._count:x}"
