"""Tokens against forged forms: a secret of the visitor, masked anew for each response.

The mask keeps the secret out of responses that are compressed together with what an attacker chose (BREACH; Gluck,
Harris, Prado, 2013). The secret is made from a key of the ring and what names the session, or, for a visitor without
one, a random number in a cookie of its own (double submit), so there is nothing to store.
"""

from __future__ import annotations

import base64
import binascii
import hmac

from tenfold.core.errors import TenfoldError

SIZE = 16
_CHARS = 43
"""Of a token: two times 16 bytes in base64url."""


class CsrfRefused(TenfoldError):
    """A form without the token that its page was given: from another site, or from a page that is out of date."""

    code = "TF-CSRF"
    title = "This form did not come from a page of this service"
    status = 403
    public = True


def secret_of(key: bytes, known: bytes) -> bytes:
    """The secret that belongs to a session, or to the number in the cookie, by a key of the ring."""
    return hmac.digest(key, b"tenfold csrf secret\0" + known, "sha256")[:SIZE]


def masked(secret: bytes, mask: bytes) -> str:
    """A token; another one for each mask of 16 random bytes."""
    return base64.urlsafe_b64encode(mask + _xor(secret, mask)).rstrip(b"=").decode("ascii")


def fits(token: str, secret: bytes) -> bool:
    """Whether a token was made of this secret."""
    try:
        raw = base64.b64decode(token.encode("ascii") + b"=", altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        return False
    return len(raw) == 2 * SIZE and hmac.compare_digest(_xor(raw[SIZE:], raw[:SIZE]), secret)


def check(token: str | None, secrets: list[bytes]) -> None:
    """Raises `CsrfRefused` unless the token fits one of the visitor's secrets."""
    hint = "Load the page again and send its form once more."
    if not token:
        raise CsrfRefused("The form has no CSRF token.", hint=f"{hint} Forms and scripts send back `csrf_token()`.")
    if not secrets:
        raise CsrfRefused("The visitor has neither a session nor the cookie of the form's page.", hint=hint)
    if len(token) != _CHARS or not any(fits(token, secret) for secret in secrets):
        raise CsrfRefused("The form's CSRF token is not one of this visitor.", hint=hint)


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
