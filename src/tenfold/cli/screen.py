"""The terminal as a screen that is drawn over and over, and given back as it was."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, TextIO

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
"""The alternate screen, without a cursor, and with long lines cut instead of wrapped."""
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_BEGIN, _END = "\x1b[?2026h\x1b[H", "\x1b[?2026l"
"""One frame at a time, so that nothing flickers on terminals that know how; others ignore it."""
_ERASE = "\x1b[K"
"""Erases to the edge. Before a line and not behind it: behind one that fills its row, the last character would go."""

Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None


def frame(lines: Sequence[str], footer: str, rows: int) -> str:
    """What has to be written for a screen of `rows` rows: the lines from the top, the footer at the bottom. Pure.

    What does not fit is left out, and it is said how much that is.
    """
    room = max(rows - 1, 1)
    shown = list(lines[:room])
    if len(lines) > room:
        shown[-1] = f"... {len(lines) - room + 1} more lines: a taller window shows them"
    blank = [""] * (room - len(shown))
    return _BEGIN + "\r\n".join(f"{_ERASE}{line}" for line in [*shown, *blank, footer]) + _END


class Wake:
    """Ends a wait, from any thread and from the handler of a signal. (A threading.Event may not be set there: the
    handler runs in the thread that waits, which may hold the lock of the event at that moment, and then for ever.)"""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """Ends the wait that runs, or else the next one."""
        self._calls.put(None)

    def wait(self, timeout_s: float) -> bool:
        """Waits for `set`; False when `timeout_s` seconds went by without. All calls until now are one."""
        try:
            self._calls.get(timeout=timeout_s)
        except queue.Empty:
            return False
        with contextlib.suppress(queue.Empty):
            while True:
                self._calls.get_nowait()
        return True


class Screen:
    """The terminal of standard output while something is drawn on it over and over."""

    def __init__(self, out: TextIO, changed: Callable[[], object]) -> None:
        """`changed` is called when the window has another size, or came back."""
        self._out = out
        self._changed = changed

    def show(self, text: str) -> None:
        """Writes at once. Past the buffer of the stream, which must not be written to in the handler of a signal that
        came while it was written to."""
        left = text.encode(self._out.encoding, "replace")
        while left:
            left = left[os.write(self._out.fileno(), left) :]

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """The terminal is ours inside; it is given back whatever happens, also while we are stopped (Ctrl-Z)."""
        handlers = {signal.SIGTERM: self._end, signal.SIGHUP: self._end, signal.SIGTSTP: self._stop,
                    signal.SIGCONT: self._go_on, signal.SIGWINCH: lambda *_: self._changed()}  # fmt: skip
        before: dict[signal.Signals, Handler] = {number: signal.signal(number, do) for number, do in handlers.items()}
        with _silent_keys():
            self.show(_ENTER)
            try:
                yield
            finally:
                with contextlib.suppress(OSError):  # the terminal is gone: SIGHUP said so
                    self.show(_LEAVE)
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.show(_LEAVE)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)

    def _go_on(self, _number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTSTP, self._stop)
        self.show(_ENTER)
        self._changed()


@contextlib.contextmanager
def _silent_keys() -> Iterator[None]:
    """Keys that are pressed meanwhile do not show on the screen; Ctrl-C works as ever."""
    if not sys.stdin.isatty():
        yield
        return
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    quiet = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(number, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(number, termios.TCSAFLUSH, before)
