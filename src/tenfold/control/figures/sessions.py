"""How many clients a PostgreSQL server has, without asking it: each session is a process that writes into its command
line whose it is (`postgres: user database 127.0.0.1(41234) idle`, PostgreSQL's `update_process_title`)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tenfold.control.figures.look import ProcessLook
from tenfold.control.figures.processes import command_of

_CLIENT = re.compile(rb"^postgres: .*(\(\d+\)|\[local\])")
_TITLED = b"postgres:"


class Sessions:
    """Reads each session's command line once in its life."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], bool] = {}

    def count(self, processes: Iterable[ProcessLook]) -> int:
        """How many of these processes serve a client; those that serve a replica are none."""
        known: dict[tuple[int, int], bool] = {}
        count = 0
        for one in processes:
            key = (one.pid, one.began)
            found = self._known.get(key)
            if found is None:
                title = command_of(one.pid)
                found = is_client(title)
                if not title.startswith(_TITLED):
                    continue  # just forked: it has no title yet
            known[key] = found
            count += found
        self._known = known
        return count


def is_client(title: bytes) -> bool:
    """Whether a process with this command line is a session of a client."""
    return _CLIENT.match(title) is not None and b"walsender" not in title
