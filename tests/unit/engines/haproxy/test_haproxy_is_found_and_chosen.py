"""Which HAProxy is run, of those that are installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tenfold.core.errors import TenfoldError
from tenfold.engines.haproxy.programs import Program, choose, installed


def install(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True)
    program = folder / "haproxy"
    program.write_text(version)
    program.chmod(0o755)
    return program


def ask(words: Sequence[str]) -> str:
    version = Path(words[0]).read_text()
    return f"HAProxy version {version} 2026/10/17 - https://haproxy.org/\nStatus: long-term" if version else ""


def test_the_newest_is_first_and_each_is_found_once(tmp_path: Path) -> None:
    old, new = install(tmp_path / "a", "2.6.12-1+deb12u4"), install(tmp_path / "b", "2.10.1")
    install(tmp_path / "broken", "")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "haproxy").symlink_to(old)
    (tmp_path / "none" / "haproxy").mkdir(parents=True)
    path = ":".join(str(tmp_path / name) for name in ("links", "broken", "none", "a", "missing")) + ":"
    found = installed(ask, path, [str(tmp_path / "b"), str(tmp_path / "a")])
    assert found == [Program(new, (2, 10), "2.10.1"), Program(old, (2, 6), "2.6.12")]
    assert choose(found).version == "2.10.1"


def test_none_and_one_that_is_too_old_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TenfoldError, match="not installed") as missing:
        choose(installed(ask, str(tmp_path), []))
    assert missing.value.code == "TF-HAPROXY-MISSING"
    assert "apt-get install haproxy" in missing.value.hint
    install(tmp_path / "old", "2.4.22")
    with pytest.raises(TenfoldError, match=r"2\.4\.22 is too old: Tenfold needs 2\.6") as old:
        choose(installed(ask, str(tmp_path / "old"), []))
    assert old.value.code == "TF-HAPROXY-VERSION"
