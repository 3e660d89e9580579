"""A dump of a database on a server before it is changed: what to go back to when a migration did the wrong thing."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from tenfold.core.files import private_dir
from tenfold.engines.postgres.address import ServerUrl

LARGEST = 200_000_000
"""Bytes of a database of which a dump is made unasked; a larger one would hold up every deploy."""

LIMIT_S = 600.0
KEPT = 2

Run = Callable[[Sequence[str], Mapping[str, str], float], str]
"""Runs a program to its end with variables and a limit in seconds; why it failed, or nothing."""


def command(login: ServerUrl, target: Path, program: str = "pg_dump") -> list[str]:
    """The words that dump the database into `target`. There is no password in them."""
    where = ["--host", login.host, "--port", str(login.port), "--username", login.user, "--dbname", login.database]
    return [program, "--format", "custom", "--no-password", "--file", str(target), *where]


def dump_of(folder: Path, service: str, revision: str) -> Path:
    """Where the dump before `revision` is kept."""
    return folder / f"{service}.before-{re.sub(r'[^A-Za-z0-9_-]', '_', revision)}.dump"


def keep_dump(
    login: ServerUrl, size: int, target: Path, others: str, *, run: Run, programs: Iterable[Path]
) -> tuple[Path | None, str]:
    """Dumps a database of `size` bytes into `target`, and keeps the two newest that match `others`.

    `programs`: the folders of PostgreSQL's programs beyond PATH, the best first. Returns the dump and an empty
    sentence, or None and a sentence on why there is none and how to make it by hand.
    """
    by_hand = f"To have one, run this first: {shlex.join(command(login, target))}"
    if size > LARGEST:
        return None, f"No dump was kept: the database has {size:,} bytes, more than {LARGEST:,}. {by_hand}"
    program = _program(programs)
    if program is None:
        return None, f"No dump was kept: pg_dump is not installed here. {by_hand}"
    private_dir(target.parent)
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        failed = run(command(login, partial, program), _variables(login), LIMIT_S)
        if failed:
            return None, f"No dump was kept: pg_dump said: {failed.rstrip('.')}. {by_hand}"
        with open(partial, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(partial, target)
    except OSError as error:
        return None, f"No dump was kept: {error.strerror}. {by_hand}"
    finally:
        partial.unlink(missing_ok=True)
    for old in sorted(target.parent.glob(others), key=lambda dump: dump.stat().st_mtime_ns)[:-KEPT]:
        old.unlink(missing_ok=True)
    return target, ""


def _program(programs: Iterable[Path]) -> str | None:
    """The newest beside a server's programs (an older one refuses a newer server), else the one on PATH."""
    for folder in programs:
        if os.access(folder / "pg_dump", os.X_OK):
            return str(folder / "pg_dump")
    return shutil.which("pg_dump")


def _variables(login: ServerUrl) -> Mapping[str, str]:
    """The password goes through the environment, which only our own user can look at."""
    return {"PGPASSWORD": login.password, "PGSSLMODE": login.tls, "PGCONNECT_TIMEOUT": "10"}
