"""Who is counted apart: parts of keys from the request that is being answered."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from typing import Any

from tenfold.blocks.database.scope import NO_HTTP, current_scope
from tenfold.core.errors import ContractError

NOBODY = "-"
"""The address of a client that has none: one behind a unix socket, or work outside of a request."""

IPV6_BITS = 64
"""An IPv6 user has a whole network of so many bits (RFC 6177); single addresses would be 2^64 keys."""


def address_of(scope: Mapping[str, Any]) -> str:
    """The client's address in an ASGI scope: IPv4 whole, also when it is written as IPv6; IPv6 by its /64."""
    client = scope.get("client")
    return network_of(client[0]) if client and client[0] else NOBODY


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """What is counted as one client; a text that is no address is taken as it is (cut at 100 characters)."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:100]
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return f"{IPv6Address(int(found) >> (128 - IPV6_BITS) << (128 - IPV6_BITS))}/{IPV6_BITS}"
    return str(found)


def api_key_of(scope: Mapping[str, Any]) -> str | None:
    """A hash of the API key in an ASGI scope (`Authorization: Bearer ...`, else `X-Api-Key`); None without one."""
    given = b""
    for name, value in scope.get("headers", ()):
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            given = value[7:].strip()
            break
        if name == b"x-api-key":
            given = value.strip()
    return sha256(given).hexdigest()[:32] if given else None


def http_scope() -> Mapping[str, Any]:
    """The ASGI scope of the request that is being answered. `ContractError` outside of one."""
    scope = current_scope()
    if scope is None or scope.http is NO_HTTP:
        raise ContractError(
            "The key of a limit was asked of a request, and there is none here.",
            hint="Ask for it while a request is answered; a job gives a key of its own.",
            code="TF-LIMIT-KEY",
        )
    return scope.http
