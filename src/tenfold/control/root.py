"""Which service a command means: the folder of its tenfold.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tenfold.core.errors import UsageError


def find_root(chosen: Path | None, here: Path) -> Path:
    """The folder of the service that a command means.

    `chosen` (--dir), else the nearest folder upwards from `here` with a tenfold.toml, else `[tool.tenfold] dir` in
    the pyproject.toml of `here`. Raises `UsageError` that says how to make one.
    """
    if chosen is not None:
        return _with_spec(chosen.resolve(), "--dir")
    for folder in (here, *here.parents):
        if (folder / "tenfold.toml").is_file():
            return folder
    named = _named_in_pyproject(here / "pyproject.toml")
    if named is not None:
        return _with_spec((here / named).resolve(), "[tool.tenfold] dir in pyproject.toml")
    raise UsageError(
        f"There is no tenfold.toml in {here} or above it.",
        hint="Make a service with `tenfold new NAME`, or name the folder of one with --dir.",
        code="TF-NO-SERVICE",
    )


def _with_spec(root: Path, by: str) -> Path:
    if (root / "tenfold.toml").is_file():
        return root
    raise UsageError(
        f"There is no tenfold.toml in {root} (named by {by}).",
        hint="Name the folder of a service, or make one with `tenfold new NAME`.",
        code="TF-NO-SERVICE",
    )


def _named_in_pyproject(file: Path) -> str | None:
    try:
        found = tomllib.loads(file.read_text())
    except (OSError, ValueError):
        return None
    named = found.get("tool", {}).get("tenfold", {}).get("dir")
    return named if isinstance(named, str) else None
