"""The message names the file and the line at fault, the hint what to do."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenfold.serve.asgi import TenfoldASGI
from tenfold.serve.loading import AppError, load_app

WRAPPED = """
from serving import FakeRuntime
from tenfold.serve.asgi import TenfoldASGI
app = TenfoldASGI(None, FakeRuntime())
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("victim"):
            del sys.modules[name]


def failure(name: str, root: Path) -> AppError:
    with pytest.raises(AppError) as caught:
        load_app(name, root)
    assert caught.value.hint
    return caught.value


def test_the_app_is_found_below_the_root(root: Path) -> None:
    (root / "victim.py").write_text(WRAPPED)
    assert isinstance(load_app("victim:app", root), TenfoldASGI)


def test_what_was_imported_is_not_looked_through_for_garbage(root: Path) -> None:
    (root / "victim.py").write_text(f"import gc\nwas = gc.isenabled()\n{WRAPPED}")
    (root / "victim_broken.py").write_text("raise ValueError")
    try:
        load_app("victim:app", root)
        assert not sys.modules["victim"].was
        assert (gc.isenabled(), gc.get_freeze_count() > 1000) == (True, True)
        failure("victim_broken:app", root)
        assert gc.isenabled()
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("name", ["victim", "victim:", ":app", ""])
def test_a_name_without_both_parts(root: Path, name: str) -> None:
    assert "package.module:attribute" in failure(name, root).hint


@pytest.mark.parametrize("name", ["victim_missing:app", "victim_missing.app:app"])
def test_a_module_that_is_not_there(root: Path, name: str) -> None:
    error = failure(name, root)
    assert "names the module victim_missing" in error.message
    assert "in tenfold.toml names the module" in error.message
    assert f"not below {root}." in error.message


def test_a_package_without_the_module(root: Path) -> None:
    (root / "victim_package").mkdir()
    (root / "victim_package" / "__init__.py").touch()
    assert "names the module victim_package.app" in failure("victim_package.app:app", root).message


def test_an_import_inside_the_service_that_is_not_installed(root: Path) -> None:
    (root / "victim.py").write_text("import os\nimport not_installed_anywhere\n")
    error = failure("victim:app", root)
    assert f"{root}/victim.py, line 2: ModuleNotFoundError" in error.message
    assert "not_installed_anywhere" in error.hint


def test_an_attribute_that_is_not_there_with_the_one_that_is(root: Path) -> None:
    (root / "victim.py").write_text(WRAPPED)
    error = failure("victim:application", root)
    assert 'has no "application"' in error.message
    assert '"app"' in error.hint


def test_an_exception_names_the_deepest_line_of_the_service(root: Path) -> None:
    (root / "victim_lib.py").write_text("import json\n\ndef load():\n    return json.loads('{')\n")
    (root / "victim.py").write_text("import victim_lib\n\nvictim_lib.load()\n")
    assert f"{root}/victim_lib.py, line 4: JSONDecodeError" in failure("victim:app", root).message


def test_a_syntax_error_names_its_line(root: Path) -> None:
    (root / "victim.py").write_text("x = 1\n\ndef (:\n")
    assert f"{root}/victim.py, line 3: SyntaxError" in failure("victim:app", root).message


def test_a_breach_of_the_contract_keeps_its_code(root: Path) -> None:
    (root / "victim.py").write_text(WRAPPED + "\nTenfoldASGI(None, FakeRuntime(), {'x': print})\n")
    error = failure("victim:app", root)
    assert error.code == "TF-CONTRACT"
    assert f"{root}/victim.py, line 6" in error.message


def test_a_module_that_exits_does_not_take_the_process_with_it(root: Path) -> None:
    (root / "victim.py").write_text("raise SystemExit(0)\n")
    assert "line 1: SystemExit" in failure("victim:app", root).message


def test_an_app_that_is_not_wrapped(root: Path) -> None:
    (root / "victim.py").write_text("from starlette.applications import Starlette\napp = Starlette()\n")
    error = failure("victim:app", root)
    assert "starlette.applications.Starlette, not what tf.asgi returns" in error.message
    assert "app = tf.asgi(app)" in error.hint


def test_the_folder_of_a_version_comes_before_everything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    for folder, answer in (("now", 1), ("v7", 7)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "versioned.py").write_text(
            f"from serving import FakeRuntime\nfrom tenfold.serve.asgi import TenfoldASGI\nanswer = {answer}\n"
            "app = TenfoldASGI(None, FakeRuntime())\n"
        )
    request.addfinalizer(lambda: sys.modules.pop("versioned", None))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "now"), str(tmp_path / "v7"), *sys.path])
    load_app("versioned:app", tmp_path / "v7")
    assert sys.modules["versioned"].answer == 7
