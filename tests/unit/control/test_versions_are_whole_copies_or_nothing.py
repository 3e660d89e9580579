"""Versions of the code: what belongs to one, that one is there as a whole or not at all, and which are kept."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import zipfile
from importlib.machinery import SourcelessFileLoader
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.control import sources, versions
from tenfold.control.place import Place
from tenfold.control.sources import NotCode
from tenfold.control.versions import MANIFEST, Versions, number_of, row_with
from tenfold.core.errors import StorageFull, UsageError

SPEC = '[service]\nname = "shop"\napp = "shop.app:app"\n'


class Fixed:
    def wall_us(self) -> int:
        return 1_700_000_000_000_000

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    root = tmp_path / "shop"
    (root / "shop").mkdir(parents=True)
    (root / "tenfold.toml").write_text(SPEC)
    (root / "shop" / "app.py").write_text("app = 1\n")
    return Place(root)


@pytest.fixture
def known(place: Place) -> Versions:
    return Versions(place, Fixed())


def files_of(folder: Path) -> list[str]:
    """Its files, but for what was compiled from them."""
    found = [path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]
    return sorted(str(path.relative_to(folder)) for path in found if path.parent.name != "__pycache__")


def change(place: Place, text: str) -> None:
    (place.root / "shop" / "app.py").write_text(text)


# What belongs to a version


def test_a_version_is_the_folder_without_what_is_not_code(place: Place, known: Versions) -> None:
    for name in (*sources.LEFT_OUT, "shop/__pycache__", "shop/node_modules"):
        if not name.endswith(".json"):
            (place.root / name).mkdir(parents=True, exist_ok=True)
            (place.root / name / "x").write_text("x")
    (place.root / "env").mkdir()
    (place.root / "env" / "pyvenv.cfg").touch()
    (place.root / "shop" / "old.pyc").touch()
    (place.root / "migrations" / "versions").mkdir(parents=True)
    (place.root / "migrations" / "versions" / "0001.py").write_text("1")
    os.mkfifo(place.root / "pipe")
    made = known.take()
    folder = place.state / "versions" / "v1"
    assert files_of(folder) == [MANIFEST, "migrations/versions/0001.py", "shop/app.py", "tenfold.toml"]
    assert (made.id, made.files, made.kind, made.source) == ("v1", 3, "folder", str(place.root))
    assert made.size == sum(len((folder / name).read_bytes()) for name in files_of(folder) if name != MANIFEST)
    assert known.list() == (made,)
    assert known.find("v1") == made


def test_a_version_is_compiled_and_what_cannot_be_is_left_to_whoever_imports_it(place: Place, known: Versions) -> None:
    (place.root / "shop" / "broken.py").write_text("def (")
    known.take()
    folder = place.state / "versions" / "v1" / "shop"
    compiled = Path(importlib.util.cache_from_source(str(folder / "app.py")))
    assert [path.name for path in compiled.parent.iterdir()] == [compiled.name]
    code = SourcelessFileLoader("app", str(compiled)).get_code("app")
    assert code is not None
    assert code.co_filename == str(folder / "app.py"), "where it is, not where it was made"


def test_the_database_among_the_code_is_left_out(place: Place, known: Versions) -> None:
    place.prepare()
    place.write_map(place.wanted(place.read_spec(), None))
    inside = str(place.root / "shop" / "data.db")
    place.change_map(lambda current: _with_path(current, inside))
    for name in ("data.db", "data.db-wal", "data.db-shm", "data.db.py"):
        (place.root / "shop" / name).write_text("x")
    known.take()
    assert files_of(place.state / "versions" / "v1" / "shop") == ["app.py", "data.db.py"]


def _with_path(current, path: str):
    return msgspec.structs.replace(current, database=msgspec.structs.replace(current.database, path=path))


def test_what_may_run_still_may_and_nobody_else_may_read_it(place: Place, known: Versions) -> None:
    (place.root / "tool").write_text("#!/bin/sh\n")
    (place.root / "tool").chmod(0o755)
    known.take()
    folder = place.state / "versions" / "v1"
    assert [(folder / name).stat().st_mode & 0o777 for name in (".", "tool", "tenfold.toml")] == [0o700, 0o700, 0o600]


def test_links_lead_into_the_copy_and_one_that_leads_out_is_refused(place: Place, known: Versions) -> None:
    (place.root / "shop" / "again.py").symlink_to(place.root / "shop" / "app.py")
    (place.root / "near").symlink_to("shop")
    known.take()
    folder = place.state / "versions" / "v1"
    assert os.readlink(folder / "shop" / "again.py") == "app.py"
    assert os.readlink(folder / "near") == "shop"
    change(place, "app = 2\n")
    assert (folder / "shop" / "again.py").read_text() == "app = 1\n"
    for target in ("/etc/hostname", place.root / ".venv" / "x", ".."):
        (place.root / "out").symlink_to(target)
        with pytest.raises(NotCode, match="which does not become part of the version"):
            known.take()
        (place.root / "out").unlink()
    assert [each.id for each in known.list()] == ["v1"]
    assert sorted(os.listdir(folder.parent)) == ["last", "v1"]


def test_a_folder_that_is_too_large_is_refused_and_leaves_nothing(
    place: Place, known: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "LIMIT_BYTES", 1000)
    (place.root / "data").write_bytes(b"x" * 1001)
    with pytest.raises(NotCode, match=r"more than 20,000 files and 1000B"):
        known.take()
    monkeypatch.setattr(sources, "LIMIT_BYTES", 1 << 20)
    monkeypatch.setattr(sources, "LIMIT_FILES", 2)
    with pytest.raises(NotCode, match=r"more than 2 files"):
        known.take()
    assert known.list() == ()
    assert os.listdir(place.state / "versions") == ["last"]


def test_only_code_of_this_service_becomes_a_version(place: Place, known: Versions, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(place.root, other)
    (other / "tenfold.toml").write_text(SPEC.replace('"shop"', '"till"', 1))
    with pytest.raises(NotCode, match="is the service 'till', and this deployment runs 'shop'"):
        known.take(other)
    (other / "tenfold.toml").unlink()
    assert known.take(other).id == "v1", "the settings are those of the service's own folder"
    place.prepare()
    for wrong in (place.state, place.state / "data"):
        with pytest.raises(NotCode, match="is the state of this deployment"):
            known.take(wrong)
    with pytest.raises(NotCode, match="neither a folder nor a wheel"):
        known.take(Path("/dev/null"))
    with pytest.raises(UsageError, match="No such file"):
        known.take(tmp_path / "nowhere")


def test_a_version_can_be_taken_from_a_version(place: Place, known: Versions) -> None:
    one = known.take()
    change(place, "app = 2\n")
    two = known.take()
    three = known.take(place.state / "versions" / "v1")
    assert three.digest == one.digest != two.digest


# The digest


def test_the_digest_is_that_of_the_content_and_needs_no_copy(place: Place, known: Versions) -> None:
    seen = {known.digest()}
    assert not place.state.exists()
    (place.root / "shop" / "x.py").write_text("")
    seen.add(known.digest())
    (place.root / "shop" / "x.py").rename(place.root / "shop" / "y.py")
    seen.add(known.digest())
    (place.root / "shop" / "y.py").chmod(0o755)
    seen.add(known.digest())
    (place.root / "shop" / "y.py").unlink()
    (place.root / "shop" / "y.py").symlink_to("app.py")
    seen.add(known.digest())
    assert len(seen) == 5
    assert known.take().digest == known.digest()
    assert known.of_digest(known.digest()).id == "v1"
    assert known.of_digest("x") is None


# Numbers, and what is kept


def test_a_number_is_never_given_twice(place: Place, known: Versions) -> None:
    assert known.next_name() == "v1"
    assert [known.take().id for _ in range(3)] == ["v1", "v2", "v3"]
    known.remove("v3")
    assert known.next_name() == "v4"
    assert known.take().id == "v4"
    (place.state / "versions" / "last").unlink()
    assert known.take().id == "v5", "the folders say it too"
    known.remove("v9")
    known.remove("")
    known.remove("../..")
    assert place.root.is_dir()


def test_the_last_three_and_those_that_run_are_kept(known: Versions) -> None:
    for _ in range(12):
        known.take()
    assert known.keep_last(3, {"v2", ""}) == tuple(f"v{number}" for number in range(1, 10) if number != 2)
    assert [each.id for each in known.list()] == ["v2", "v10", "v11", "v12"], "in the order of their numbers"
    assert known.keep_last(3, {"v2"}) == ()


def test_a_rollback_leads_to_the_newest_version_before_the_one_that_runs(known: Versions) -> None:
    for _ in range(3):
        known.take()
    known.remove("v2")
    assert known.before("v3").id == "v1"
    with pytest.raises(UsageError, match="No version is kept from before v1"):
        known.before("v1")
    with pytest.raises(UsageError, match="There is no version v2") as raised:
        known.find("v2")
    assert "There are v1, v3" in raised.value.hint
    assert [number_of(name) for name in ("v7", "v07", "", "web-1", "v")] == [7, 0, 0, 0, 0]


# Whole or not at all


class Stop(BaseException):
    """Somebody pulls the plug."""


CALLS = ("mkdir", "open", "rename", "replace", "fsync", "symlink", "write")


def stop_at(patch: pytest.MonkeyPatch, at: int) -> None:
    """Ends everything at the call of that number which reads or changes the disk, with nothing cleared away."""
    left = at

    def wrapped(name: str):
        real = getattr(os, name)

        def call(*words, **more):
            nonlocal left
            left -= 1
            if left < 0:
                raise Stop
            return real(*words, **more)

        return call

    for name in CALLS:
        patch.setattr(os, name, wrapped(name))
    for name in ("unlink", "rmdir"):
        patch.setattr(os, name, lambda *_, **__: None)
    patch.setattr(shutil, "rmtree", lambda *_, **__: None)


def test_killed_at_any_call_a_version_is_there_as_a_whole_or_not_at_all(place: Place, known: Versions) -> None:
    (place.root / "near").symlink_to("shop")
    known.take()
    whole = files_of(place.state / "versions" / "v1")
    points, kept = 0, 0
    for at in range(1000):
        before = known.list()
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, at)
            try:
                known.take()
                break
            except Stop:
                points += 1
        added = [each for each in known.list() if each not in before]
        kept += len(added)
        assert len(added) <= 1
        for each in added:
            assert files_of(place.state / "versions" / each.id) == whole
    assert points > 20
    assert kept <= 2, "only between the rename and the end is it there without having been told"
    made = known.take()
    assert sorted(os.listdir(place.state / "versions")) == sorted(["last", *(each.id for each in known.list())])
    assert made.number > points / 2, "a number that was once thought of is not given again"


def test_a_full_disk_is_told_and_leaves_nothing(place: Place, known: Versions, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.root / "big").write_bytes(random.Random(1).randbytes(3 << 20))
    written = 0

    def write(fd: int, data: bytes) -> None:
        nonlocal written
        written += len(data)
        if written > 2 << 20:
            raise OSError(28, "No space left on device")
        os.write(fd, data)

    monkeypatch.setattr(sources, "write_all", write)
    with pytest.raises(StorageFull, match="No space left"):
        known.take()
    assert known.list() == ()
    assert os.listdir(place.state / "versions") == ["last"]


def test_a_version_whose_manifest_is_damaged_is_not_there(place: Place, known: Versions) -> None:
    known.take()
    (place.state / "versions" / "v1" / MANIFEST).write_text("{")
    assert known.list() == ()
    assert known.take().id == "v2"


# Wheels


def wheel(folder: Path, text: str = "app = 1\n", name: str = "shop-1.0-py3-none-any.whl") -> Path:
    """A wheel as a build makes it, written by hand."""
    path = folder / name
    meta = {
        "shop/__init__.py": "",
        "shop/app.py": text,
        "shop-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: shop\nVersion: 1.0\nRequires-Dist: nowhere>=7\n",
        "shop-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for each, content in meta.items():
            archive.writestr(zipfile.ZipInfo(each), content)
        record = "".join(f"{each},,\n" for each in meta) + "shop-1.0.dist-info/RECORD,,\n"
        archive.writestr(zipfile.ZipInfo("shop-1.0.dist-info/RECORD"), record)
    return path


def test_a_wheel_is_unpacked_without_what_it_depends_on(place: Place, known: Versions, tmp_path: Path) -> None:
    built = wheel(tmp_path)
    assert known.digest(built) == known.digest(built)
    made = known.take(built)
    assert (made.kind, made.source, made.digest) == ("wheel", str(built), known.digest(built))
    folder = place.state / "versions" / "v1"
    assert (folder / "shop" / "app.py").read_text() == "app = 1\n"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert files_of(folder / "shop") == ["__init__.py", "app.py"]
    assert known.take(wheel(tmp_path, "app = 2\n")).digest != made.digest


def test_what_is_no_wheel_or_fits_no_python_here_is_told(place: Place, known: Versions, tmp_path: Path) -> None:
    plain = tmp_path / "shop.whl"
    plain.write_text("no archive")
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.writestr("x", "y")
    for path in (plain, tmp_path / "some.zip"):
        with pytest.raises(NotCode, match="is not a wheel"):
            known.take(path)
    with pytest.raises(NotCode, match=r"cannot be unpacked: .*not a supported wheel"):
        known.take(wheel(tmp_path, name="shop-1.0-cp27-cp27m-win32.whl"))
    assert known.list() == ()
    assert os.listdir(place.state / "versions") == ["last"]


def test_an_archive_that_grows_beyond_all_bounds_is_not_unpacked(
    known: Versions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "LIMIT_BYTES", 100)
    monkeypatch.setattr(versions, "unpack_wheel", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(NotCode, match="more than a version may have"):
        known.take(wheel(tmp_path, "x" * 101))


def test_a_full_disk_under_pip_is_told_as_such(
    known: Versions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
    monkeypatch.setattr(sources, "run_quietly", lambda *_: said)
    with pytest.raises(StorageFull):
        known.take(wheel(tmp_path))


def test_a_rollback_leads_to_what_served_before_and_never_to_what_was_gone_back_from(known: Versions) -> None:
    for _ in range(4):
        known.take()
    for name in ("v1", "v2", "v1", "v3", "v4"):  # v2 was gone back from
        known.note_served(name)
    assert known.served() == ("v1", "v3", "v4")
    assert known.before("v4").id == "v3"
    assert known.before("v3").id == "v1"
    known.remove("v3")
    assert known.before("v4").id == "v1"
    with pytest.raises(UsageError, match="No version is kept from before v1"):
        known.before("v1")
    known.note_served("")
    assert known.served() == ("v1", "v3", "v4"), "the folder itself is no version"


def test_what_served_before_is_kept_whatever_failed_since(known: Versions) -> None:
    known.note_served(known.take().id)
    for _ in range(6):
        known.take()
    assert known.keep_last(3, {"v1"}) == ("v2", "v3", "v4")
    known.note_served(known.take().id)
    assert "v1" not in known.keep_last(3, {"v8"})
    assert known.before("v8").id == "v1"


def test_a_damaged_row_is_no_reason_to_stop(known: Versions) -> None:
    for _ in range(2):
        known.note_served(known.take().id)
    known.folder.joinpath("served.json").write_bytes(b"{")
    assert known.before("v2").id == "v1", "by the numbers, then"


@given(names=st.lists(st.integers(1, 6).map(lambda number: f"v{number}"), max_size=30))
def test_the_row_never_has_a_version_twice_and_ends_with_the_one_that_serves(names: list[str]) -> None:
    row: tuple[str, ...] = ()
    for name in names:
        row = row_with(row, name)
        assert row[-1] == name
        assert len(set(row)) == len(row)
