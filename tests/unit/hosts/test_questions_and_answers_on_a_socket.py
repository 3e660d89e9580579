"""wire: errors arrive as they were raised, a silent or dying other end is told apart from one that does not run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tenfold.core.errors import TenfoldError, UsageError
from tenfold.hosts import wire


@contextmanager
def answering(path: Path, answer: Callable[[socket.socket], None]) -> Iterator[None]:
    """One conversation, answered by the given function after the question was read."""
    listener = wire.listen_unix(path)

    def serve() -> None:
        conn, _ = listener.accept()
        with conn:
            conn.recv(wire.MAX_LINE)
            answer(conn)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        thread.join(10)
        listener.close()


def says(line: bytes) -> Callable[[socket.socket], None]:
    return lambda conn: conn.sendall(line)


@pytest.fixture(params=["short", "long"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path / ("x" * 120) if request.param == "long" else tmp_path
    folder.mkdir(exist_ok=True)
    return folder / "a.sock"


def ask(path: Path, timeout_s: float = 5.0) -> wire.Message:
    return asyncio.run(wire.ask(path, {"op": "x"}, timeout_s))


def call(path: Path, timeout_s: float = 5.0) -> wire.Message:
    return wire.call(path, {"op": "x"}, timeout_s)


both = pytest.mark.parametrize("way", [call, ask])


@both
def test_an_answer_arrives(path: Path, way: Callable[..., wire.Message]) -> None:
    with answering(path, says(b'{"ok":true,"n":1}\n')):
        assert way(path) == {"ok": True, "n": 1}


@both
def test_an_error_arrives_with_its_code_its_sentence_and_its_hint(path: Path, way: Callable[..., wire.Message]) -> None:
    with (
        answering(path, says(wire.refusal(UsageError("No.", hint="Try yes.", code="TF-X")))),
        pytest.raises(TenfoldError) as raised,
    ):
        way(path)
    assert (raised.value.code, raised.value.message, raised.value.hint) == ("TF-X", "No.", "Try yes.")


@both
@pytest.mark.parametrize("line", [b"", b"half a li", b'{"ok":true}'])
def test_an_end_before_the_answer_is_no_answer(path: Path, way: Callable[..., wire.Message], line: bytes) -> None:
    with answering(path, says(line)), pytest.raises(wire.NoAnswer):
        way(path)


@both
def test_silence_is_no_answer_after_the_timeout(path: Path, way: Callable[..., wire.Message]) -> None:
    over = threading.Event()
    with answering(path, lambda _conn: over.wait(10) and None):
        with pytest.raises(wire.NoAnswer, match=r"within 0\.05 s"):
            way(path, 0.05)
        over.set()


@both
@pytest.mark.parametrize("line", [b"{}\n", b'{"ok":false}\n', b'{"ok":1}\n', b'{"ok":false,"error":7}\n'])
def test_an_answer_that_does_not_say_ok_is_an_error(path: Path, way: Callable[..., wire.Message], line: bytes) -> None:
    with answering(path, says(line)), pytest.raises(TenfoldError, match="failed without saying why"):
        way(path)


@both
def test_an_endless_answer_is_cut_off(path: Path, way: Callable[..., wire.Message]) -> None:
    def babble(conn: socket.socket) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while True:
                conn.sendall(b"x" * 65536)

    with answering(path, babble), pytest.raises(TenfoldError):
        way(path)


@both
def test_nobody_there_is_not_running(path: Path, way: Callable[..., wire.Message]) -> None:
    with pytest.raises(wire.NotRunning):
        way(path)
    wire.listen_unix(path).close()  # the file stays, nobody listens
    with pytest.raises(wire.NotRunning):
        way(path)


def test_a_leftover_socket_file_is_replaced_and_private(path: Path) -> None:
    wire.listen_unix(path).close()
    wire.listen_unix(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_descriptor_travels_beside_an_answer_and_is_not_inherited(path: Path) -> None:
    receive, send = os.pipe()

    def hand_over(conn: socket.socket) -> None:
        socket.send_fds(conn, [b'{"ok":true}\n'], [receive])

    with answering(path, hand_over):
        _answer, descriptor = wire.call_for_descriptor(path, {"op": "listener"})
    assert descriptor is not None
    os.write(send, b"through")
    assert os.read(descriptor, 10) == b"through"
    assert not os.get_inheritable(descriptor)
    for each in (descriptor, receive, send):
        os.close(each)


def test_a_line_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(UsageError, match="does not fit"):
        wire.encode({"op": "x" * wire.MAX_LINE})


def test_the_uid_of_the_other_end_is_the_kernels_word() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert wire.peer_uid(one) == os.getuid()
    assert wire.may_ask(os.geteuid())
    assert not wire.may_ask(65533)
