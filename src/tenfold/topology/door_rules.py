"""What the values of `[balancer]`, `[tls]` and `[[route]]` may be: host names, paths, addresses, weights.

They end in the configuration of a balancer, so each takes fewer characters than the standards would.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from tenfold.topology.rules import Host

_SEGMENT = r"[A-Za-z0-9._~-]+"
_PATH = re.compile(rf"/|(/{_SEGMENT})+/?")
_ADDRESS = re.compile(r"(\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:]+)):(?P<port>[0-9]{1,5})")
ADDRESSES_MAX = 16
WEIGHTS_MAX = 64
WEIGHT_MAX = 256


@dataclass(frozen=True)
class HostName:
    """A host name or an IPv4 address, without a port; read in lower case, as requests are compared."""

    allowed: str = 'a host name without a port, such as "photos.example.com"'

    def read(self, found: object) -> str:
        name = Host().read(found)
        if ":" in name:
            raise ValueError
        return name.lower()

    def show(self, value: object) -> str:
        return f'"{value}"'


@dataclass(frozen=True)
class UrlPath:
    """The beginning of a path, in whole segments; a slash at its end says nothing and is dropped."""

    allowed: str = 'a path such as "/photos", in letters, digits and - . _ ~ (at most 200 characters)'

    def read(self, found: object) -> str:
        if not isinstance(found, str) or len(found) > 200 or _PATH.fullmatch(found) is None:
            raise ValueError
        # Clients and servers resolve these before they compare, so that a route with one would never fit.
        if {".", ".."} & set(found.split("/")):
            raise ValueError
        return found.rstrip("/") or "/"

    def show(self, value: object) -> str:
        return f'"{value}"'


@dataclass(frozen=True)
class Addresses:
    """One address, or a list of several that share the load; the spec holds a tuple."""

    allowed: str = f'an address such as "127.0.0.1:9000", or a list of at most {ADDRESSES_MAX} different ones'

    def read(self, found: object) -> tuple[str, ...]:
        several = found if isinstance(found, list) else [found]
        addresses = tuple(_address(each) for each in several)
        if not 1 <= len(addresses) <= ADDRESSES_MAX or len(set(addresses)) < len(addresses):
            raise ValueError
        return addresses

    def show(self, value: object) -> str:
        assert isinstance(value, tuple)
        return f'"{value[0]}"' if len(value) == 1 else "[" + ", ".join(f'"{each}"' for each in value) + "]"


def _address(found: object) -> str:
    match = _ADDRESS.fullmatch(found) if isinstance(found, str) else None
    if match is None or not 1 <= int(match["port"]) <= 65535:
        raise ValueError
    if match["six"] is not None:
        return f"[{ipaddress.IPv6Address(match['six'])}]:{int(match['port'])}"
    return f"{HostName().read(match['name'])}:{int(match['port'])}"


@dataclass(frozen=True)
class Weights:
    """A weight for each web server. 0 is none: when the others die or leave, that one has to answer."""

    allowed: str = f"a list of at most {WEIGHTS_MAX} whole numbers from 1 to {WEIGHT_MAX}, such as [3, 1]"

    def read(self, found: object) -> tuple[int, ...]:
        if not isinstance(found, list | tuple) or len(found) > WEIGHTS_MAX:
            raise ValueError
        if not all(type(each) is int and 1 <= each <= WEIGHT_MAX for each in found):
            raise ValueError
        return tuple(found)

    def show(self, value: object) -> str:
        assert isinstance(value, tuple)
        return str(list(value))
