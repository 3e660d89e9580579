"""The cookie: what it says, how it is signed, and which of several is believed.

    base64url( key name (4) | id (16) | version (4) | HMAC-SHA256 over a purpose and the rest, cut to 18 )

Sixteen random bytes are the session's id; nothing in the cookie says anything about the session. It is sent when there
is a new id, and only then: the response of a change that arrives late cannot take the place of a newer id. The version
after a change, or of what was read when that is newer, is in a second cookie, which names its session by some bytes of
the hash of the id. The signature keeps made-up ids away from the database and makes the version trustworthy. 144 bits
of an HMAC are far more than an online forger can try (NIST SP 800-107r1, section 5.3.3, asks for 64 or more).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from typing import NamedTuple

from tenfold.blocks.sessions.policy import behind
from tenfold.core.keyring import ID_BYTES, KeyRing

ID_SIZE = 16
VERSION_SIZE = 4
MAC_SIZE = 18
SESSION, VERSION, ANONYMOUS = b"tenfold session\0", b"tenfold version\0", b"tenfold csrf\0"
"""What a text was signed for: one cannot be used as the other."""
AT = b"_at"
"""What the name of the second cookie ends with."""
PREFIX_SIZE = 8
"""Bytes of the hash of a session's id in the second cookie."""
CANDIDATES = 4
"""Cookies of one name that are looked at; a browser sends one, somebody who plants some may send more."""


class Claim(NamedTuple):
    """What a valid cookie says: the session's id, and the version that its client has seen (32 bits)."""

    id: bytes
    version: int


def seal(ring: KeyRing, purpose: bytes, payload: bytes) -> str:
    """The payload, readable and signed for a purpose."""
    key = ring.signing()
    body = key.name + payload
    mac = hmac.digest(key.secret, purpose + body, "sha256")[:MAC_SIZE]
    return base64.urlsafe_b64encode(body + mac).rstrip(b"=").decode("ascii")


def unseal(ring: KeyRing, purpose: bytes, text: bytes, size: int) -> bytes | None:
    """The payload of `size` bytes that was signed; None for whatever else somebody sends."""
    length = ID_BYTES + size + MAC_SIZE
    if len(text) != (length * 8 + 5) // 6:
        return None
    try:
        raw = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    key = ring.named(raw[:ID_BYTES])
    if key is None:
        return None
    mac = hmac.digest(key.secret, purpose + raw[:-MAC_SIZE], "sha256")[:MAC_SIZE]
    return raw[ID_BYTES:-MAC_SIZE] if hmac.compare_digest(mac, raw[-MAC_SIZE:]) else None


def write(ring: KeyRing, claim: Claim) -> str:
    """The cookie's value."""
    return seal(ring, SESSION, claim.id + (claim.version & 0xFFFF_FFFF).to_bytes(VERSION_SIZE, "big"))


def read(ring: KeyRing, texts: list[bytes]) -> Claim | None:
    """What the cookies of the session's name say together.

    Several valid ones of one session: the newest version. Of several sessions: none of them, because one was planted
    and nothing says which; the order of cookies means nothing (RFC 6265, section 4.2.2).
    """
    if len(texts) > CANDIDATES:
        return None
    found: Claim | None = None
    for text in texts:
        payload = unseal(ring, SESSION, text, ID_SIZE + VERSION_SIZE)
        if payload is None:
            continue
        claim = Claim(payload[:ID_SIZE], int.from_bytes(payload[ID_SIZE:], "big"))
        if found is None:
            found = claim
        elif found.id != claim.id:
            return None
        else:
            found = max(found, claim)
    return found


def newest(ring: KeyRing, id_: bytes, version: int, texts: list[bytes]) -> int:
    """The version that the client has seen, with what the second cookie says of the session with the hash `id_`."""
    for text in texts[:CANDIDATES]:
        payload = unseal(ring, VERSION, text, PREFIX_SIZE + VERSION_SIZE)
        if payload is not None and payload[:PREFIX_SIZE] == id_[:PREFIX_SIZE]:
            seen = int.from_bytes(payload[PREFIX_SIZE:], "big")
            version = seen if behind(version, seen) else version
    return version


def write_version(ring: KeyRing, id_: bytes, version: int) -> str:
    """The second cookie's value: the version of the session with the hash `id_`."""
    return seal(ring, VERSION, id_[:PREFIX_SIZE] + (version & 0xFFFF_FFFF).to_bytes(VERSION_SIZE, "big"))


class Reader:
    """Reads the session's cookies; remembers the lines that were valid, which browsers send again and again."""

    KEPT = 10_000
    LINE_MAX = 1024
    """Longer lines are read anew each time."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring
        self.refused = 0
        """Requests whose cookies of the session's name were no claim."""
        self._known: dict[tuple[bytes, bytes], tuple[Claim, bytes]] = {}
        self._readings = 0

    def read(self, headers: Iterable[tuple[bytes, bytes]], name: bytes, now: float) -> tuple[Claim, bytes] | None:
        """What the cookies claim, and the hash of the id; None without a claim. `now` in monotonic seconds."""
        lines = [value for header, value in headers if header == b"cookie" and name in value]
        if not lines:
            return None
        self.ring.look(now)
        if self._readings != self.ring.readings:  # by other keys
            self._known.clear()
            self._readings = self.ring.readings
        found = self._known.get((name, lines[0])) if len(lines) == 1 else None
        if found is None:
            found = self._claim(lines, name)
            if found is not None and len(lines) == 1 and len(lines[0]) <= self.LINE_MAX:
                if len(self._known) >= self.KEPT:
                    del self._known[next(iter(self._known))]
                self._known[name, lines[0]] = found
        return found

    def _claim(self, lines: list[bytes], name: bytes) -> tuple[Claim, bytes] | None:
        headers = [(b"cookie", line) for line in lines]
        texts = texts_of(headers, name)
        claim = read(self.ring, texts)
        if claim is None:
            self.refused += bool(texts)
            return None
        id_ = hash_of(claim.id)
        return Claim(claim.id, newest(self.ring, id_, claim.version, texts_of(headers, name + AT))), id_


def texts_of(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """The values of all cookies of this name."""
    found = []
    for header, line in headers:
        if header == b"cookie" and name in line:
            for pair in line.split(b";"):
                key, _, value = pair.strip(b" \t").partition(b"=")
                if key == name:
                    found.append(value)
    return found


def header(name: bytes, value: str, *, max_age_s: int, secure: bool) -> tuple[bytes, bytes]:
    """The `set-cookie` header; an age of 0 takes the cookie away."""
    text = f"{value}; Max-Age={max_age_s}; Path=/; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"
    return b"set-cookie", name + b"=" + text.encode("ascii")


def hash_of(session_id: bytes) -> bytes:
    """What the database knows of an id."""
    return hashlib.sha256(b"tenfold session id\0" + session_id).digest()
