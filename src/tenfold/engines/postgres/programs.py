"""PostgreSQL's programs on this machine: found on PATH and where Debian and Ubuntu keep them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tenfold.core.errors import TenfoldError

LEAST = 15
"""The oldest major version that Tenfold works with."""
FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin")
_VERSION = re.compile(r"PostgreSQL\) (\d+)(\.\d+)?")

Ask = Callable[[Sequence[str]], str]
"""Runs a command and returns what it printed; given by the floor above, because only `hosts` starts processes."""


@dataclass(frozen=True)
class Programs:
    """One installation: the folder with `postgres` and `initdb`, and its version (major, and as it is shown)."""

    folder: Path
    major: int
    version: str

    @property
    def postgres(self) -> str:
        return str(self.folder / "postgres")

    @property
    def initdb(self) -> str:
        return str(self.folder / "initdb")


def installed(ask: Ask, path: str | None = None, folders: Iterable[str] = FOLDERS) -> list[Programs]:
    """Every complete installation, the newest first; those on PATH before others of the same version.

    A folder counts when it has both programs: client packages put only `psql` on PATH.
    """
    words = (os.environ.get("PATH", "") if path is None else path).split(os.pathsep)
    places = [Path(word) for word in words if word] + [place for pattern in folders for place in _matching(pattern)]
    found: dict[Path, Programs] = {}
    for place in places:
        program = place / "postgres"
        if os.access(program, os.X_OK) and os.access(place / "initdb", os.X_OK):
            # Followed to its end, because `postgres` looks for its own files beside the program itself.
            folder = program.resolve().parent
            match = None if folder in found else _VERSION.search(ask([str(program), "--version"]))
            if match is not None:
                found[folder] = Programs(folder, int(match[1]), match[1] + (match[2] or ""))
    return sorted(found.values(), key=lambda programs: -programs.major)


def _matching(pattern: str) -> list[Path]:
    anchor = Path(pattern).anchor
    return sorted(Path(anchor).glob(pattern.removeprefix(anchor)), reverse=True)


def choose(found: Sequence[Programs], data_major: int | None = None) -> Programs:
    """The installation to run: the newest, or the one that the data was made by (`data_major`).

    Raises a `TenfoldError`: TF-PG-MISSING when there is none, TF-PG-VERSION when none is new enough or fits the data.
    """
    if not found:
        raise TenfoldError("PostgreSQL is not installed.", hint=INSTALL_HINT, code="TF-PG-MISSING")
    if data_major is not None:
        fitting = [programs for programs in found if programs.major == data_major]
        if not fitting:
            raise TenfoldError(
                f"The data was written by PostgreSQL {data_major}, and only {_list(found)} is installed.",
                hint=f"Install PostgreSQL {data_major} beside it (apt-get install postgresql-{data_major}).",
                code="TF-PG-VERSION",
            )
        return fitting[0]
    if found[0].major < LEAST:
        raise too_old(found[0].version)
    return found[0]


def too_old(version: str) -> TenfoldError:
    """The error for a server before `LEAST`."""
    return TenfoldError(
        f"PostgreSQL {version} is too old: Tenfold needs {LEAST} or newer.", hint=INSTALL_HINT, code="TF-PG-VERSION"
    )


INSTALL_HINT = f"Install PostgreSQL {LEAST} or newer, on Debian and Ubuntu: apt-get install postgresql."


def _list(found: Sequence[Programs]) -> str:
    return ", ".join(programs.version for programs in found)
