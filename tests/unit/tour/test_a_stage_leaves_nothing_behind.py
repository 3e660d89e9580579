"""The copy that a tour happens on: made, set up, and gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tenfold.cli.new import scaffold
from tenfold.control.place import Place
from tenfold.core.errors import TenfoldError
from tenfold.engines.postgres.home import Home
from tenfold.hosts.identity import identity_of
from tenfold.tour import stage
from tenfold.tour.stage import NOTE, PREFIX, borrowed, sweep
from tenfold.tour.traffic import NOTES, SHORTENER


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made during the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def bundled(root: Path) -> None:
    scaffold(root, "notes", "notes")


def test_it_is_a_copy_of_the_shortener_on_ports_of_its_own_that_nobody_changes_by_hand(folder: Path) -> None:
    with borrowed(bundled, keep=False) as found:
        spec = found.place.read_spec()
        assert (found.kind, found.service, spec.service.name) == (SHORTENER, "shortener", "shortener")
        assert (spec.public.port, spec.dashboard.port, spec.dashboard.mode) == (0, 0, "read-only")
        assert found.place.root.is_relative_to(folder)
        assert found.place.root.parent.stat().st_mode & 0o077 == 0, "nobody else reads it"
        assert not (found.place.root / "tests").exists()
    assert list(folder.iterdir()) == []


def test_without_the_repository_it_is_the_service_that_new_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "shortener", lambda: None)
    with borrowed(bundled, keep=False) as found:
        assert (found.kind, found.service, found.place.read_spec().public.port) == (NOTES, "notes", 0)


def test_limits_are_off_only_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in (None, "on"):
        monkeypatch.delenv("TENFOLD_LIMITS", raising=False)
        if before:
            monkeypatch.setenv("TENFOLD_LIMITS", before)
        with borrowed(bundled, keep=False):
            assert os.environ["TENFOLD_LIMITS"] == "off"
        assert os.environ.get("TENFOLD_LIMITS") == before


def test_a_tour_that_fails_leaves_nothing_either(folder: Path) -> None:
    with pytest.raises(TenfoldError), borrowed(bundled, keep=False):
        raise TenfoldError("It fails.")
    assert list(folder.iterdir()) == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="not run: only root has its data elsewhere")
def test_the_data_of_its_database_server_goes_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = folder / "elsewhere"
    (elsewhere / "data").mkdir(parents=True)
    seen: list[tuple[Path, str]] = []
    monkeypatch.setattr(stage, "home_of", lambda state, name: seen.append((state, name)) or Home(elsewhere))
    with borrowed(bundled, keep=True) as found:
        pass
    assert (seen, elsewhere.exists()) == ([], True)
    with borrowed(bundled, keep=False) as found:
        pass
    assert (seen, elsewhere.exists()) == ([(found.place.state, "shortener")], False)


def test_what_is_kept_is_not_swept_away_later(folder: Path) -> None:
    with borrowed(bundled, keep=True) as found:
        assert sweep() == [], "it belongs to us, who live"
    assert (found.place.root / "tenfold.toml").is_file()
    assert sweep() == []
    assert Place(found.place.root).read_spec().service.name == "shortener"


def test_what_a_killed_tour_left_is_taken_away_by_the_next(folder: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = identity_of(child.pid)
    left = folder / f"{PREFIX}left"
    (left / "service").mkdir(parents=True)
    (left / NOTE).write_text(json.dumps(vars(owner)))
    assert sweep() == [], "it lives"
    child.kill()
    child.communicate()
    broken = folder / f"{PREFIX}broken"
    broken.mkdir()
    (broken / NOTE).write_text('{"pid": "?"}')
    assert sweep() == [str(left)]
    assert [path.name for path in folder.iterdir()] == [f"{PREFIX}broken"]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="not run: needs root to be two users")
def test_the_folder_of_another_user_is_left_alone(folder: Path) -> None:
    left = folder / f"{PREFIX}theirs"
    left.mkdir()
    (left / NOTE).write_text('{"pid": 4194303, "start_ticks": 1, "boot": "another"}')
    os.chown(left, 65534, 65534)
    assert sweep() == []
    assert left.exists()
