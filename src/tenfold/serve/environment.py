"""What the keeper gives to a process that serves: variables, the map file, the public listener."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tenfold.core.errors import SpecError, UsageError
from tenfold.topology.map import Map, decode


@dataclass(frozen=True, slots=True)
class Environment:
    """What the keeper tells a process that serves; `listen_fd` is -1 without a public listener."""

    node: str
    map_path: Path
    socket_path: Path
    listen_fd: int


def read_environment(variables: Mapping[str, str], *, listens: bool = True) -> Environment:
    """Raises `UsageError` naming the variable that is missing or wrong. One that does not listen inherits no socket."""
    try:
        return Environment(
            node=variables["TENFOLD_NODE"],
            map_path=Path(variables["TENFOLD_MAP"]),
            socket_path=Path(variables["TENFOLD_NODE_SOCKET"]),
            listen_fd=int(variables["TENFOLD_LISTEN_FD"]) if listens else -1,
        )
    except KeyError as error:
        reason = f"The environment variable {error.args[0]} is missing"
    except ValueError:
        reason = f"TENFOLD_LISTEN_FD is {variables['TENFOLD_LISTEN_FD']!r}, which is not a file descriptor"
    raise UsageError(
        f"{reason}.",
        hint="It is started by the keeper: use `tenfold up`, or `uvicorn package.module:app` without one.",
    )


def read_map(path: Path) -> Map:
    """Raises `SpecError` for a file that is missing or not a map."""
    try:
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise SpecError(f"The map {path} cannot be read: {error.strerror}.", hint="Start with `tenfold up`.") from None


def inherited_listener(fd: int) -> socket.socket:
    """The listener behind `fd`, with its true family and protocol: with another protocol than TCP, TCP_NODELAY would
    not be set and each keep-alive request would take 40 ms. Raises `UsageError` for anything but a listening socket."""
    try:
        listener = socket.socket(fileno=fd)
        listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise UsageError(
            f"TENFOLD_LISTEN_FD={fd} is not a socket: {error.strerror}.", hint="Use `tenfold up`."
        ) from None
    if not listening:
        raise UsageError(f"TENFOLD_LISTEN_FD={fd} is a socket that does not listen.", hint="Use `tenfold up`.")
    listener.set_inheritable(False)
    return listener


def stamp_of(path: Path) -> tuple[int, int] | None:
    """Changes whenever the file is replaced; None while it is missing."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns
