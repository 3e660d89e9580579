"""The one parser of target addresses: what comes in is refused or comes out in one spelling. Pure.

What comes out is plain ASCII without a space, a control character, a user name or a dot segment, at most 2048
characters long, and leads to a public host over http or https. It is rebuilt from its parts, never passed through, so
that a browser cannot read it differently from how it was judged here.
"""

from __future__ import annotations

import re
import string
import unicodedata

from shortener.links.hosts import canonical_host
from shortener.refusal import Refusal

LENGTH_LIMIT = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_PARTS = re.compile(r"//([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?\Z")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})|(.)", re.DOTALL)
# What most addresses are made of; these parts pass as they are.
_PLAIN = re.compile(r"[!-\[\]-~]+\Z")
_NOTHING_TO_ESCAPE = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/-]*\Z")
_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
_IN_PATH = _UNRESERVED | frozenset("!$&'()*+,;=:@/")
_IN_QUERY = _IN_PATH | frozenset("?")
# Control, line separator, paragraph separator, half a surrogate pair, and what turns the reading direction round.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Zl", "Zp", "Cs"})
_BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def canonical_url(text: str, own_hosts: frozenset[str] = frozenset()) -> str:
    """`text` as the address that is stored and sent in `Location`; `Refusal` when it may not be a target.

    `own_hosts` are the names (without port) under which this service itself is reached: a link there would be a loop.
    """
    text = text.strip(" ")
    _check_characters(text)
    scheme, rest = _split_scheme(text)
    parts = _PARTS.match(rest)
    if parts is None:
        raise Refusal("url", "url.slashes", scheme=scheme)
    authority, path, query, fragment = parts.groups(default="")
    host, port = _split_authority(authority)
    host = canonical_host(host)
    if host in own_hosts:
        raise Refusal("url", "url.loop", host=host)
    where = host if port in (None, DEFAULT_PORTS[scheme]) else f"{host}:{port}"
    url = f"{scheme}://{where}{_canonical_path(path)}{_escape(query, _IN_QUERY)}{_canonical_fragment(fragment)}"
    _check_length(url)
    assert url.isascii(), "everything else was escaped"
    assert url.isprintable(), "control characters were refused"
    return url


def host_of(url: str) -> str:
    """The host of a canonical address, without its port."""
    authority = url.split("/", 3)[2]
    return authority[: authority.index("]") + 1] if authority.startswith("[") else authority.partition(":")[0]


def _check_characters(text: str) -> None:
    if not text:
        raise Refusal("url", "url.empty")
    _check_length(text)
    if _PLAIN.match(text):
        return
    if any(unicodedata.category(c) in _FORBIDDEN_CATEGORIES or c in _BIDIRECTIONAL for c in text):
        raise Refusal("url", "url.control")
    if any(c.isspace() for c in text):
        raise Refusal("url", "url.space")
    if "\\" in text:
        raise Refusal("url", "url.backslash")


def _check_length(text: str) -> None:
    if len(text) > LENGTH_LIMIT:
        raise Refusal("url", "url.length", length=len(text), limit=LENGTH_LIMIT)


def _split_scheme(text: str) -> tuple[str, str]:
    found = _SCHEME.match(text)
    if found is None:
        raise Refusal("url", "url.scheme_missing")
    scheme = found[1].lower()
    if scheme not in DEFAULT_PORTS:
        raise Refusal("url", "url.scheme", scheme=scheme[:20])
    return scheme, text[found.end() :]


def _split_authority(authority: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise Refusal("url", "url.user")
    split = authority.rfind(":")
    if split < 0 or authority.endswith("]"):
        host, port = authority, ""
    else:
        host, port = authority[:split], authority[split + 1 :]
    if not host or (":" in host and not host.startswith("[")):
        raise Refusal("url", "url.host")
    if not port:
        return host, None
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or not 0 < int(port) < 65536:
        raise Refusal("url", "url.port", port=repr(port[:10]))
    return host, int(port)


def _canonical_path(path: str) -> str:
    """The path with `.` and `..` resolved (also when they were escaped), never empty."""
    return _without_dot_segments(_escape(path, _IN_PATH)) or "/"


def _canonical_fragment(fragment: str) -> str:
    return "#" + _escape(fragment[1:], _IN_QUERY) if fragment else ""


def _escape(text: str, allowed: frozenset[str]) -> str:
    """Escapes in capitals, unreserved characters unescaped, everything that is not `allowed` escaped as UTF-8."""
    if _NOTHING_TO_ESCAPE.match(text):
        return text

    def canonical(found: re.Match[str]) -> str:
        code, plain = found.groups()
        if code is None:
            return plain if plain in allowed else "".join(f"%{byte:02X}" for byte in plain.encode())
        character = chr(int(code, 16))
        return character if character in _UNRESERVED else f"%{code.upper()}"

    return _ESCAPE.sub(canonical, text)


def _without_dot_segments(path: str) -> str:
    """RFC 3986, 5.2.4, for a path that is empty or starts with a slash."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            kept[-1:] = []
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
