"""The folders of a supervised server: where they are, and that no half of one passes for data."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from tenfold.core.errors import TenfoldError
from tenfold.engines.postgres import home as homes
from tenfold.engines.postgres import machine
from tenfold.engines.postgres.home import Home, home_of
from tenfold.engines.postgres.machine import machine_of


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "postgres")
    homes.prepare(made)
    return made


def initdb(home: Home, content: str = "") -> None:
    """What initdb leaves behind."""
    home.draft.mkdir()
    (home.draft / "PG_VERSION").write_text("15\n")
    (home.draft / "content").write_text(content)


def test_an_ordinary_user_keeps_it_in_the_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert home_of(Path("/srv/.tenfold"), "shop") == Home(Path("/srv/.tenfold/postgres"), "")


def test_root_keeps_it_where_another_user_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    one, other = (home_of(Path(f"/srv/{name}/.tenfold"), "shop") for name in "ab")
    assert one.user in homes.USERS
    assert one.root != other.root
    assert one.root.parent == homes.VAR
    assert one.root.name.startswith("shop-")
    assert home_of(Path("/srv/a/.tenfold"), "shop") == one


def test_root_without_any_other_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(homes, "USERS", ("no-such-user-here",))
    with pytest.raises(TenfoldError, match="TF-PG-INIT"):
        home_of(Path("/srv/.tenfold"), "shop")


def test_folders_are_private(home: Home) -> None:
    for folder in (home.root, home.socket):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_socket_fits_into_its_address_wherever_the_service_lives() -> None:
    short, long = Home(Path("/srv/x")), Home(Path("/srv") / ("long" * 30))
    assert short.socket == short.root / "run"
    for home in (short, long):
        assert len(os.fsencode(home.socket / ".s.PGSQL.65535")) <= 107
    assert Home(Path("/srv") / ("long" * 30 + "er")).socket != long.socket


def test_there_is_data_only_when_all_of_it_is(home: Home) -> None:
    assert not home.exists
    homes.begin(home, "secret")
    assert home.password_file.read_text() == "secret\n"
    assert stat.S_IMODE(home.password_file.stat().st_mode) == 0o600
    initdb(home)
    assert not home.exists
    assert home.major is None
    homes.finish(home)
    assert home.exists
    assert home.major == 15
    assert not home.password_file.exists()
    assert not home.draft.exists()


def test_what_an_interrupted_one_left_is_thrown_away(home: Home) -> None:
    homes.begin(home, "old")
    initdb(home, "half")
    homes.begin(home, "new")
    assert not home.draft.exists()
    assert home.password_file.read_text() == "new\n"


def test_data_is_never_overwritten(home: Home) -> None:
    homes.begin(home, "x")
    initdb(home, "precious")
    homes.finish(home)
    with pytest.raises(AssertionError):
        homes.begin(home, "x")
    initdb(home, "other")
    with pytest.raises(TenfoldError):
        homes.finish(home)
    assert (home.data / "content").read_text() == "precious"


def test_a_removal_that_is_interrupted_leaves_no_data_behind(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    homes.begin(home, "x")
    initdb(home)
    homes.finish(home)

    def stop(_path: object) -> None:
        raise OSError(5, "interrupted")

    monkeypatch.setattr(homes.shutil, "rmtree", stop)
    with pytest.raises(TenfoldError):
        homes.remove(home)
    assert not home.exists
    monkeypatch.undo()
    homes.remove(home)
    homes.remove(home)
    assert not home.root.exists()


def test_a_container_has_less_memory_than_its_machine(home: Home, tmp_path: Path) -> None:
    whole = machine_of(home, ()).memory
    limit, none = tmp_path / "memory.max", tmp_path / "none"
    limit.write_text("123456789\n")
    none.write_text("max\n")
    assert machine_of(home, (none, tmp_path / "missing")).memory == whole
    assert machine_of(home, (limit,)).memory == 123456789
    assert machine_of(home).disk > 0


@pytest.mark.parametrize(
    ("release", "can"),
    [("6.1.0-18-amd64", True), ("5.8.0", True), ("5.4.0-100-generic", False), ("4.19", False), ("?", False)],
)
def test_a_kernel_that_hides_errors_is_not_trusted(
    home: Home, monkeypatch: pytest.MonkeyPatch, release: str, can: bool
) -> None:
    monkeypatch.setattr(machine.os, "uname", lambda: SimpleNamespace(release=release))
    assert machine_of(home).syncfs is can
