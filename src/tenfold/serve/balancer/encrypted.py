"""The encrypted public listener: opened by a balancer, shared by all of them, given to each HAProxy that is started.

Balancers hand it to each other, so all accept from one queue, and a balancer that is started again gets back the very
socket that its HAProxy still uses. Only when nobody has it is a new one opened; SO_REUSEPORT lets it be opened beside
one that a HAProxy alone still holds.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path

from tenfold.core.files import FileLock
from tenfold.hosts.listener import open_listener, recover_listener

ENCRYPTED_FD = 101
"""The number under which HAProxy gets it, always the same: its configuration does not change with it."""
OPERATION = "encrypted_listener"
"""The op of a balancer's socket that hands it out."""
HOLDER_ANSWERS_S = 0.5


class EncryptedListener:
    """The socket, once there is one. `run` is the folder with the control sockets, `others` the other balancers."""

    def __init__(self, run: Path, others: Iterable[str]) -> None:
        self._lock = run / "encrypted.lock"
        self._others = [run / f"{name}.sock" for name in others]
        self._socket: socket.socket | None = None

    @property
    def descriptor(self) -> int:
        """Its descriptor, or -1."""
        return self._socket.fileno() if self._socket else -1

    def take_back(self, port: int) -> bool:
        """Gets it from another balancer that listens on that port; says whether it is here now. Blocks shortly."""
        if self._socket is None or self._port() != port:
            found = recover_listener(self._others, HOLDER_ANSWERS_S, OPERATION)
            if found is not None and found.getsockname()[1] == port:
                self._replace(found)
            elif found is not None:
                found.close()
        return self._socket is not None and self._port() == port

    def open(self, host: str, port: int) -> None:
        """Makes sure that it listens on that port. Raises `PortTaken` or `UsageError`; the old one stays then. Blocks:
        one balancer at a time, so that the second gets the socket of the first."""
        with FileLock(self._lock):
            if not self.take_back(port):
                self._replace(open_listener(host, port, shared=True))

    def close(self) -> None:
        """Lets it go; a HAProxy that has it goes on."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _port(self) -> int:
        return int(self._socket.getsockname()[1]) if self._socket else 0

    def _replace(self, fresh: socket.socket) -> None:
        self.close()
        os.dup2(fresh.fileno(), ENCRYPTED_FD, inheritable=False)
        fresh.close()
        self._socket = socket.socket(fileno=ENCRYPTED_FD)
