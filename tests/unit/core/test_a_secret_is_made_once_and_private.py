"""Passwords on disk."""

from __future__ import annotations

import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tenfold.core.errors import StorageDamaged
from tenfold.core.randomness import SeededRandomness
from tenfold.core.secrets import SECRET_BYTES, Secrets


def test_it_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path / "secrets", SeededRandomness(1))
    assert secrets.find("one") is None
    one = secrets.ensure("one")
    assert len(one) == 2 * SECRET_BYTES
    assert secrets.ensure("one") == Secrets(tmp_path / "secrets").find("one") == one
    assert secrets.ensure("other") != one
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "secrets/one").stat().st_mode) == 0o600


def test_many_that_ask_for_it_at_the_same_moment_get_the_same_one(tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def ask() -> str:
        secrets = Secrets(tmp_path)
        assert secrets.find("one") is None
        together.wait()
        return secrets.ensure("one")

    with ThreadPoolExecutor(8) as pool:
        told = {one.result() for one in [pool.submit(ask) for _ in range(8)]}
    assert told == {Secrets(tmp_path).find("one")}


def test_one_that_is_given_is_kept_as_it_is(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    secrets.save("given", " with blanks and é ")
    assert secrets.find("given") == " with blanks and é "
    secrets.forget("given", "never-there")
    assert secrets.find("given") is None


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\n"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(StorageDamaged, match="bad holds no secret"):
        Secrets(tmp_path).find("bad")
