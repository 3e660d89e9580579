"""What `tenfold tour` refuses, and how it waits for a key."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tenfold.cli import tour
from tenfold.cli.main import run
from tenfold.cli.tour import Speaker
from tenfold.topology.steps import highest_existing


def test_it_asks_for_somebody_who_presses_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tour", "--out", str(tmp_path)]) == 1
    assert "Nobody is there to press a key. " in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("step", "sentence"),
    [(str(highest_existing() + 1), "does not exist yet"), ("sideways", 'There is no step "sideways"')],
)
def test_a_step_that_cannot_be_is_refused(step: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tour", "--yes", "--to", step]) == 1
    assert sentence in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_told_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert run(["tour", "--yes", "--out", str(tmp_path / "file" / "below")]) == 1
    assert str(tmp_path / "file" / "below") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keys", "agreed"), [(b" ", True), (b"\n", True), (b"q", False), (b"Q", False), (b"\x04", False)]
)
def test_one_key_is_enough_and_the_terminal_is_as_before(
    keys: bytes, agreed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = os.openpty()
    with open(theirs) as terminal:
        monkeypatch.setattr(tour.sys, "stdin", terminal)
        before = tour.termios.tcgetattr(theirs)

        async def asked() -> bool:
            asyncio.get_running_loop().call_later(0.05, os.write, ours, keys)
            return await asyncio.wait_for(Speaker(asks=True, as_json=False).agree("Press a key."), 5)

        assert asyncio.run(asked()) is agreed
        assert tour.termios.tcgetattr(theirs) == before
    os.close(ours)


def test_nobody_is_asked_with_yes() -> None:
    assert asyncio.run(Speaker(asks=False, as_json=False).agree("Press a key."))
