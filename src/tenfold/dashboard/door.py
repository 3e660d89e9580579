"""Where the dashboard listens, and what it needs to know who may come in: made once, kept in the state directory."""

from __future__ import annotations

import contextlib
import errno
import socket

from tenfold.control.place import Place
from tenfold.core.errors import TenfoldError, UsageError
from tenfold.core.secrets import Secrets
from tenfold.dashboard.policy import Rules, names_of
from tenfold.hosts import wire
from tenfold.topology.dashboard import DashboardMap
from tenfold.topology.door import is_loopback

NODE = "dashboard"
TOKEN, KEY = "dashboard-token", "dashboard-key"
"""The names of its secrets: what people show, and what signs that which is bound to a cookie."""
_TAKEN = (errno.EADDRINUSE, errno.EACCES)


def open_door(place: Place, wanted: DashboardMap) -> socket.socket:
    """Listens where the map says, or on a free port when that one is taken.

    The keeper hands the free port out, so that it is the same after a restart. Raises `UsageError` for a host that is
    not of this machine.
    """
    ports = [wanted.port] if wanted.port else []
    with contextlib.suppress(TenfoldError):
        ports.append(int(wire.call(place.run / "keeper.sock", {"op": "port", "name": NODE, "free": True}, 5.0)["port"]))
    for port in (*ports, 0):
        try:
            return _listen(wanted.host, port)
        except OSError as error:
            if error.errno not in _TAKEN or port == 0:
                raise _refused(wanted.host, error) from error
    raise AssertionError("the last port is any")


def _listen(host: str, port: int) -> socket.socket:
    family, _kind, _protocol, _name, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server((str(address[0]), port), family=family, backlog=128)


def _refused(host: str, error: OSError) -> UsageError:
    return UsageError(
        f"The dashboard cannot listen on {host}: {error.strerror or error}.",
        hint="Put another host under [dashboard] in tenfold.toml, then run `tenfold up`.",
        code="TF-DASHBOARD-HOST",
    )


def rules_of(place: Place, wanted: DashboardMap) -> Rules:
    """What holds for this dashboard; its secrets are made the first time."""
    kept, loopback = Secrets(place.state / "secrets"), is_loopback(wanted.host)
    machine = {socket.gethostname(), socket.getfqdn()} if not loopback else set()
    token = "" if loopback else kept.ensure(TOKEN)
    return Rules(wanted.mode, loopback, names_of(wanted.host, machine), kept.ensure(KEY), token)


def address_of(listener: socket.socket) -> str:
    """The address as a browser on this machine takes it."""
    host, port = listener.getsockname()[:2]
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - recognised, not bound
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"
