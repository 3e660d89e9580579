"""How the keeper, the controller, the nodes and the command line talk: one JSON object a line over a unix socket.

A question is `{"op": ...}`, an answer `{"ok": true, ...}` or `{"ok": false, "error": {"code", "message", "hint"}}`.
Lines are at most 64 KB. A descriptor travels beside an answer by SCM_RIGHTS. Who may ask is decided by the uid that the
kernel reports for the other end (SO_PEERCRED): the user that runs the deployment, and root.

Used by every floor above; standard library only, because the keeper is.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tenfold.core.errors import TenfoldError, Unavailable, UsageError

MAX_LINE = 64 * 1024
"""Bytes in one line, the newline included; longer ones are refused."""
_LONGEST_NAME = 107
"""Bytes of a path that fit into `sockaddr_un` (108 with the closing zero)."""

Message = dict[str, Any]


class NotRunning(Unavailable):
    """Nobody listens on that socket: the process behind it is not running."""

    code = "TF-NOT-RUNNING"
    title = "Not running"


class NoAnswer(Unavailable):
    """The other end took the question and did not answer in time, or went away before it did."""

    code = "TF-NO-ANSWER"
    title = "No answer"


class WentAway(NoAnswer):
    """The other end ended the connection before it answered: it was ending itself."""


@contextlib.contextmanager
def _bindable(path: Path) -> Iterator[str]:
    """The path as the kernel takes it: itself when it is short enough, else through a descriptor of its folder."""
    if len(os.fsencode(path)) <= _LONGEST_NAME:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen_unix(path: Path) -> socket.socket:
    """A listening unix socket at `path`, of any length, readable by its owner only; a leftover file there is replaced.

    The caller must hold the lock that says that nobody else may listen there.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        with _bindable(path) as name:
            listener.bind(name)
        path.chmod(0o600)
        listener.listen(64)
    except OSError:
        listener.close()
        raise
    return listener


def connect_unix(path: Path, timeout_s: float) -> socket.socket:
    """A connection to the unix socket at `path`. Raises `NotRunning` when nobody listens there."""
    conn = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    conn.settimeout(timeout_s)
    try:
        with _bindable(path) as name:
            conn.connect(name)
    except OSError as error:
        conn.close()
        raise _connect_error(path, error) from error
    return conn


def _connect_error(path: Path, error: OSError) -> TenfoldError:
    if error.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
        return NotRunning(f"Nothing answers on {path}.", hint="Start it with `tenfold up`.")
    if error.errno in (errno.EACCES, errno.EPERM):
        return UsageError(f"{path} belongs to another user.", hint="Run this as the user that started the deployment.")
    return NoAnswer(f"{path} cannot be reached: {error.strerror or error}.")


def encode(message: Message) -> bytes:
    """One line. Raises `UsageError` when it would be longer than a line may be."""
    line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    if len(line) > MAX_LINE:
        raise UsageError(f"A message of {len(line)} bytes does not fit into a line of {MAX_LINE}.")
    return line


def decode(line: bytes) -> Message:
    """The object in a line. Raises `UsageError` when it is not one."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The line is not JSON: {error}.") from None
    if not isinstance(message, dict):
        raise UsageError("The line is not a JSON object.")
    return message


def call(path: Path, message: Message, timeout_s: float = 5.0) -> Message:
    """Asks and waits for the answer.

    Raises `NotRunning`, `NoAnswer`, or the error that the other end answered with (same code, message and hint).
    `timeout_s` bounds each wait for the socket.
    """
    answer, descriptor = call_for_descriptor(path, message, timeout_s)
    if descriptor is not None:
        os.close(descriptor)
    return answer


def call_for_descriptor(path: Path, message: Message, timeout_s: float = 5.0) -> tuple[Message, int | None]:
    """Like `call`, and takes the descriptor that came with the answer, if one did; the caller closes it."""
    received: list[int] = []
    line = bytearray()
    try:
        with connect_unix(path, timeout_s) as conn:
            conn.sendall(encode(message))
            while not line.endswith(b"\n") and len(line) <= MAX_LINE:
                data, descriptors, _flags, _peer = socket.recv_fds(conn, 16 * 1024, 1)
                received += descriptors
                for descriptor in descriptors:  # recv_fds passes no flags on, MSG_CMSG_CLOEXEC neither
                    os.set_inheritable(descriptor, False)
                if not data:
                    break
                line += data
        answer = _answer(path, bytes(line))
    except (OSError, TenfoldError) as error:
        for descriptor in received:
            os.close(descriptor)
        if isinstance(error, ConnectionError):
            raise _went_away(path) from error
        if isinstance(error, OSError):
            raise NoAnswer(f"{path.name} did not answer within {timeout_s:g} s.") from error
        raise
    for extra in received[1:]:
        os.close(extra)
    return answer, received[0] if received else None


async def ask(path: Path, message: Message, timeout_s: float = 5.0) -> Message:
    """`call` for a running event loop; `timeout_s` bounds the whole exchange."""
    conn = connect_unix(path, timeout_s)
    conn.setblocking(False)
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(sock=conn, limit=MAX_LINE)
            try:
                writer.write(encode(message))
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        conn.close()
        raise NoAnswer(f"{path.name} did not answer within {timeout_s:g} s.") from error
    return _answer(path, line)


def _went_away(path: Path) -> WentAway:
    return WentAway(f"{path.name} closed the connection without an answer.")


def _answer(path: Path, line: bytes) -> Message:
    if not line.endswith(b"\n"):
        raise _went_away(path)
    answer = decode(line)
    if answer.get("ok") is True:
        return answer
    raise error_of(answer.get("error"))


def error_of(value: object) -> TenfoldError:
    """The error that `error_body` made a value of."""
    if not isinstance(value, dict):
        return TenfoldError("The other end failed without saying why.")
    return TenfoldError(
        str(value.get("message", "No reason was given.")),
        hint=str(value.get("hint", "")),
        code=str(value.get("code", TenfoldError.code)),
    )


def error_body(error: TenfoldError) -> Message:
    """An error as it travels in an answer and in the last line of a process that could not start."""
    return {"code": error.code, "message": error.message, "hint": error.hint}


def refusal(error: TenfoldError) -> bytes:
    """The line that answers with an error; a long message is cut so that it fits."""
    body = error_body(error)
    body["message"] = body["message"][:8000]
    return encode({"ok": False, "error": body})


def peer_uid(conn: socket.socket) -> int:
    """The user id of the process at the other end when it connected, as the kernel knows it."""
    raw = conn.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", raw)
    return int(uid)


def may_ask(uid: int) -> bool:
    """Whether a process of that user may ask a process of ours."""
    return uid in (os.geteuid(), 0)
