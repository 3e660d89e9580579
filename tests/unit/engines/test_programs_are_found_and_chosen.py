"""Which PostgreSQL is run, of those that are installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tenfold.core.errors import StorageFull, TenfoldError
from tenfold.engines.postgres.failures import start_error
from tenfold.engines.postgres.programs import Programs, choose, installed


def install(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch(mode=0o755)
    return folder


def ask(words: Sequence[str]) -> str:
    """A program says the version of the folder that it lies in."""
    major = Path(words[0]).resolve().parent.parent.name
    return f"postgres (PostgreSQL) {major} (Debian {major}-1)"


def test_the_newest_is_first_and_each_is_found_once(tmp_path: Path) -> None:
    both = ("postgres", "initdb")
    old, new = install(tmp_path / "lib/15.4/bin", *both), install(tmp_path / "lib/17.1/bin", *both)
    install(tmp_path / "client/16/bin", "psql")
    install(tmp_path / "half/18/bin", "postgres")
    links = tmp_path / "links"
    links.mkdir()
    for name in both:
        (links / name).symlink_to(old / name)
    path = f"{links}::{tmp_path / 'client/16/bin'}:{tmp_path / 'half/18/bin'}:/no/such/folder"
    found = installed(ask, path, [str(tmp_path / "lib/*/bin")])
    assert found == [Programs(new.resolve(), 17, "17.1"), Programs(old.resolve(), 15, "15.4")]
    assert found[0].postgres == str(new.resolve() / "postgres")
    assert found[0].initdb == str(new.resolve() / "initdb")


def test_a_program_that_does_not_say_its_version_is_passed_over(tmp_path: Path) -> None:
    install(tmp_path / "16/bin", "postgres", "initdb")
    assert installed(lambda _words: "", str(tmp_path / "16/bin"), []) == []
    assert installed(lambda _words: "something else 16", str(tmp_path / "16/bin"), []) == []


NEW, OLD, OLDER = (Programs(Path(f"/{major}"), major, f"{major}.1") for major in (17, 15, 14))


def test_the_newest_is_chosen_unless_the_data_is_of_another() -> None:
    assert choose([NEW, OLD]) == NEW
    assert choose([NEW, OLD], 15) == OLD


@pytest.mark.parametrize(
    ("found", "data", "said"),
    [
        ([], None, "TF-PG-MISSING: PostgreSQL is not installed"),
        ([], 15, "TF-PG-MISSING: PostgreSQL is not installed"),
        ([OLDER], None, "TF-PG-VERSION: PostgreSQL 14.1 is too old: Tenfold needs 15 or newer"),
        ([NEW], 15, "TF-PG-VERSION: The data was written by PostgreSQL 15, and only 17.1 is installed"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_install(found: list[Programs], data: int | None, said: str) -> None:
    with pytest.raises(TenfoldError) as caught:
        choose(found, data)
    assert str(caught.value).startswith(said)
    assert "apt-get install postgresql" in caught.value.hint


def test_a_server_that_does_not_start_is_explained_by_its_last_lines() -> None:
    full = start_error("db-1", ["a", "PANIC: could not write: No space left on device", "b"], "/data")
    assert isinstance(full, StorageFull)
    assert "the disk of /data is full" in full.message
    other = start_error("db-1", [f"line {number}" for number in range(9)], "/data")
    assert other.code == "TF-PG-START"
    assert "line 8" in other.message
    assert "line 2" not in other.message
    assert "(nothing)" in start_error("db-1-init", [], "/data", code="TF-PG-INIT").message
