"""Users of the machine: as whom a child runs when the keeper is root."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass

from tenfold.core.errors import TenfoldError

_KEPT = ("PATH", "LANG", "LC_ALL", "TZ")


@dataclass(frozen=True)
class Account:
    """A user as the kernel knows it, with its groups and nobody else's."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def account_of(user: str) -> Account | None:
    """The account that a child of that user is started as; None when it runs as we do.

    Only root can start processes of other users, so everybody else starts them as himself. Raises a `TenfoldError`
    when there is no such user.
    """
    if not user or os.geteuid() != 0:
        return None
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise TenfoldError(
            f"There is no user {user!r} on this machine.", hint="Make one, or name another.", code="TF-SPAWN"
        ) from None
    return Account(found.pw_uid, found.pw_gid, tuple(os.getgrouplist(user, found.pw_gid)))


def inherited(user: str) -> Mapping[str, str]:
    """The variables that a child gets from us: all of them, and only harmless ones when it runs as somebody else."""
    if not user or os.geteuid() != 0:
        return os.environ
    return {name: os.environ[name] for name in _KEPT if name in os.environ}
