"""The public socket: opened once by the keeper, inherited by who serves, handed back after the keeper was killed."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from pathlib import Path

from tenfold.core.errors import TenfoldError, UsageError
from tenfold.hosts.ports import holder_of
from tenfold.hosts.wire import call_for_descriptor

BACKLOG = 4096
"""Connections that wait while nobody accepts: a restart of the web process at some thousand connections a second. The
kernel caps it at net.core.somaxconn."""


class PortTaken(UsageError):
    """Another process listens on the public address."""

    code = "TF-PORT-TAKEN"
    title = "The port is taken"


def open_listener(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening TCP socket. `::` listens on IPv4 as well; port 0 takes any free one. `shared`: other processes of our
    user may listen there too, if they say so as well (SO_REUSEPORT).

    Raises `PortTaken`, naming the process that holds the port where the system lets us see it, or `UsageError` when the
    address is not ours or the port needs root.
    """
    family, address = _resolve(host, port)
    # IPPROTO_TCP spelled out: servers look at it before they switch Nagle off, which is 40 ms a request.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.set_inheritable(True)
    except OSError as error:
        listener.close()
        raise _bind_error(host, port, error) from error
    return listener


def _resolve(host: str, port: int) -> tuple[int, tuple[object, ...]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (socket.gaierror, UnicodeError):
        raise UsageError(
            f"{host!r} is not an address of this machine.", hint="Use 127.0.0.1, 0.0.0.0, ::, or a name that resolves."
        ) from None
    family, _type, _proto, _name, address = found[0]
    return family, address


def _bind_error(host: str, port: int, error: OSError) -> TenfoldError:
    if error.errno == errno.EADDRINUSE:
        return port_taken(host, port)
    if error.errno == errno.EACCES:
        return UsageError(f"Port {port} needs root.", hint="Use a port of 1024 or more, such as --port 8000.")
    if error.errno == errno.EADDRNOTAVAIL:
        return UsageError(
            f"{host} is not an address of this machine.", hint="Use 127.0.0.1, 0.0.0.0 or :: as the host."
        )
    return UsageError(f"Port {port} of {host} cannot be listened on: {error.strerror}.")


def port_taken(host: str, port: int) -> PortTaken:
    """The error that names who holds the port."""
    holder = holder_of(port)
    by = f" by {holder}" if holder else " by a process that this user may not see"
    return PortTaken(f"Port {port} of {host} is taken{by}.", hint="Stop it, or choose another port with --port.")


def recover_listener(
    sockets: Iterable[Path], timeout_s: float = 2.0, operation: str = "listener"
) -> socket.socket | None:
    """The public socket from the first of these nodes that still holds it, or None. What waits in it is kept.

    `timeout_s` bounds the wait for each node: one that hangs is passed over. `operation` asks for another listener.
    """
    for path in sockets:
        try:
            _answer, descriptor = call_for_descriptor(path, {"op": operation}, timeout_s)
        except TenfoldError:
            continue
        if descriptor is None:
            continue
        listener = socket.socket(fileno=descriptor)
        if _listens(listener):
            listener.set_inheritable(True)
            return listener
        listener.close()
    return None


def _listens(candidate: socket.socket) -> bool:
    try:
        accepts = candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        return False
    return bool(accepts) and candidate.family in (socket.AF_INET, socket.AF_INET6)
