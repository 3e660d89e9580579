"""Connections of the private door: a balancer speaks, for many clients.

Whoever knows the secret of the door is believed: its `X-Forwarded-*` say who the client is and how it came, its
`X-Request-Id` is the request's. Without the secret there is a 403 and nothing else. The service sees a request as it
would see it without a balancer: the client's address in the scope, and none of these headers.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Any

from tenfold.serve.protocol import RefusedError, WebProtocol

_NOT_A_BALANCER = (403, "not_a_balancer", "This is a private address.")
_DOOR = b"x-tenfold-door"
_BELIEVED = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-port"})


class PrivateProtocol(WebProtocol):
    """One connection of a balancer."""

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._secrets: list[bytes] = []
        self._said: dict[bytes, bytes] = {}

    def on_headers_complete(self) -> None:
        """The head is whole: what it says of the client goes into the scope, if a balancer says it."""
        if len(self._secrets) != 1 or not compare_digest(self._secrets[0], self.door.secret):
            self._refusal = _NOT_A_BALANCER
            raise RefusedError
        if self._said:
            self._believe(self.scope)
        super().on_headers_complete()

    def _set_aside(self, name: bytes, value: bytes) -> bool:
        if name == _DOOR:
            self._secrets.append(value)
            return True
        if name == b"x-request-id":
            return False
        if name in _BELIEVED:
            self._said[name] = value
        return super()._set_aside(name, value)

    def _believe(self, scope: Any) -> None:
        address = self._said.get(b"x-forwarded-for", b"").decode("latin-1").rpartition(",")[2].strip()
        if address:
            scope["client"] = (address, 0)
        if self._said.get(b"x-forwarded-proto") == b"https":
            scope["scheme"] = "https"
        port = self._said.get(b"x-forwarded-port", b"")
        if port.isdigit() and len(port) <= 5 and self.server is not None:
            scope["server"] = (self.server[0], int(port))
