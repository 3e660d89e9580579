"""What comes through HAProxy as it was sent, what is replaced, and what is refused."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time
from pathlib import Path

import pytest
from haproxy import SECRET, Door, needs_haproxy, street

from tenfold.topology.map import BalancerMap

pytestmark = needs_haproxy

HOST = b"Host: example.org\r\n"


def ask(door: Door, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=20)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def raw(door: Door, request: bytes, *, enough: bytes | None = None) -> bytes:
    """What comes back for these bytes, until `enough` is in it or the connection ends."""
    with socket.create_connection(("127.0.0.1", door.port), timeout=5) as connection:
        connection.sendall(request)
        heard = b""
        while enough is None or enough not in heard:
            piece = connection.recv(65536)
            if not piece:
                break
            heard += piece
        return heard


def test_what_a_client_says_of_itself_gives_way_to_what_is_seen(tmp_path: Path) -> None:
    lies = {
        "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Forwarded-Evil": "1", "Forwarded": "for=6.6.6.6",
        "X-Real-IP": "6.6.6.6", "X-Request-Id": "mine", "x-tenfold-door": "guess", "X_Forwarded_For": "6.6.6.6",
        "Host": "short.example:8000",
    }  # fmt: skip
    with street(tmp_path, 1) as (door, _, _):
        _, _, body = ask(door, "/echo", lies)
    seen = json.loads(body)["headers"]
    names = [name for name, _ in seen]
    assert len(names) == len(set(names)), "each once"
    facts = dict(seen)
    assert facts.pop("x-request-id") not in ("", "mine")
    assert {
        name: value for name, value in facts.items() if "forward" in name or "tenfold" in name or "real" in name
    } == {
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "short.example:8000",
        "x-forwarded-port": str(door.port),
        "x-tenfold-door": SECRET,
    }


@pytest.mark.parametrize("path", ["/events", "/silent-then-events"])
def test_event_streams_come_at_once_and_uncompressed(tmp_path: Path, path: str) -> None:
    with street(tmp_path, 1) as (door, _, _):
        connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=20)
        began = time.monotonic()
        connection.request("GET", path, headers={"Accept": "text/event-stream", "Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        assert time.monotonic() - began < 2.5, "the head is not waited for"
        assert answer.getheader("content-encoding") is None
        moments = []
        while line := answer.readline():
            if line.startswith(b"data: "):
                moments.append(time.monotonic())
        connection.close()
    assert len(moments) == 10
    assert moments[-1] - moments[0] > 0.7, "they were not kept back"


def test_text_that_drips_is_compressed_and_still_drips(tmp_path: Path) -> None:
    with street(tmp_path, 1) as (door, _, _), socket.create_connection(("127.0.0.1", door.port), timeout=5) as peer:
        peer.sendall(b"GET /drip HTTP/1.1\r\n" + HOST + b"Accept-Encoding: gzip\r\n\r\n")
        pieces = []
        while not b"".join(pieces).endswith(b"\r\n0\r\n\r\n"):
            pieces.append(peer.recv(65536))
            assert pieces[-1]
    assert b"gzip" in pieces[0].lower()
    assert len(pieces) >= 3, "not all at once"


def test_text_is_compressed_where_the_client_can_read_it_and_the_map_allows_it(tmp_path: Path) -> None:
    with street(tmp_path, 1) as (door, _, _):
        _, headers, body = ask(door, "/text", {"Accept-Encoding": "gzip"})
        assert headers["content-encoding"] == "gzip"
        assert len(body) < 2000
        assert len(gzip.decompress(body)) == 21_000
        _, headers, body = ask(door, "/text")
        assert "content-encoding" not in headers
        assert len(body) == 21_000
    with street(tmp_path / "plain", 1, balancer=BalancerMap(compression=False)) as (door, _, _):
        assert "content-encoding" not in ask(door, "/text", {"Accept-Encoding": "gzip"})[1]


def test_a_websocket_passes_both_ways(tmp_path: Path) -> None:
    with street(tmp_path, 1) as (door, _, _), socket.create_connection(("127.0.0.1", door.port), timeout=5) as peer:
        peer.sendall(
            b"GET /ws HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        heard = b""
        while b"\r\n\r\n" not in heard:
            heard += peer.recv(65536)
        assert heard.startswith(b"HTTP/1.1 101 ")
        for sent in (b"\x81\x03abc", b"x" * 100_000):
            peer.sendall(sent)
            back = b""
            while len(back) < len(sent):
                back += peer.recv(65536)
            assert back == sent


@pytest.mark.parametrize("key", [b"", b"Idempotency-Key: a\r\n"])
def test_a_client_that_asks_before_it_sends_its_body_is_answered(tmp_path: Path, key: bytes) -> None:
    with street(tmp_path, 1) as (door, _, _), socket.create_connection(("127.0.0.1", door.port), timeout=5) as peer:
        peer.sendall(b"POST /echo HTTP/1.1\r\n" + HOST + key + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert peer.recv(65536).startswith(b"HTTP/1.1 100 ")
        peer.sendall(b"hello")
        heard = b""
        while b'"size": 5' not in heard:
            heard += peer.recv(65536)
        assert b"HTTP/1.1 200" in heard


SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 30\r\n\r\nabc" + SMUGGLED,
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: +3\r\n\r\nabc" + SMUGGLED,
        b"GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + SMUGGLED,
        b"GET http://other.example/echo HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED,
        b"GET /ec\x00ho HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED,
        b"GET /ec ho HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED,
        b"hello\r\n\r\n" + SMUGGLED,
        b"GET /echo HTTP/1.1\r\n" + HOST + b"".join(b"h%d: 1\r\n" % number for number in range(130)) + b"\r\n",
        b"GET /echo HTTP/1.1\r\n" + HOST + b"a: " + b"x" * 33_000 + b"\r\n\r\n",
    ],
    ids=lambda request: repr(request[:90]),
)
def test_requests_that_two_readers_could_read_differently_are_refused(tmp_path: Path, request_: bytes) -> None:
    with street(tmp_path, 1) as (door, webs, _):
        heard = raw(door, request_)
        assert heard.startswith(b"HTTP/1.1 400 ")
        assert heard.count(b"HTTP/1.1") == 1, "the connection ends with it"
        assert webs[0].notes() == [], "nothing of it reached a web server"


def test_a_length_beside_chunks_smuggles_nothing(tmp_path: Path) -> None:
    both = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    with street(tmp_path, 1) as (door, webs, _):
        heard = raw(door, both + SMUGGLED)
        assert heard.count(b"HTTP/1.1 ") == 1
        (begun,) = [note for note in webs[0].notes() if "begun" in note]
        assert "content-length" not in dict(begun["headers"])


def test_a_head_of_thirty_thousand_bytes_and_a_hundred_fields_passes(tmp_path: Path) -> None:
    fields = b"".join(b"h%d: %b\r\n" % (number, b"x" * 290) for number in range(100))
    with street(tmp_path, 1) as (door, _, _):
        request = b"GET /echo HTTP/1.1\r\nConnection: close\r\n" + HOST + fields + b"\r\n"
        assert raw(door, request).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("length", [1024**3 + 1, 5_000_000_000, 2**63])
@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
def test_bodies_above_every_limit_are_refused_before_they_are_sent(tmp_path: Path, length: int, expect: bytes) -> None:
    with street(tmp_path, 1) as (door, webs, _):
        heard = raw(door, b"POST /echo HTTP/1.1\r\n" + HOST + expect + b"Content-Length: %d\r\n\r\n" % length)
        if length < 2**63:
            head, _, body = heard.partition(b"\r\n\r\n")
            assert b"HTTP/1.1 413 " in head
            assert b"application/problem+json" in head
            document = json.loads(body)
            assert (document["status"], document["code"]) == (413, "TF-REQUEST")
            assert document["instance"]
        else:
            assert heard.startswith(b"HTTP/1.1 400 ")
        assert webs[0].notes() == []


def test_a_head_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    with street(tmp_path, 1, balancer=BalancerMap(header_timeout_s=0.5)) as (door, _, _):
        began = time.monotonic()
        assert raw(door, b"GET /echo HTT").startswith(b"HTTP/1.1 408 ")
        assert 0.3 < time.monotonic() - began < 3


def test_nobody_comes_in_by_the_way_that_haproxy_keeps_for_itself(tmp_path: Path) -> None:
    with street(tmp_path, 1) as (_, webs, _):
        config = (tmp_path / "haproxy-1.cfg").read_text()
        name = next(line.split("abns@")[1] for line in config.splitlines() if "bind abns@" in line)
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(5)
            peer.connect("\0" + name + "\0" * (107 - len(name)))
            peer.sendall(b"GET /echo HTTP/1.1\r\n" + HOST + b"x-tenfold-door: guess\r\n\r\n")
            assert peer.recv(65536).startswith(b"HTTP/1.1 403 ")
        assert webs[0].notes() == []
