"""The newcomer's commands: a fresh clone in a folder with a blank in its name, as this user and as an ordinary one."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ORDINARY = "nobody"
SYSTEM_PYTHON = "/usr/bin/python3"
LIMIT_S = 600
APT_LINE = "apt-get install python3 python3-venv make"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Newcomer:
    """Somebody who types `make` in a fresh clone; `user` None is whoever runs the tests."""

    def __init__(self, home: Path, user: str | None) -> None:
        self.port = free_port()
        self.folder = home / "a fresh clone"
        clone(self.folder, self.port)
        kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name == "PATH"}
        self._environment = {**kept, "HOME": str(home)}
        self._as: dict[str, Any] = {}
        if user is not None:
            account = pwd.getpwnam(user)
            for path in (home, *home.rglob("*")):
                os.chown(path, account.pw_uid, account.pw_gid)
            self._as = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            self._environment |= {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHON": SYSTEM_PYTHON}

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Starts `make` in a session of its own, as a terminal does."""
        return subprocess.Popen(
            ["make", *words],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **self._as,
        )

    def make(self, *words: str) -> str:
        """What `make` said; it must succeed."""
        process = self.start(*words)
        said, _ = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, said
        return said

    def page(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=20) as answer:
            return answer.read().decode()


def clone(folder: Path, port: int) -> None:
    """What a clone holds, with the files as they are now; the shortener listens on another port."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    spec = folder / "services" / "shortener" / "tenfold.toml"
    spec.write_text(re.sub(r"port = \d+", f"port = {port}", spec.read_text()))


@contextlib.contextmanager
def newcomer(user: str | None = None) -> Iterator[Newcomer]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not run: this is no clone")
    home = Path(tempfile.mkdtemp(prefix="tenfold-newcomer-"))
    home.chmod(0o755)
    made = Newcomer(home, user)
    try:
        yield made
    finally:
        made.start("down").communicate(timeout=LIMIT_S)
        shutil.rmtree(home, ignore_errors=True)


def test_up_after_an_interrupted_install_repairs_it_and_down_ends_it() -> None:
    with newcomer() as person:
        with person.start("up") as process:
            assert process.stdout is not None
            for line in process.stdout:
                if "writing" in line:
                    break
            os.killpg(process.pid, signal.SIGINT)
            said = process.stdout.read()
        assert process.returncode != 0
        assert "run the same command again" in said
        said = person.make("up")
        assert "Installed." in said
        assert f"http://127.0.0.1:{person.port}" in said
        assert "make down" in said
        assert "WARNING" not in said
        assert "<form" in person.page()
        assert person.make("install") == "", "nothing is to be done, and nothing is said"
        assert "stopped" in person.make("down")
        with pytest.raises(OSError, match="refused"):
            person.page()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="not run: becoming another user needs root")
def test_an_ordinary_user_brings_it_up_and_down() -> None:
    if not Path(SYSTEM_PYTHON).exists() or not venv_works(SYSTEM_PYTHON):
        pytest.skip(f"not run: {SYSTEM_PYTHON} is not >= 3.11 with venv")
    with newcomer(ORDINARY) as person:
        said = person.make("up")
        assert f"http://127.0.0.1:{person.port}" in said
        assert "<form" in person.page()
        state = person.folder / "services" / "shortener" / ".tenfold"
        assert state.owner() == ORDINARY
        assert (state / "data" / "shortener.db").owner() == ORDINARY
        assert "stopped" in person.make("down")


def venv_works(python: str) -> bool:
    code = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def test_without_an_interpreter_the_one_apt_line_is_printed() -> None:
    words = ["make", "up", "PYTHON=no-such-python"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert APT_LINE in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def installer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install_under_test", ROOT / "scripts" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_old_interpreter_is_refused_with_the_apt_line(
    installer: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 12))
    assert installer.main() == 1
    said = capsys.readouterr().err
    assert "Found Python 3.10.12" in said
    assert APT_LINE in said


def test_an_interpreter_without_venv_is_refused_with_the_apt_line(
    installer: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    assert installer.main() == 1
    said = capsys.readouterr().err
    assert "comes without venv" in said
    assert APT_LINE in said


@pytest.fixture
def installs(installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What pip is asked for, in a folder of its own that has an environment with nothing in it."""
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(installer, "pip", lambda *words: asked.append(words[3:]) or 0)
    monkeypatch.setattr(installer, "compile_all", lambda: None)
    monkeypatch.setattr(installer, "ROOT", str(tmp_path))
    monkeypatch.setattr(installer, "VENV", str(tmp_path / ".venv"))
    monkeypatch.setattr(installer, "STAMP", str(tmp_path / ".venv" / "installed"))
    monkeypatch.setattr(installer, "LOCK", str(tmp_path / ".venv.lock"))
    shutil.copy2(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / ".venv" / "installed").write_text(installer.wanted("services"))
    return asked


def test_what_tests_need_is_added_beside_a_tenfold_that_may_run(
    installer: ModuleType, installs: list[tuple[str, ...]]
) -> None:
    assert installer.main("services") == 0
    assert installs == [], "it is there"
    assert installer.main("dev") == 0
    (added,) = installs
    assert {"pytest", "mypy", "ruff"} <= {re.split(r"\W", word)[0] for word in added}
    assert not any("tenfold" in word or word.startswith("-") for word in added), "itself it leaves alone"
    assert (installer.main("dev"), installer.main("services"), len(installs)) == (0, 0, 1)


def test_an_addition_that_fails_leaves_what_runs_as_it_is_and_is_made_by_the_next_call(
    installer: ModuleType, installs: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(installer, "LOG", str(tmp_path / "install.log"))
    (tmp_path / "install.log").write_text("no network\n")
    works = installer.pip
    monkeypatch.setattr(installer, "pip", lambda *_: 1)
    assert installer.main("dev") == 1
    monkeypatch.setattr(installer, "pip", works)
    assert (installer.main("services"), installs) == (0, []), "that is there"
    assert installer.main("dev") == 0
    assert not any(word.startswith("-") for word in installs[0]), "it is added to, and not made anew"


def test_a_changed_pyproject_brings_all_that_was_there_up_to_date(
    installer: ModuleType, installs: list[tuple[str, ...]], tmp_path: Path
) -> None:
    assert installer.main("dev") == 0
    with (tmp_path / "pyproject.toml").open("a") as project:
        project.write("\n# changed\n")
    assert installer.main("services") == 0
    assert installs[1:] == [("--editable", ".[dev]")]


def test_ci_run_fails_when_a_part_fails_and_works_from_any_folder(tmp_path: Path) -> None:
    ways = [("true", "true", "true", 0), ("false", "true", "true", 1), ("true", "false", "true", 1)]
    for check, docs, test, code in [*ways, ("true", "true", "false", 1)]:
        (tmp_path / ".ci").mkdir(exist_ok=True)
        shutil.copy2(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
        targets = (("check", "checked", check), ("docs", "made", docs), ("test", "tested", test))
        (tmp_path / "Makefile").write_text("".join(f"{name}:\n\t@echo {said}; {how}\n" for name, said, how in targets))
        outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        words = [tmp_path / ".ci" / "run"]
        done = subprocess.run(words, cwd="/", env=outside, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert done.stdout.splitlines()[:3] == ["checked", "made", "tested"]
