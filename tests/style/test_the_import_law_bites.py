"""The import law is kept by the package, and a line that breaks it is found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINTER = Path(sys.executable).with_name("lint-imports")


def lint(source: Path) -> subprocess.CompletedProcess[str]:
    """import-linter over a package `tenfold` below `source`, by the project's rules."""
    return subprocess.run(
        [LINTER, "--config", ROOT / ".importlinter", "--no-cache"],
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("core/clock.py", "import tenfold.topology.spec", "A floor imports only the floors below it"),
        ("topology/diff.py", "from tenfold.drivers import sqlite", "A floor imports only the floors below it"),
        ("control/audit.py", "from tenfold.service import Tenfold", "A floor imports only the floors below it"),
        ("blocks/ids/__init__.py", "from tenfold.blocks import cache", "Blocks know the database block"),
        ("blocks/database/keys.py", "from tenfold.blocks import cache", "The database block knows no other block"),
        ("hosts/keeper.py", "import msgspec", "The keeper's room needs only the standard library"),
    ],
)
def test_a_line_that_breaks_the_law_is_found(tmp_path: Path, module: str, line: str, broken: str) -> None:
    shutil.copytree(ROOT / "src" / "tenfold", tmp_path / "tenfold", ignore=shutil.ignore_patterns("__pycache__"))
    changed = tmp_path / "tenfold" / module
    changed.write_text(f"{changed.read_text()}\n{line}\n")
    said = lint(tmp_path)
    assert said.returncode != 0, said.stdout
    assert any(broken in told and "BROKEN" in told for told in said.stdout.splitlines()), said.stdout


def test_a_room_on_no_floor_is_found(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src" / "tenfold", tmp_path / "tenfold", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tenfold" / "attic").mkdir()
    (tmp_path / "tenfold" / "attic" / "__init__.py").write_text('"""A room without a floor."""\n')
    said = lint(tmp_path)
    assert said.returncode != 0
    assert "tenfold.attic" in said.stdout
