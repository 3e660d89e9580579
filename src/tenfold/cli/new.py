"""`tenfold new NAME`: a folder with a service that runs and whose tests pass."""

from __future__ import annotations

import importlib.util
import json
import keyword
import re
import sys
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

import click

from tenfold.core.errors import UsageError
from tenfold.core.files import storage_errors

NAME = re.compile(r"^[a-z][a-z0-9-]{0,30}$")
_SUFFIX = ".tmpl"


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
def command(name: str, as_json: bool) -> None:
    """Make the folder NAME with a service in it: tables, a cached read, a route, tests."""
    package = package_of(name)
    root = Path.cwd() / name
    if root.exists():
        raise UsageError(f"{root} exists already.", hint="Choose another name, or another folder to run this in.")
    written = scaffold(root, name, package)
    if as_json:
        click.echo(json.dumps({"root": str(root), "files": written}))
        return
    lines = [f"Made {name}/", *(f"  {file}" for file in written), "", "Next:", f"  cd {name}"]
    if any(importlib.util.find_spec(needed) is None for needed in ("starlette", "httpx", "pytest")):
        lines.append(f"  {Path(sys.executable).name} -m pip install -r requirements.txt")
    click.echo("\n".join([*lines, "  tenfold up", "  python -m pytest"]))


def package_of(name: str) -> str:
    """The name of the Python package for a service; `UsageError` says why a name cannot be used."""
    if not NAME.match(name) or name.endswith("-"):
        raise UsageError(
            f"{name!r} cannot be the name of a service.",
            hint="Use 1 to 31 characters: a to z, 0 to 9 and -, beginning with a letter, such as my-notes.",
        )
    package = name.replace("-", "_")
    if keyword.iskeyword(package) or package == "tests" or _is_taken(package):
        raise UsageError(
            f"{name!r} cannot be the name of a service: Python has a module {package!r} already.",
            hint=f"Choose another one, such as {name}-service.",
        )
    return package


def _is_taken(package: str) -> bool:
    return package in sys.stdlib_module_names or importlib.util.find_spec(package) is not None


def scaffold(root: Path, name: str, package: str) -> list[str]:
    """Writes the files of a new service below `root`, which must not exist; their paths within it."""
    written = []
    with storage_errors("write", root):
        for source, parts in _templates(files("tenfold.cli") / "templates" / "new", ()):
            folders = [package if part == "package" else part for part in parts]
            stem = source.name.removesuffix(_SUFFIX)
            path = root.joinpath(*folders, ".gitignore" if stem == "gitignore" else stem)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Template(source.read_text("utf-8")).substitute(name=name, package=package), "utf-8")
            written.append(str(path.relative_to(root)))
    return sorted(written)


def _templates(folder: Traversable, parts: tuple[str, ...]) -> Iterator[tuple[Traversable, tuple[str, ...]]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _templates(entry, (*parts, entry.name))
        elif entry.name.endswith(_SUFFIX):
            yield entry, parts
