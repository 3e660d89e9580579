"""Codes: from a number or an address to a handful of characters. Pure: no clock, no randomness, no I/O.

Two generators, both reproducible:

- `permuted_code` takes the next number of a sequence through a permutation of 42 bits and writes it in base 62. A
  permutation never maps two numbers to one code, so nothing has to be looked up, and neighbours look unrelated. It
  hides the order from a reader, not from an attacker: with the default key anybody can undo it.
- `hash_code` is the first seven base-62 characters of a hash of the address. Two addresses may share them; the caller
  then tries again with the next `attempt`.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Iterator

from shortener.refusal import Refusal

ALPHABET = string.digits + string.ascii_lowercase + string.ascii_uppercase
CODE_LENGTH = 7
SEQUENCE_BITS = 42
SEQUENCE_END = 1 << SEQUENCE_BITS
ALIAS_LENGTHS = range(3, 33)

_ORDER = {character: position for position, character in enumerate(ALPHABET)}
_CODE = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")
_HALF_BITS = SEQUENCE_BITS // 2
_HALF_MASK = (1 << _HALF_BITS) - 1
_ROUNDS = 6
_DIGEST_DIGITS = 43  # 62**42 < 2**256 <= 62**43

# First path segments that mean, or may one day mean, something else than a link.
_RESERVED_WORDS = """
about abuse account admin api app apple-touch-icon assets auth blog contact dashboard docs favicon favicon-ico graphql
health healthz help home index legal livez login logout metrics new preview privacy public ready readyz register report
robots robots-txt root security settings setup shorten shortener signin signup sitemap sitemap-xml static status support
system tenfold terms tos user users well-known www
"""
RESERVED = frozenset(_RESERVED_WORDS.split())


def base62(number: int) -> str:
    """`number` >= 0 in base 62, most significant digit first: 11157 is `2TX`."""
    if number < 0:
        raise ValueError("base 62 has no sign")
    digits = []
    while number >= 62:
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    digits.append(ALPHABET[number])
    return "".join(reversed(digits))


def number_of(text: str) -> int:
    """The number that `base62` wrote as `text`; ValueError for an empty text or a foreign character."""
    if not text or any(character not in _ORDER for character in text):
        raise ValueError(f"{text!r} is not a base-62 number")
    number = 0
    for character in text:
        number = number * 62 + _ORDER[character]
    return number


class Permutation:
    """A one-to-one mapping of the numbers below 2**42 onto themselves: a Feistel network over halves of 21 bits.

    `key` chooses the mapping. Two keys map one number to different codes, so changing the key of a running service
    makes new codes collide with old ones now and then; the caller notices and takes the next number.
    """

    def __init__(self, key: str = "") -> None:
        seed = hashlib.sha256(b"shortener permutation\0" + key.encode()).digest()
        self._round_keys = tuple(int.from_bytes(seed[i * 4 : i * 4 + 4], "big") for i in range(_ROUNDS))

    def forward(self, number: int) -> int:
        """Where `number` goes; ValueError outside 0 .. 2**42 - 1."""
        left, right = _halves(number)
        for key in self._round_keys:
            left, right = right, left ^ _mix(right, key)
        return left << _HALF_BITS | right

    def backward(self, image: int) -> int:
        """The number that `forward` sends to `image`."""
        left, right = _halves(image)
        for key in reversed(self._round_keys):
            left, right = right ^ _mix(left, key), left
        return left << _HALF_BITS | right


def _halves(number: int) -> tuple[int, int]:
    if not 0 <= number < SEQUENCE_END:
        raise ValueError(f"{number} is outside the sequence of {SEQUENCE_BITS} bits")
    return number >> _HALF_BITS, number & _HALF_MASK


def _mix(half: int, key: int) -> int:
    """21 well-stirred bits of a half and a round key (the finalizer of MurmurHash3)."""
    value = (half ^ key) & 0xFFFFFFFF
    value = (value ^ value >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    value = (value ^ value >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return (value ^ value >> 16) & _HALF_MASK


def permuted_code(number: int, permutation: Permutation) -> str:
    """The code of the `number`-th link: 7 or 8 characters, never the same for two numbers."""
    return base62(permutation.forward(number)).rjust(CODE_LENGTH, ALPHABET[0])


def hash_code(url: str, attempt: int = 0, *, variant: str = "") -> str:
    """The first seven base-62 characters of SHA-256 of a canonical address.

    `attempt` > 0 salts it, for when the shorter attempts are taken by other addresses. `variant` keeps links apart that
    share an address and must not share a code (those that expire).
    """
    salted = "\n".join([url, variant, str(attempt)]) if attempt or variant else url
    digest = hashlib.sha256(salted.encode()).digest()
    return base62(int.from_bytes(digest, "big")).rjust(_DIGEST_DIGITS, ALPHABET[0])[:CODE_LENGTH]


def hash_codes(url: str, attempts: int, *, variant: str = "") -> Iterator[str]:
    """The codes to try for `url`, in order, without the reserved ones."""
    candidates = (hash_code(url, attempt, variant=variant) for attempt in range(attempts))
    return (code for code in candidates if not is_reserved(code))


def is_reserved(code: str) -> bool:
    """Whether `code`, in any case, is a word that the service keeps for itself."""
    return code.lower().replace("_", "-").strip("-") in RESERVED


def looks_like_code(text: str) -> bool:
    """Whether `text` can be a code or an alias at all; what cannot is never looked up."""
    return _CODE.match(text) is not None


def check_alias(alias: str) -> str:
    """`alias` when a client may choose it, else `Refusal`: 3 to 32 letters, digits, `_` or `-`, and not reserved."""
    if len(alias) not in ALIAS_LENGTHS:
        raise Refusal("alias", "alias.length", length=len(alias))
    if not looks_like_code(alias):
        raise Refusal("alias", "alias.letters")
    if is_reserved(alias):
        raise Refusal("alias", "alias.reserved", alias=alias)
    return alias
