"""Whatever a client sends to a real web process: a clear answer, no stack trace, and the next request works."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from webnode import Service, service


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("service")) as started:
        started.start().until_ready()
        yield started


@pytest.fixture(autouse=True)
def _still_serves(running: Service) -> Iterator[None]:
    yield
    assert b"301 Moved" in running.get("/go/after")


def problem(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"Traceback" not in answer
    assert b"secret" not in answer
    found: dict[str, Any] = json.loads(body)
    assert head.startswith(b"HTTP/1.1 %d " % found["status"])
    return found


NOT_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 50,
    b"hello\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: ten\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n",
]


@pytest.mark.parametrize("data", NOT_HTTP)
def test_what_is_not_http(running: Service, data: bytes) -> None:
    assert problem(running.send(data))["status"] == 400


@pytest.mark.parametrize("path", ["/go/%ff", "/%c3%28", "/%ed%a0%80"])
def test_a_path_that_is_not_utf8(running: Service, path: str) -> None:
    assert problem(running.get(path))["detail"] == "The path is not valid UTF-8."


def test_headers_that_are_not_utf8_are_only_bytes(running: Service) -> None:
    assert b"301 Moved" in running.get("/go/x", "X-Name: \xff\xfe", "X-Request-Id: \xff", "Cookie: tf_token=\xff")


@pytest.mark.parametrize("head", ["X: " + "a" * 40_000, "\r\n".join(f"X-{number}: {number}" for number in range(5000))])
def test_a_head_that_is_too_large(running: Service, head: str) -> None:
    assert problem(running.get("/go/x", head))["status"] == 431


def test_a_url_that_is_too_large(running: Service) -> None:
    assert problem(running.get("/" + "a" * 70_000))["status"] == 431
    assert b"301 Moved" in running.get("/go/" + "a" * 3000), "3,000 characters are none of our business"


def test_a_large_head_that_comes_in_small_pieces(running: Service) -> None:
    with socket.create_connection(("127.0.0.1", running.public.getsockname()[1]), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        try:
            for number in range(100):
                client.sendall(b"X-%d: %s\r\n" % (number, b"a" * 1000))
        except OSError:
            pass  # it was refused while this client still sent
        else:
            assert problem(client.recv(65536))["status"] == 431


def test_a_small_head_in_one_piece_with_a_large_body_is_not_a_large_head(running: Service) -> None:
    body = b"x" * 200_000
    answer = running.send(b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    assert b"POST 200000" in answer


@pytest.mark.parametrize("how", ["length", "chunked"])
@pytest.mark.parametrize("key", [b"", b"Idempotency-Key: k\r\n"])
def test_a_body_of_10_mb_gets_a_whole_413(running: Service, how: str, key: bytes) -> None:
    body = b'{"url": "' + b"x" * 10_000_000 + b'"}'
    if how == "length":
        head = b"POST / HTTP/1.1\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n" % (key, len(body))
        found = problem(running.send(head + body))
    else:
        head = b"POST / HTTP/1.1\r\nContent-Type: application/json\r\n%sTransfer-Encoding: chunked\r\n\r\n" % key
        found = problem(running.send(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)))
    assert (found["status"], found["code"]) == (413, "TF-BODY")
    assert "1048576 bytes" in found["detail"]


def test_a_client_that_asks_before_it_sends_is_refused_without_sending(running: Service) -> None:
    answer = running.send(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 10000000\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert problem(answer)["code"] == "TF-BODY"


def test_a_key_that_is_not_usable(running: Service) -> None:
    request = b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\nIdempotency-Key: %s\r\n\r\n"
    for key in (b"", b"a b", b"\xc3\xa4", b"x" * 256):
        assert problem(running.send(request % key))["code"] == "TF-KEY"


def test_an_error_of_the_service(running: Service) -> None:
    found = problem(running.get("/fails", "X-Request-Id: chosen-by-the-client"))
    assert found["status"] == 500
    assert found["instance"] != "chosen-by-the-client", "a client does not choose under what its requests are logged"
    lines = [json.loads(line) for line in running.nodes[0].errors.read_text().splitlines()]
    assert any(
        "a secret of the service" in line.get("trace", "") and line["request"] == found["instance"] for line in lines
    )


def test_an_error_after_the_response_began_does_not_look_complete(running: Service) -> None:
    answer = running.get("/fails-late")
    assert b"begun" in answer
    assert not answer.endswith(b"0\r\n\r\n")
    assert b"secret" not in answer
    assert "ResponseAborted" not in running.nodes[0].errors.read_text(), "the reason is logged once, by us"


def test_a_header_that_carries_a_line_break(running: Service) -> None:
    assert problem(running.get("/injects?%0d%0aset-cookie:%20a=b"))["code"] == "TF-HEADER"
    assert b"location: https://x" in running.get("/injects?fine")


def test_a_connection_that_is_pipelined_gets_its_answers_in_order(running: Service) -> None:
    answer = running.send(
        b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\nGET /go/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert answer.index(b"GET 0") < answer.index(b"location: https://example.com/a")


def test_rubbish_behind_a_request_does_not_end_up_inside_its_answer(running: Service) -> None:
    answer = running.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\nrubbish\r\n\r\n")
    assert b"400" not in answer


def test_every_answer_is_dated_and_says_nothing_of_its_server(running: Service, tmp_path: Path) -> None:
    head = running.get("/go/a").lower()
    assert b"\r\ndate: " in head
    assert b"\r\nserver:" not in head


def test_refusals_are_counted(running: Service) -> None:
    running.send(NOT_HTTP[0])
    assert b'tenfold_http_refused_total{reason="not_http"}' in running.get("/metrics")


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "anything"])
def test_an_upgrade_that_is_not_spoken_here_is_an_ordinary_request(running: Service, protocol: str) -> None:
    upgrade = f"Connection: Upgrade\r\nUpgrade: {protocol}\r\n".encode()
    with socket.create_connection(("127.0.0.1", running.public.getsockname()[1]), timeout=10) as client:
        client.sendall(b"GET /go/a HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 301 ")
