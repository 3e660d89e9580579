"""The command line's frame: help, lazy commands, exit codes, and errors without a trace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from tenfold.cli import main as cli
from tenfold.control.doctor import kind_of_file_system
from tenfold.control.root import find_root
from tenfold.core.errors import TenfoldError, UsageError
from tenfold.hosts.wire import NotRunning


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[str, BaseException]:
    """`tenfold down` raises what the test puts here."""
    box: dict[str, BaseException] = {}

    @click.command()
    def command() -> None:
        raise box["error"]

    monkeypatch.setattr(cli.Lazy, "get_command", lambda _self, _ctx, name: command if name == "down" else None)
    return box


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (TenfoldError("It broke.", hint="Mend it."), 1, "Error: It broke.\nMend it.\n"),
        (UsageError("Not so."), 1, "Error: Not so.\n"),
        (NotRunning("Nobody is there.", hint="Start it."), 3, "Error: Nobody is there.\nStart it.\n"),
        (KeyboardInterrupt(), 130, "Interrupted.\n"),
        (click.UsageError("Bad option."), 2, "Error: Bad option.\n"),
    ],
)
def test_errors_end_with_a_sentence_a_hint_and_an_exit_code(
    failing: dict[str, BaseException], capsys: pytest.CaptureFixture[str], error: BaseException, code: int, says: str
) -> None:
    failing["error"] = error
    assert cli.run(["down"]) == code
    assert capsys.readouterr().err.endswith(says)


def test_the_unexpected_is_one_sentence_and_its_trace_is_in_a_file(
    failing: dict[str, BaseException],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli.tempfile, "tempdir", str(tmp_path))
    failing["error"] = ZeroDivisionError("by zero")
    assert cli.run(["down"]) == 1
    said = capsys.readouterr().err
    (trace,) = tmp_path.glob("tenfold-*.trace")
    assert said.startswith("Error: something unexpected happened: ZeroDivisionError: by zero\n")
    assert str(trace) in said
    assert "Traceback" not in said
    assert "Traceback" in trace.read_text()


def test_a_word_that_is_no_command_is_told_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["stauts"]) == 2
    assert "There is no command 'stauts'. Did you mean `tenfold status`?" in capsys.readouterr().err


def test_help_lists_every_command_and_loads_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in cli.COMMANDS)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tenfold ")


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_help_and_the_keeper_load_no_library_beyond_what_they_need() -> None:
    heavy = {"sqlalchemy", "uvicorn", "uvloop", "starlette", "alembic", "prometheus_client"}
    assert not loaded_by("import tenfold.hosts.keeper") & (heavy | {"msgspec", "click"})
    assert not loaded_by("import tenfold.cli.main") & (heavy | {"msgspec", "asyncio"})
    assert not loaded_by("import tenfold.cli.status") & heavy
    assert not loaded_by("import tenfold.control.controller") & heavy


def test_the_keeper_is_standard_library_and_core_only() -> None:
    ours = {name for name in loaded_by("import tenfold.hosts.keeper") if name.startswith("tenfold.")}
    assert all(name.startswith(("tenfold.hosts", "tenfold.core")) for name in ours)


def service(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tenfold.toml").touch()
    return folder


def test_the_nearest_service_upwards_is_meant(tmp_path: Path) -> None:
    outer, inner = service(tmp_path / "a"), service(tmp_path / "a" / "b")
    (inner / "c").mkdir()
    assert find_root(None, inner / "c") == inner
    assert find_root(None, outer) == outer


def test_dir_wins_and_must_be_a_service(tmp_path: Path) -> None:
    one, other = service(tmp_path / "a"), service(tmp_path / "b")
    assert find_root(one, other) == one
    with pytest.raises(UsageError, match=r"named by --dir"):
        find_root(tmp_path, other)


def test_pyproject_names_the_service_of_a_project(tmp_path: Path) -> None:
    named = service(tmp_path / "services" / "x")
    (tmp_path / "pyproject.toml").write_text('[tool.tenfold]\ndir = "services/x"\n')
    assert find_root(None, tmp_path) == named
    (tmp_path / "pyproject.toml").write_text('[tool.tenfold]\ndir = "services/y"\n')
    with pytest.raises(UsageError, match=r"named by .*pyproject"):
        find_root(None, tmp_path)


@pytest.mark.parametrize("content", [None, "", "[tool]\n", "[tool.tenfold]\ndir = 3\n", "not toml ["])
def test_without_a_service_it_says_how_to_make_one(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "pyproject.toml").write_text(content)
    with pytest.raises(UsageError) as raised:
        find_root(None, tmp_path)
    assert "tenfold new NAME" in raised.value.hint


def test_the_file_system_of_a_folder_is_that_of_its_deepest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"a / ext4 rw 0 0\nb {tmp_path} nfs4 rw 0 0\nc {tmp_path}/with\\040space xfs rw 0 0\n")
    (tmp_path / "with space").mkdir()
    (tmp_path / "with").mkdir()
    assert kind_of_file_system(tmp_path / "with space", mounts) == "xfs"
    assert kind_of_file_system(tmp_path / "with", mounts) == "nfs4"
    assert kind_of_file_system(Path("/"), mounts) == "ext4"
    assert kind_of_file_system(tmp_path, tmp_path / "none") == ""
