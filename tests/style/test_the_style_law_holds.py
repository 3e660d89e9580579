"""The style law over the whole package; and each law bites."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest
import style_law as law

TEXTS = {law.room(path): path.read_text("utf-8") for path in law.sources()}
ENTRY_POINTS = {
    "tenfold.testing",
    "tenfold.service",
    "tenfold.cli.main",
    "tenfold.hosts.keeper",
    "tenfold.serve.web",
    "tenfold.serve.balancer.__main__",
    "tenfold.control.controller",
    "tenfold.control.migrate",
    "tenfold.dashboard.__main__",
    "tenfold.prove.mutants",  # for tests; the package must not use it
}


@pytest.mark.parametrize(
    "check",
    [law.too_long, law.calls_out_of_place, law.without_docstring, law.leftovers, law.step_numbers],
    ids=lambda check: check.__name__,
)
def test_the_package_keeps_the_law(check) -> None:
    breaches = [str(breach) for name, text in TEXTS.items() for breach in check(name, text)]
    assert not breaches, "\n".join(breaches)


def test_no_module_is_dead() -> None:
    cli = {f"tenfold.cli.{path.stem}" for path in (law.SOURCE / "cli").glob("*.py")}
    breaches = [str(breach) for breach in law.unreachable(TEXTS, ENTRY_POINTS | cli)]
    assert not breaches, "\n".join(breaches)


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        (law.too_long, '"""x"""\n' + "x = 1\n" * 601),
        (law.too_long, "def f():\n" + "    x = 1\n" * 71),
        (law.calls_out_of_place, "import time\ntime.time()\n"),
        (law.calls_out_of_place, "from time import time\ntime()\n"),
        (law.calls_out_of_place, "from datetime import datetime\ndatetime.now()\n"),
        (law.calls_out_of_place, "import datetime as d\nd.datetime.now()\n"),
        (law.calls_out_of_place, "import random\nrandom.random()\n"),
        (law.calls_out_of_place, "import secrets\nsecrets.token_hex()\n"),
        (law.calls_out_of_place, "import subprocess as s\ns.Popen([])\n"),
        (law.calls_out_of_place, "from subprocess import run\nrun([])\n"),
        (law.calls_out_of_place, "print('x')\n"),
        (law.without_docstring, "x = 1\n"),
        (law.without_docstring, '"""m"""\ndef public():\n    return 1\n'),
        (law.leftovers, '"""m"""\n# TO' + "DO later\n"),
        (law.step_numbers, "if map.step == 7:\n    pass\n"),
    ],
)
def test_each_law_bites(check, bad: str) -> None:
    assert list(check("blocks/sample.py", bad))


def test_the_law_of_dead_modules_bites() -> None:
    texts = {
        "__init__.py": "",
        "core/used.py": "",
        "core/dead.py": "",
        "core/user.py": "from tenfold.core.used import x",
    }
    dead = {breach.place for breach in law.unreachable(texts, {"tenfold.core.user"})}
    assert dead == {"core/dead.py"}


def test_services_import_tenfold_and_nothing_inside_it() -> None:
    inside = []
    for path in sorted((law.ROOT / "services").rglob("*.py")):
        if "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            inside += [f"{path}: {name}" for name in names if name.startswith("tenfold.")]
    assert not inside, "\n".join(inside)


def test_importing_tenfold_loads_nothing_heavy() -> None:
    code = (
        "import sys, tenfold\n"
        "assert 'sqlalchemy' not in sys.modules, 'names are loaded when they are used'\n"
        "tenfold.Tenfold\n"
        "heavy = ('tenfold.control', 'tenfold.cli', 'tenfold.hosts.keeper', 'tenfold.prove', 'alembic', 'click',"
        " 'prometheus_client', 'jinja2', 'starlette')\n"
        "found = [name for name in sys.modules if name.startswith(heavy)]\n"
        "assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_keeper_loads_only_the_standard_library() -> None:
    code = (
        "import sys, tenfold.hosts.keeper\n"
        "others = ('sqlalchemy', 'msgspec', 'uvicorn', 'click', 'uvloop')\n"
        "found = [n for n in sys.modules if n.split('.')[0] in others]\n"
        "assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_start_without_revisions_does_not_wait_for_alembic() -> None:
    code = "import sys, tenfold.control.migrate; assert 'alembic' not in sys.modules, 'a third of its start'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_public_names_are_the_documented_ones() -> None:
    import tenfold  # noqa: PLC0415

    page = (law.ROOT / "docs" / "architecture.md").read_text("utf-8")
    listed = re.search(r"<!-- public names -->(.*?)<!-- /public names -->", page, re.DOTALL)
    assert listed is not None
    assert sorted(re.findall(r"`(\w+)`", listed[1])) == sorted(tenfold.__all__)
    for name in tenfold.__all__:
        assert getattr(tenfold, name) is not None


def test_the_floors_in_the_page_are_the_floors_that_are_checked() -> None:
    page = (law.ROOT / "docs" / "architecture.md").read_text("utf-8")
    drawn = re.search(r"```text\n(.*?)```", page, re.DOTALL)
    assert drawn is not None
    rules = (law.ROOT / ".importlinter").read_text("utf-8")
    layers = re.search(r"layers =\n((?:    .+\n)+)", rules)
    assert layers is not None
    checked = [re.findall(r"\w+", line) for line in layers[1].splitlines()]
    assert [re.findall(r"\w+", line) for line in drawn[1].splitlines()] == checked


def test_every_link_in_the_docs_leads_somewhere() -> None:
    broken = []
    pages = [*law.ROOT.glob("*.md"), *law.ROOT.glob("docs/**/*.md"), *law.ROOT.glob("services/*/*.md")]
    for page in pages:
        targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
        lost = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
        broken += [f"{page.relative_to(law.ROOT)}: {target}" for target in lost]
    assert not broken, "\n".join(broken)


def test_every_code_of_an_error_is_documented() -> None:
    codes = set()
    for text in TEXTS.values():
        codes |= set(re.findall(r'code(?:: str)? ?= ?"(TF-?[A-Z0-9-]+)"', text)) | set(
            re.findall(r'"(TF-(?:KEY|TABLE|TX|STMT|READ|FANOUT|IDEM|SCHEMA)-\d+)"', text)
        )
    docs = "\n".join(page.read_text("utf-8") for page in law.ROOT.glob("docs/**/*.md"))
    missing = sorted(code for code in codes if not re.search(rf"{re.escape(code)}(?![\w-])", docs))
    assert not missing, f"not in docs/: {', '.join(missing)}"
    named = set(re.findall(r"`(TF-(?:KEY|TABLE|TX|STMT|READ|FANOUT|IDEM|SCHEMA)-\d+)`", docs))
    source = "\n".join(TEXTS.values())
    assert not [code for code in named if f'"{code}"' not in source], "documented, but nothing raises it"
