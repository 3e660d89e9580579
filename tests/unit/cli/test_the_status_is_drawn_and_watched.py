"""`tenfold status`: the picture above the words, and `--watch`: in place on a terminal, in a row elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from pictures import AT_US, a_map, a_move, facts_of

from tenfold.cli import main as cli
from tenfold.cli import watching
from tenfold.cli.screen import frame
from tenfold.cli.status import drawn_lines, status_lines
from tenfold.cli.watching import WINDOW_S, Looker, View, footer
from tenfold.control.figures.look import Look, MachineLook, window_start
from tenfold.control.place import Place
from tenfold.core.clock import ManualClock
from tenfold.core.errors import SpecError
from tenfold.dashboard.picture.drawing import draw
from tenfold.topology.map import encode

COMMAND = (sys.executable, "-P", "-m", "tenfold.cli.main")
LIMIT_S = 20.0


def said(facts: dict[str, Any], drawn: list[str]) -> list[str]:
    return [click.unstyle(line) for line in status_lines(facts, drawn)]


# The picture and the words


def test_the_picture_comes_below_the_addresses_and_above_the_words() -> None:
    current = a_map("web-1")
    told = facts_of(current, dashboard={"state": "running", "address": "http://127.0.0.1:8001", "mode": "full"})
    told["nodes"][0].update(requests=2, connections=1)
    lines = said(told, drawn_lines(draw(current, told, at_us=AT_US), 80))
    assert lines[:4] == [
        "shop: running",
        "  http://127.0.0.1:8000   step 1, version v4, map epoch 3",
        "  dashboard http://127.0.0.1:8001",
        "",
    ]
    assert "● web-1" in lines[7]
    assert lines[-3:-1] == ["", "  web-1       pid 7        ready, 2 requests, 1 connection"]


def test_a_move_is_told_once() -> None:
    current = a_map("web-1")
    told = facts_of(current, move=a_move())
    told["nodes"][0].update(requests=2, connections=1)
    drawn = said(told, drawn_lines(draw(current, told, at_us=AT_US), 80))
    assert sum("copy" in line for line in drawn) == 2, "its title with its name, and its stages"
    assert "  The move copy_to_postgres is open, in its stage copy." in said(told, [])


def test_nothing_is_drawn_where_nothing_runs() -> None:
    current = a_map("web-1")
    stopped = facts_of(current, state="stopped", keeper=None, controller=None)
    assert drawn_lines(draw(current, stopped, at_us=AT_US), 80) == []


def test_the_picture_is_no_wider_than_it_can_be_read() -> None:
    current = a_map(*(f"web-{number}" for number in range(1, 65)))
    picture = draw(current, facts_of(current), at_us=AT_US)
    assert drawn_lines(picture, 1000) == drawn_lines(picture, 160)
    assert all(line.isascii() for line in drawn_lines(picture, 80, plain=True))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["status", "--watch", "--json"], "--watch draws; --json is for one look."),
        (["status", "--watch", "--every", "10ms"], "--every is 0.2s at least."),
        (["status", "--watch", "--every", "soon"], 'found "soon" (text)'),
    ],
)
def test_what_cannot_be_is_refused(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tenfold.toml").write_text('[service]\nname = "shop"\napp = "shop:app"\n')
    monkeypatch.chdir(tmp_path)
    assert cli.run(words) != 0
    assert says in capsys.readouterr().err


def test_what_is_wrong_stands_where_no_window_cuts_it_off() -> None:
    current = a_map("web-1")
    told = facts_of(current, controller=None)
    told["nodes"][0].update(requests=2, connections=1)
    drawn = drawn_lines(draw(current, told, at_us=AT_US), 80)
    wrong = "The controller does not answer; the keeper starts it again. No request notices."
    assert said(told, drawn)[-1] == wrong
    assert [click.unstyle(line) for line in status_lines(told, drawn, troubles_first=True)].index(wrong) == 2


# Frames


def test_a_frame_fills_the_screen_from_the_top_with_the_footer_at_the_bottom() -> None:
    assert rows_of(frame(["a", "b"], "foot", 5)) == ["a", "b", "", "", "foot"]


def rows_of(text: str) -> list[str]:
    """The rows of a frame; each is erased before it is written, so that none loses its last character."""
    inner = text.removeprefix("\x1b[?2026h\x1b[H").removesuffix("\x1b[?2026l")
    rows = inner.split("\r\n")
    assert all(row.startswith("\x1b[K") for row in rows)
    return [row.removeprefix("\x1b[K") for row in rows]


def test_what_does_not_fit_into_a_frame_is_counted() -> None:
    rows = rows_of(frame([str(number) for number in range(10)], "foot", 5))
    assert rows == ["0", "1", "2", "... 7 more lines: a taller window shows them", "foot"]
    assert rows_of(frame(["a"], "foot", 2)) == ["a", "foot"]


# Looking again and again


def look(at_s: float) -> Look:
    return Look(at_us=0, at_s=at_s, up_ticks=0, machine=MachineLook())


def test_figures_are_of_the_last_second_or_of_the_last_interval() -> None:
    assert window_start([], 10.0, WINDOW_S) is None
    quick = [look(9.0), look(9.2), look(9.4), look(9.6), look(9.8)]
    assert window_start(quick, 10.0, WINDOW_S) is quick[0]
    assert window_start(quick, 10.2, WINDOW_S) is quick[1]
    assert window_start(quick[3:], 10.0, WINDOW_S) is quick[3], "the oldest, while there is none of a second ago"
    assert window_start([look(0.0), look(5.0)], 10.0, WINDOW_S).at_s == 5.0  # type: ignore[union-attr]


class _Seeing:
    """Stands for what is looked at: each answer in turn, or the error that it is."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    async def seen(self) -> View:
        found = self.answers.pop(0)
        if isinstance(found, BaseException):
            raise found
        return found


