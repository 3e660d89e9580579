"""Target addresses: the corpus of what is refused, and the one spelling of what is accepted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener.links.urls import LENGTH_LIMIT, canonical_url, host_of
from shortener.refusal import Refusal

OWN = frozenset({"sho.example", "93.184.216.34"})

# address, words that its refusal says
REFUSED = [
    # other schemes, also behind tricks
    ("javascript:alert(1)", "A javascript: address"),
    ("JavaScript:alert(1)", "A javascript: address"),
    ("java\tscript:alert(1)", "control character"),
    ("java\nscript:alert(1)", "control character"),
    ("\x01javascript:alert(1)", "control character"),
    ("javascript://example.com/%0aalert(1)", "A javascript: address"),
    ("file:///etc/passwd", "A file: address"),
    ("data:text/html,<script>alert(1)</script>", "A data: address"),
    ("vbscript:msgbox(1)", "A vbscript: address"),
    ("ftp://example.com/", "A ftp: address"),
    ("mailto:a@example.com", "A mailto: address"),
    ("blob:https://example.com/1", "A blob: address"),
    ("view-source:https://example.com/", "A view-source: address"),
    ("//example.com/", "start with http"),
    ("example.com/page", "start with http"),
    ("/api/v1/abc", "start with http"),
    ("http:example.com", "two slashes"),
    ("https:/example.com", "two slashes"),
    # nothing, too much, what an address cannot hold
    ("", "Enter the address"),
    ("   ", "Enter the address"),
    ("https://example.com/" + "a" * 2_980, "3,000 characters long; the limit is 2,048"),
    ("https://example.com/" + "ü" * 600, "the limit is 2,048"),
    ("https://example.com/a b", "space"),
    ("https://example.com/\u3000", "space"),
    ("https://example.com/\r\nSet-Cookie: a=b", "control character"),
    ("https://example.com/\x00", "control character"),
    ("https://example.com/\x7f", "control character"),
    ("https://example.com/\u2028", "control character"),
    ("https://example.com/\u202egpj.exe", "control character"),
    ("https://example.com/\ud800", "control character"),
    ("https://good.example\\@evil.example/", "backslash"),
    # who it pretends to be
    ("https://bank.example@evil.example/", "user name or password"),
    ("https://user:password@example.com/", "user name or password"),
    ("https://:@example.com/", "user name or password"),
    # no host, no port
    ("http://", "no valid host"),
    ("http:///path", "no valid host"),
    ("http://?q", "no valid host"),
    ("http://:80/", "no valid host"),
    ("http://a:b:c/", "no valid host"),
    ("http://example.com:0/", "port"),
    ("http://example.com:65536/", "port"),
    ("http://example.com:8o/", "port"),
    ("http://example.com:٨٠/", "port"),
    ("http://exa%6dple.com/", "not a valid host"),
    ("http://exa<mple.com/", "not a valid host"),
    ("http://a..b.example/", "not a valid host"),
    ("http://-a.example/", "not a valid host"),
    ("http://xn--a.example/", "not a valid host"),
    ("http://" + "a" * 64 + ".example/", "not a valid host"),
    ("http://ex\u200bample.com\uff0fa/", "not a valid host"),
    ("http://[::1/", "not a valid host"),
    ("http://[v1.a]/", "not a valid host"),
    ("http://1.2.3.4.5/", "not a valid host"),
    ("http://1.2.3.256/", "not a valid host"),
    ("http://256.1.1.1/", "not a valid host"),
    ("http://0x1ffffffff/", "not a valid host"),
    ("http://089.1.1.1/", "not a valid host"),
    ("http://example.1/", "not a valid host"),
    # this machine and this network, in every notation
    ("http://localhost/", "not on the public internet"),
    ("http://LOCALHOST:8000/", "not on the public internet"),
    ("http://localhost./", "not on the public internet"),
    ("http://a.localhost/", "not on the public internet"),
    ("http://printer.local/", "not on the public internet"),
    ("http://router.lan/", "not on the public internet"),
    ("http://intranet/", "not on the public internet"),
    ("http://metadata.google.internal/", "not on the public internet"),
    ("http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", "not on the public internet"),
    ("http://127.0.0.1.nip.io/", "private address"),
    ("http://localtest.me/", "private address"),
    ("http://127.0.0.1/", "127.0.0.1 is private"),
    ("http://127.1/", "127.0.0.1 is private"),
    ("http://127.0.1/", "127.0.0.1 is private"),
    ("http://2130706433/", "127.0.0.1 is private"),
    ("http://017700000001/", "127.0.0.1 is private"),
    ("http://0177.0.0.1/", "127.0.0.1 is private"),
    ("http://0x7f000001/", "127.0.0.1 is private"),
    ("http://0x7F.0x0.0x0.0x1/", "127.0.0.1 is private"),
    ("http://127.0.0.1./", "127.0.0.1 is private"),
    ("http://①②⑦.0.0.1/", "127.0.0.1 is private"),
    ("http://127。0。0。1/", "127.0.0.1 is private"),
    ("http://0/", "0.0.0.0 is private"),
    ("http://0x/", "0.0.0.0 is private"),
    ("http://10.1.2.3/", "is private"),
    ("http://100.100.100.200/", "is private"),
    ("http://172.31.255.255/", "is private"),
    ("http://192.168.1.1/", "is private"),
    ("http://169.254.169.254/latest/meta-data/", "is private"),
    ("http://0xa9fea9fe/", "169.254.169.254 is private"),
    ("http://168.63.129.16/", "is private"),
    ("http://224.0.0.1/", "is private"),
    ("http://255.255.255.255/", "is private"),
    ("http://[::1]/", "is private"),
    ("http://[::]/", "is private"),
    ("http://[0:0:0:0:0:0:0:1]:80/", "is private"),
    ("http://[::ffff:127.0.0.1]/", "is private"),
    ("http://[::ffff:7f00:1]/", "is private"),
    ("http://[::127.0.0.1]/", "is private"),
    ("http://[64:ff9b::7f00:1]/", "is private"),
    ("http://[2002:7f00:1::]/", "is private"),
    ("http://[2001:0:7f00:1::]/", "is private"),
    ("http://[fe80::1]/", "is private"),
    ("http://[fe80::1%25eth0]/", "not a valid host|is private"),
    ("http://[fc00::1]/", "is private"),
    ("http://[fd00:ec2::254]/", "is private"),
    ("http://[ff02::1]/", "is private"),
    # this service
    ("https://sho.example/", "loop"),
    ("http://SHO.example:8000/abc", "loop"),
    ("https://sho.example./api/v1/abc", "loop"),
    ("http://1572395042/abc", "loop"),
]

# address, how it is stored
ACCEPTED = [
    ("https://example.com", "https://example.com/"),
    ("  https://example.com/  ", "https://example.com/"),
    ("HTTPS://EXAMPLE.COM/Path?Q#F", "https://example.com/Path?Q#F"),
    ("http://example.com:80/", "http://example.com/"),
    ("https://example.com:443/", "https://example.com/"),
    ("http://example.com:443/", "http://example.com:443/"),
    ("https://example.com:08443/", "https://example.com:8443/"),
    ("https://example.com:/a", "https://example.com/a"),
    ("https://example.com./a", "https://example.com/a"),
    ("https://example.com/a/./b/../c", "https://example.com/a/c"),
    ("https://example.com/../../a", "https://example.com/a"),
    ("https://example.com/a/b/..", "https://example.com/a/"),
    ("https://example.com/a/%2e%2E/b", "https://example.com/b"),
    ("https://example.com//a//b", "https://example.com//a//b"),
    ("https://example.com/%7euser/%41", "https://example.com/~user/A"),
    ("https://example.com/a%2fb", "https://example.com/a%2Fb"),
    ("https://example.com/100%", "https://example.com/100%25"),
    ("https://example.com/größe?q=ä#ö", "https://example.com/gr%C3%B6%C3%9Fe?q=%C3%A4#%C3%B6"),
    ('https://example.com/"<>`{}|^', "https://example.com/%22%3C%3E%60%7B%7D%7C%5E"),
    ("https://example.com?q=1", "https://example.com/?q=1"),
    ("https://example.com/?a=1&b=x%20y+z", "https://example.com/?a=1&b=x%20y+z"),
    ("https://example.com/?next=https://a.example/?x=1", "https://example.com/?next=https://a.example/?x=1"),
    ("https://example.com/#/route?x", "https://example.com/#/route?x"),
    ("https://example.com/a%0d%0ab", "https://example.com/a%0D%0Ab"),
    ("https://straße.example/", "https://xn--strae-oqa.example/"),
    ("https://BÜCHER.example/", "https://xn--bcher-kva.example/"),
    ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
    ("https://例え.テスト/", "https://xn--r8jz45g.xn--zckzah/"),
    ("https://my_site.example/", "https://my_site.example/"),
    ("http://8.8.8.8/", "http://8.8.8.8/"),
    ("http://0x08080808/", "http://8.8.8.8/"),
    ("http://[2606:4700:0:0::1111]/", "http://[2606:4700::1111]/"),
    ("http://[2606:4700::1111]:8080/", "http://[2606:4700::1111]:8080/"),
    ("https://notlocal.example/", "https://notlocal.example/"),
    ("https://sub.sho.example/", "https://sub.sho.example/"),
]


@pytest.mark.parametrize(("address", "says"), REFUSED)
def test_refused(address: str, says: str):
    with pytest.raises(Refusal, match=says) as caught:
        canonical_url(address, OWN)
    assert caught.value.field == "url"
    assert caught.value.sentence.isprintable()


@pytest.mark.parametrize(("address", "stored"), ACCEPTED)
def test_accepted(address: str, stored: str):
    assert canonical_url(address, OWN) == stored
    assert canonical_url(stored, OWN) == stored


def test_the_corpus_is_as_large_as_it_claims():
    assert len({address for address, _ in REFUSED}) >= 60


def test_the_limit_counts_what_is_stored():
    prefix = "https://example.com/"
    assert len(canonical_url(prefix + "a" * (LENGTH_LIMIT - len(prefix)))) == LENGTH_LIMIT
    with pytest.raises(Refusal, match="2,049 characters"):
        canonical_url(prefix + "a" * (LENGTH_LIMIT - len(prefix) + 1))


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://example.com:81/a", "example.com"),
        ("http://[2606:4700::1]:81/", "[2606:4700::1]"),
        ("http://8.8.8.8/", "8.8.8.8"),
    ],
)
def test_the_host_of_a_stored_address(address: str, host: str):
    assert host_of(address) == host


# Text that is mostly made of what matters to a parser of addresses.
address_text = st.text(
    st.sampled_from("htps:/\\.@#?%[]0127xXaZ.-_ \r\n\t\x00é①。\u202e") | st.characters(), max_size=60
)


@given(st.sampled_from(["", "http://", "https://", "http://example.com", "https://example.com/"]), address_text)
def test_whatever_comes_in_one_clean_spelling_comes_out_or_a_refusal(start: str, rest: str):
    try:
        stored = canonical_url(start + rest)
    except Refusal:
        return
    assert stored.isascii()
    assert stored.isprintable()
    assert stored.startswith(("http://", "https://"))
    assert not set(stored) & set(' \\"<>')
    assert canonical_url(stored) == stored
