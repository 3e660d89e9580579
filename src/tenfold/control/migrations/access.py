"""As whom the shape of a database on a server is changed: its owner, whom no web process knows."""

from __future__ import annotations

from pathlib import Path

from tenfold.control.place import Place
from tenfold.core.errors import UsageError
from tenfold.core.secrets import Secrets
from tenfold.engines.postgres.address import ServerUrl, parse_url
from tenfold.engines.postgres.roles import names_of
from tenfold.topology.map import Map, ServerMap

SECRETS = "secrets"
OWNER_SECRET = "database-owner"  # noqa: S105 - the name of a file


def owner_login(current: Map) -> ServerUrl:
    """The owner's login at the server that `current` names (it must name one).

    On a server of ours the password is a secret of the deployment; on one of the user's, the login is the one of
    `[database] url`. Raises UsageError when it is not there or names another server than the map.
    """
    server = current.database.server
    assert server is not None, "only a database on a server has an owner's login"
    if server.supervised:
        password = Secrets(Path(current.state) / SECRETS).find(OWNER_SECRET)
        if password is None:
            raise UsageError(
                f"The owner's password is not in {Path(current.state) / SECRETS / OWNER_SECRET}.",
                hint="Put the file back from a backup of `.tenfold`; it was made with the database server.",
            )
        user = names_of(current.service).owner
        return ServerUrl(server.host, server.port, server.database, user, password, server.tls)
    return _of_url(Path(current.root), server)


def _of_url(root: Path, server: ServerMap) -> ServerUrl:
    url = Place(root).read_spec().database.url
    if url is None:
        raise UsageError(
            f"The database is on {server.host}, and tenfold.toml has no [database] url to log in there as its owner.",
            hint="Put the url back.",
        )
    login = parse_url(url.reveal())
    if (login.host, login.port, login.database) != (server.host, server.port, server.database):
        raise UsageError(
            f"[database] url names {login.shown}, and the data is on {server.host}:{server.port}/{server.database}.",
            hint="Put the url back that the database was moved to.",
        )
    return login