def a_view(at_s: float) -> View:
    current = a_map("web-1")
    told = facts_of(current)
    return View(told, draw(current, told, at_us=AT_US), at_s)


def looked(tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, *answers: Any) -> Looker:
    """A looker that has seen these answers, one after the other."""
    looker, seeing = Looker(Place(tmp_path), 1.0, clock), _Seeing(*answers, EOFError())
    monkeypatch.setattr(looker, "_seen", seeing.seen)

    async def at_once(_seconds: float) -> None:
        return None

    monkeypatch.setattr(watching.asyncio, "sleep", at_once)
    with pytest.raises(EOFError):
        asyncio.run(looker.look_on())
    return looker


def test_the_footer_says_how_old_the_picture_is_when_nothing_newer_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock(monotonic=100.0)
    looker = looked(tmp_path, clock, monkeypatch, a_view(100.0))
    assert "every 1 s. Ctrl-C ends it." in click.unstyle(footer(looker, 1.0, 80))
    clock.advance(2.9)
    assert "As of" not in footer(looker, 1.0, 80)
    clock.advance(2.3)
    assert click.unstyle(footer(looker, 1.0, 80)) == " As of 5 s ago. "
    assert "every 10 s" in footer(looker, 10.0, 80), "slow on purpose is not old"


def test_a_deployment_that_cannot_be_seen_leaves_the_picture_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, view = ManualClock(monotonic=100.0), a_view(100.0)
    looker = looked(tmp_path, clock, monkeypatch, view, SpecError("The map is damaged.", hint="Mend it."))
    assert looker.view is view
    assert click.unstyle(footer(looker, 1.0, 80)) == " As of 0 s ago. The map is damaged. Mend it."
    assert click.unstyle(footer(looker, 1.0, 20)) == " As of 0 s ago. The "
    again = looked(tmp_path, clock, monkeypatch, SpecError("No.", hint=""), a_view(100.0))
    assert "Ctrl-C ends it." in footer(again, 1.0, 80), "it is seen again"


