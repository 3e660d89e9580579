"""The commands on the pages are run as they stand, page by page, in a copy of the project; README's service is used.

Only the port is another one. The long targets of `make` are not run from here, but they must exist.
"""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from deployed import deployed
from haproxy import PROGRAM as HAPROXY
from postgres import PROGRAMS

from tenfold.testing import running

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("services/*/*.md")]
LONG = ("make test", "make check", "make docs", "make bench", "make prove", "make soak", "make clean")
COPIED = ("Makefile", "scripts", "pyproject.toml", "services", "src")
LIMIT_S = 120


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


SAME = ROOT / "README.ko.md"
"""Its commands are those of README.md, which a test of its own says; they need not run twice."""
WITH_COMMANDS = [page for page in PAGES if blocks(page, "sh") and page != SAME]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path) -> None:
    if shutil.which("curl") is None and any("curl" in block for block in blocks(page, "sh")):
        pytest.skip("not run: there is no curl here")
    if PROGRAMS is None and any("climb" in block for block in blocks(page, "sh")):
        pytest.skip("not run: there is no PostgreSQL 15 or newer here")  # climbing would install it
    if HAPROXY is None and any("climb 3" in block for block in blocks(page, "sh")):
        pytest.skip("not run: there is no HAProxy 2.6 or newer here")
    port = free_port()
    copy = tmp_path / "copy"
    with deployed(copy / "services" / "shortener"):
        make_copy(copy, port)
        for block in blocks(page, "sh"):
            if "curl" in block:
                run("make up", copy)
            said = run(block.replace(":8000", f":{port}"), copy)
            assert all(line[0] in "23" for line in re.findall(r"^\d{3}$", said, re.MULTILINE)), said
            assert '"code":"TF-' not in said, said


def make_copy(copy: Path, port: int) -> None:
    """The project in another folder, installed as `make` would have done it, with the shortener on another port."""
    unwanted = shutil.ignore_patterns(".tenfold", "tests")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=unwanted, dirs_exist_ok=True)
        else:
            shutil.copy2(source, copy / name)
    spec = copy / "services" / "shortener" / "tenfold.toml"
    spec.write_text(spec.read_text().replace("port = 8000", f"port = {port}"))
    assert f"port = {port}" in spec.read_text()
    programs = copy / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    (programs / "tenfold").write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m tenfold.cli.main "$@"\n')
    (programs / "tenfold").chmod(0o755)
    (copy / ".venv" / "installed").write_text(stamp(copy))


def stamp(copy: Path) -> str:
    """What the installer would have written after it had installed this copy."""
    spec = importlib.util.spec_from_file_location("install_of_the_copy", copy / "scripts" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    installer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(installer)
    return str(installer.wanted("dev"))


def run(block: str, copy: Path) -> str:
    """Runs a block in a shell that stops at the first failure; what it printed."""
    lines = [line for line in block.splitlines() if not line.startswith(LONG)]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        cwd=copy,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(copy / "src")},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_every_target_of_make_on_the_pages_exists_and_says_what_it_does() -> None:
    named = {name for page in PAGES for name in re.findall(r"`?make ([a-z]+)", "\n".join(commands(page)))}
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert named <= set(re.findall(r"^  make (\w+) ", told, re.MULTILINE))
    assert {"up", "test"} <= named


def commands(page: Path) -> list[str]:
    return blocks(page, "sh") + re.findall(r"`make [a-z]+[^`]*`", page.read_text("utf-8"))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_the_python_on_a_page_compiles_and_imports_names_that_exist(page: Path) -> None:
    import tenfold  # noqa: PLC0415

    for block in blocks(page, "python"):
        tree = compile(block, name_of(page), "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "tenfold":
                assert [alias.name for alias in node.names if not hasattr(tenfold, alias.name)] == []


def test_the_service_in_the_readme_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = blocks(ROOT / "README.md", "python")
    (tmp_path / "readme_notes.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))

    async def use() -> None:
        async with running("readme_notes:app", tmp_path / "state", root=tmp_path) as client:
            assert (await client.get("/first")).json() == {"text": None}
            assert (await client.put("/first", content="hello")).status_code == 201
            assert (await client.get("/first")).json() == {"text": "hello"}
            repeated = [await client.put("/second", content="x", headers={"idempotency-key": "k"}) for _ in range(2)]
            assert [answer.status_code for answer in repeated] == [201, 201]

    asyncio.run(use())
