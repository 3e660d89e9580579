"""Which hosts a link may lead to: names of the public internet and public addresses, in one spelling. Pure.

The service never connects to a target, but the people who follow a link do, from inside their own networks. So
everything that means "this machine" or "this network" is refused in whatever notation a browser would understand.
"""

from __future__ import annotations

import ipaddress
import re

import idna

from shortener.refusal import Refusal

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")

# Names that no public resolver answers, or that answer with an address of the asker's own network.
_PRIVATE_SUFFIX_WORDS = """
localhost localdomain local internal intranet private corp home lan home.arpa invalid test
"""
# Public wildcard names that resolve to whatever address is written into them, or to this machine.
_REBINDING_SUFFIX_WORDS = """
nip.io sslip.io xip.io localtest.me lvh.me vcap.me lacolhost.com traefik.me 1u.ms rbndr.us
"""
# With a dot before it every one of them, so that one `endswith` judges a name with a dot before it too.
_PRIVATE_SUFFIXES = tuple("." + word for word in _PRIVATE_SUFFIX_WORDS.split())
_REBINDING_SUFFIXES = tuple("." + word for word in _REBINDING_SUFFIX_WORDS.split())

# Everything outside the global internet (IANA special-purpose registry) and one metadata service inside it.
_REFUSED_V4_TEXT = """
0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24
192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 168.63.129.16/32
"""
_REFUSED_V4 = tuple(ipaddress.IPv4Network(text) for text in _REFUSED_V4_TEXT.split())
# Global unicast only, and of that neither tunnels (which carry an IPv4 address inside) nor documentation.
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_REFUSED_V6_TEXT = "2001::/23 2001:db8::/32 2002::/16 3fff::/20"
_REFUSED_V6 = tuple(ipaddress.IPv6Network(text) for text in _REFUSED_V6_TEXT.split())


def canonical_host(host: str) -> str:
    """`host` (a name, an IPv4 address in any notation, or an IPv6 address in brackets) in its one spelling.

    Names come out in lower case and in IDNA's ASCII form, addresses in their shortest standard form. `Refusal` when it
    is not a host, or not one of the public internet.
    """
    if host.startswith("["):
        return _canonical_v6(host)
    name = _ascii_name(host)
    if _NUMBER.match(name.rsplit(".", 1)[-1]):
        return _canonical_v4(name)
    return _canonical_name(name)


def _ascii_name(host: str) -> str:
    """The name as a resolver would get it: mapped, lower case, ASCII, without the final dot of the root."""
    if "%" in host:
        raise _not_a_host(host)
    if host.isascii():
        return host.lower().removesuffix(".")
    try:
        mapped = idna.uts46_remap(host, std3_rules=False, transitional=False).removesuffix(".")
        return mapped if mapped.isascii() else idna.encode(mapped).decode()
    except idna.IDNAError as error:
        raise _not_a_host(host) from error


def _canonical_name(name: str) -> str:
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.match(label) and _decodes(label) for label in labels):
        raise _not_a_host(name)
    if len(labels) == 1 or f".{name}".endswith(_PRIVATE_SUFFIXES):
        raise Refusal("url", "host.private", host=name)
    if f".{name}".endswith(_REBINDING_SUFFIXES):
        raise Refusal("url", "host.rebinding", host=name)
    return name


def _decodes(label: str) -> bool:
    """Whether a label that claims to be an encoded one decodes to what IDNA allows."""
    if not label.startswith("xn--"):
        return True
    try:
        idna.ulabel(label)
    except idna.IDNAError:
        return False
    return True


def _canonical_v4(name: str) -> str:
    """One to four numbers, each decimal, octal (0...) or hexadecimal (0x...), as browsers read them."""
    parts = name.split(".")
    if len(parts) > 4 or not all(_NUMBER.match(part) for part in parts):
        raise _not_a_host(name)
    numbers = [_v4_number(part, name) for part in parts]
    *heads, tail = numbers
    if any(head > 255 for head in heads) or tail >= 256 ** (5 - len(numbers)):
        raise _not_a_host(name)
    address = ipaddress.IPv4Address(sum(head << 8 * (3 - i) for i, head in enumerate(heads)) + tail)
    if any(address in network for network in _REFUSED_V4):
        raise _private_address(str(address))
    return str(address)


def _v4_number(part: str, name: str) -> int:
    try:
        if part.startswith("0x"):
            return int(part[2:] or "0", 16)
        return int(part, 8 if len(part) > 1 and part.startswith("0") else 10)
    except ValueError as error:
        raise _not_a_host(name) from error


def _canonical_v6(host: str) -> str:
    text = host[1:-1] if host.endswith("]") else ""
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError as error:
        raise _not_a_host(host) from error
    # A zone names an interface of the reader's own machine.
    outside = address.scope_id is not None or address not in _GLOBAL_V6
    if outside or any(address in network for network in _REFUSED_V6):
        raise _private_address(str(address))
    return f"[{address.compressed}]"


def _private_address(address: str) -> Refusal:
    return Refusal("url", "host.reserved", address=address)


def _not_a_host(host: str) -> Refusal:
    shown = host if len(host) <= 60 else host[:57] + "..."
    return Refusal("url", "host.invalid", host=repr(shown))
