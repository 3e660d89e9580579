"""`python -m bench [NAME ...]`: all measurements, or the named ones."""

from __future__ import annotations

import importlib
import sys

ALL = (
    "database", "postgres", "copy", "moves", "door", "balancing", "cache", "events", "limits", "sessions", "kv",
    "files", "tasks", "metrics", "visits", "dashboard", "page", "start", "http", "checkers",
)  # fmt: skip


def main() -> None:
    """Runs what was asked for, in order."""
    names = sys.argv[1:] or list(ALL)
    unknown = [name for name in names if name not in ALL]
    if unknown:
        raise SystemExit(f"There is no {', '.join(unknown)}; there are: {', '.join(ALL)}.")
    for name in names:
        try:
            bench = importlib.import_module(f"bench.{name}")
        except ModuleNotFoundError as error:
            raise SystemExit(
                f"{name} measures beside peers, and {error.name} is not installed: "
                "`make bench` installs them all, or .venv/bin/python -m pip install --editable '.[bench]'."
            ) from None
        bench.main()


main()
