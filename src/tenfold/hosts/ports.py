"""Ports: who holds one, and free loopback ports handed out by name."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import zlib
from pathlib import Path

from tenfold.core.errors import Unavailable
from tenfold.core.files import atomic_write
from tenfold.hosts.identity import command_of

FIRST, LAST = 20_000, 31_999
"""Where ports are handed out: below the range from which the kernel takes ports for outgoing connections."""
_LISTEN = "0A"


def holder_of(port: int) -> str:
    """The process that listens on a TCP port, as `pid 12 (command)`; empty when there is none that we may see."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not inodes:
        return ""
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):
            if any(os.readlink(folder / name) in inodes for name in os.listdir(folder)):
                pid = int(folder.parent.name)
                return f"pid {pid} ({command_of(pid) or 'unknown command'})"
    return ""


def _listening_inodes(port: int) -> list[str]:
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    found.append(fields[9])
    return found


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a loopback port can be listened on right now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


class Ports:
    """Loopback ports by name: the same name gets the same port for the life of the deployment, over keepers too."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ports = self._load()

    def of(self, name: str, *, free: bool = False) -> int:
        """The port of that name; a free one is chosen and remembered the first time.

        `free`: nobody of ours listens there now, so another one is chosen when somebody does.
        """
        if name not in self._ports or (free and not is_free(self._ports[name])):
            port = self._choose()
            atomic_write(self._file, json.dumps({**self._ports, name: port}).encode())
            self._ports[name] = port
        return self._ports[name]

    def _choose(self) -> int:
        # Deployments on one machine start at different places, so that two keepers seldom meet in the same port.
        span = LAST - FIRST + 1
        start = zlib.crc32(os.fsencode(self._file)) % span
        taken = set(self._ports.values())
        for step in range(span):
            port = FIRST + (start + step) % span
            if port not in taken and is_free(port):
                return port
        raise Unavailable(f"No port between {FIRST} and {LAST} is free.", hint="Stop something that listens there.")

    def _load(self) -> dict[str, int]:
        try:
            return {str(name): int(port) for name, port in json.loads(self._file.read_bytes()).items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}