STORM = """
import signal
from tenfold.cli.screen import Wake
wake, heard = Wake(), 0
signal.signal(signal.SIGALRM, lambda *_: wake.set())
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
while heard < 1000:
    heard += wake.wait(20.0)
signal.setitimer(signal.ITIMER_REAL, 0.0)
wake.set()
wake.set()
assert wake.wait(0.0) and not wake.wait(0.01), "all calls until now are one"
print("awake")
"""


def test_the_screen_is_woken_by_the_handler_of_a_signal_that_comes_at_any_moment() -> None:
    ended = subprocess.run([sys.executable, "-c", STORM], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == "awake\n", ended.stderr


def test_a_fault_of_ours_ends_the_watching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looker = Looker(Place(tmp_path), 1.0)
    monkeypatch.setattr(looker, "_seen", _Seeing(ZeroDivisionError("by zero")).seen)
    looker.start()
    assert looker.news.wait(LIMIT_S)
    with pytest.raises(ZeroDivisionError):
        looker.raise_fault()


# The real command on a real terminal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A service that ran once: it has a map, and nothing runs."""
    (tmp_path / "tenfold.toml").write_text('[service]\nname = "shop"\napp = "shop:app"\n')
    place = Place(tmp_path)
    place.map_file.parent.mkdir(parents=True, exist_ok=True)
    place.map_file.write_bytes(encode(a_map("web-1")))
    return tmp_path


class Terminal:
    """A terminal of 24 rows and 80 columns with a command in it."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            [*COMMAND, *words], cwd=folder, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        self.slave = slave
        self.text = ""

    def until(self, words: str) -> str:
        """Reads until these words have come; all that came."""
        deadline = time.monotonic() + LIMIT_S
        while words not in self.text:
            ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{words!r} did not come: {self.text!r}"
            with contextlib.suppress(OSError):
                self.text += os.read(self.master, 65536).decode(errors="replace")
        return self.text

    def press(self, key: bytes) -> None:
        os.write(self.master, key)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@contextlib.contextmanager
def terminal(folder: Path, *words: str) -> Iterator[Terminal]:
    found = Terminal(folder, *words)
    try:
        yield found
    finally:
        found.close()


def test_on_a_terminal_it_draws_in_place_and_gives_the_terminal_back(folder: Path) -> None:
    with terminal(folder, "status", "--watch", "--every", "200ms") as seen:
        text = seen.until("Nothing runs.")
        seen.until("Ctrl-C ends it.")
        assert text.startswith("\x1b[?1049h\x1b[?25l")
        assert not termios.tcgetattr(seen.slave)[3] & termios.ECHO, "keys do not show on the picture"
        fcntl.ioctl(seen.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 40, 0, 0))
        seen.press(b"\x03")
        assert seen.until("\x1b[?1049l").endswith("\x1b[?25h\x1b[?1049l")
        assert seen.process.wait(LIMIT_S) == 0
        assert termios.tcgetattr(seen.slave) == seen.before
        assert "Traceback" not in seen.text


def test_a_watch_that_is_asked_to_end_gives_the_terminal_back_too(folder: Path) -> None:
    with terminal(folder, "status", "--watch") as seen:
        seen.until("Nothing runs.")
        seen.process.send_signal(signal.SIGTERM)
        seen.until("\x1b[?1049l")
        assert seen.process.wait(LIMIT_S) == 128 + signal.SIGTERM
        assert termios.tcgetattr(seen.slave) == seen.before


def test_elsewhere_it_prints_one_picture_after_the_other(folder: Path) -> None:
    command = [*COMMAND, "status", "--watch", "--every", "200ms"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = [process.stdout.readline() for _ in range(6)]
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 0
    assert found == ["shop: stopped\n", "Nothing runs. `tenfold up` starts it.\n", "\n"] * 2


def test_one_look_says_the_same_as_before_and_json_has_everything(folder: Path) -> None:
    done = subprocess.run([*COMMAND, "status"], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "shop: stopped\nNothing runs. `tenfold up` starts it.\n")
    told = subprocess.run([*COMMAND, "status", "--json"], cwd=folder, capture_output=True, text=True, check=False)
    assert {"service", "state", "nodes", "workers", "balancers", "engines", "move"} <= set(json.loads(told.stdout))
