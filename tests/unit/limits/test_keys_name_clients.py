"""Addresses, networks and API keys as parts of keys."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import MetaData

from tenfold.blocks.database import Database
from tenfold.blocks.database.scope import RequestScope, enter_scope, leave_scope
from tenfold.blocks.limits import Limits
from tenfold.blocks.limits.keys import address_of, api_key_of, network_of
from tenfold.core.clock import ManualClock
from tenfold.core.errors import ContractError
from tenfold.core.randomness import SeededRandomness


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("::ffff:cb00:7109", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("testclient", "testclient"),
        ("x" * 5000, "x" * 100),
    ],
)
def test_an_ipv6_client_is_its_network_and_an_ipv4_client_its_address(address: str, counted: str) -> None:
    assert network_of(address) == counted
    assert address_of({"client": (address, 1)}) == counted


@pytest.mark.parametrize("client", [None, (), ("", 0)])
def test_clients_without_an_address_are_counted_together(client: Any) -> None:
    assert address_of({"client": client}) == "-"
    assert address_of({}) == "-"


def key_of(*headers: tuple[bytes, bytes]) -> str | None:
    return api_key_of({"headers": headers})


def test_an_api_key_is_hashed_and_found_in_either_header() -> None:
    key = key_of((b"authorization", b"Bearer s3cret"))
    assert key is not None
    assert "s3cret" not in key
    assert key == key_of((b"authorization", b"bearer  s3cret ")) == key_of((b"x-api-key", b"s3cret"))
    assert key != key_of((b"x-api-key", b"s3cres"))
    assert key == key_of((b"x-api-key", b"other"), (b"authorization", b"Bearer s3cret")), "the standard one counts"


@pytest.mark.parametrize("headers", [(), ((b"authorization", b"Basic YTpi"),), ((b"authorization", b"Bearer "),)])
def test_without_a_key_there_is_none(headers: Any) -> None:
    assert key_of(*headers) is None


def test_the_block_reads_the_current_request_and_says_when_there_is_none() -> None:
    limits = Limits(Database(MetaData()), ManualClock(), SeededRandomness(1))
    with pytest.raises(ContractError, match="TF-LIMIT-KEY"):
        limits.address()
    scope = RequestScope()
    scope.http = {"client": ("::ffff:10.1.2.3", 5), "headers": [(b"x-api-key", b"k")]}
    entered = enter_scope(scope)
    try:
        assert limits.address() == "10.1.2.3"
        assert limits.api_key() == key_of((b"x-api-key", b"k"))
    finally:
        leave_scope(entered)
