"""`tenfold tour`: a service grows before one's eyes, on a copy of its own. Nothing of it stays but the report."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop

from tenfold.cli.main import EXIT_ERROR, EXIT_INTERRUPTED
from tenfold.cli.new import scaffold
from tenfold.cli.proving import cancelled_by_signals
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.errors import UsageError
from tenfold.core.files import allow_many_descriptors, storage_errors
from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.topology.steps import find_step, highest_existing
from tenfold.tour.capping import PARTS
from tenfold.tour.caps import Caps, possible
from tenfold.tour.chart import chart, columns, wrapped
from tenfold.tour.guide import Order
from tenfold.tour.report import leave
from tenfold.tour.running import Running
from tenfold.tour.stage import MARK, borrowed, sweep
from tenfold.tour.words import LANGUAGES, Words

OUT = Path("tenfold-tour")
BUNDLED = "notes"
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WIDTH = 78


class Speaker:
    """Says it on a terminal or into a file. With `as_json` on standard error, where it is in nobody's way."""

    def __init__(self, *, asks: bool, as_json: bool) -> None:
        self.asks = asks
        self.on_err = as_json
        self._stream = sys.stderr if as_json else sys.stdout
        self._live = 0

    def say(self, text: str = "") -> None:
        """A line, or a paragraph."""
        self._clear()
        click.echo("\n".join(wrapped(text, min(_WIDTH, shutil.get_terminal_size().columns - 1))), err=self.on_err)

    def head(self, text: str) -> None:
        """A heading, with room above it."""
        self._clear()
        click.echo(f"\n{click.style(text, bold=True)}\n{'─' * columns(text)}", err=self.on_err)

    def live(self, text: str) -> None:
        """A line that the next one replaces; only on a terminal."""
        if self._stream.isatty():
            shown = text[: shutil.get_terminal_size().columns - 3]
            self._clear()
            click.echo(f"  {shown}", nl=False, err=self.on_err)
            self._live = 1

    def _clear(self) -> None:
        if self._live:
            click.echo("\r\x1b[K", nl=False, err=self.on_err)
            self._live = 0

    async def agree(self, question: str) -> bool:
        """Waits for one key, while all else goes on; False for q and at the end of input."""
        if not self.asks:
            return True
        self.say(click.style(question, bold=True))
        pressed = asyncio.get_running_loop().create_future()
        with _one_key_at_a_time():
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _read_key, pressed)
            try:
                return bool((await pressed) not in ("", "q", "Q", "\x04"))
            finally:
                asyncio.get_running_loop().remove_reader(sys.stdin.fileno())


def _read_key(pressed: asyncio.Future[str]) -> None:
    if not pressed.done():
        pressed.set_result(os.read(sys.stdin.fileno(), 16).decode(errors="replace"))


@contextlib.contextmanager
def _one_key_at_a_time() -> Iterator[None]:
    """The terminal gives each key at once, and shows none; Ctrl-C still means what it did."""
    before = termios.tcgetattr(sys.stdin.fileno())
    try:
        tty.setcbreak(sys.stdin.fileno())
        yield
    finally:
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)


def language_of(environment: Mapping[str, str]) -> str:
    """The language of a terminal, as its environment says (POSIX: LC_ALL, LC_MESSAGES, LANG)."""
    said = next((environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), "")
    return next((language for language in LANGUAGES if said.startswith(language)), LANGUAGES[0])


@click.command()
@click.option("--yes", is_flag=True, help="Ask nothing: the whole tour by itself.")
@click.option(
    "--seconds-per-step",
    "seconds",
    type=click.FloatRange(8, 600),
    default=60,
    show_default=True,
    help="How long the load of each step is searched for.",
)
@click.option("--to", "to", metavar="STEP", help="The last step to climb to.  [default: the highest that exists]")
@click.option(
    "--web",
    type=click.IntRange(0, 8),
    default=4,
    show_default=True,
    help="Web servers at the end, to see the load spread; 0 for no such stop.",
)
@click.option("--out", type=click.Path(path_type=Path), default=OUT, show_default=True, help="Where the report goes.")
@click.option("--lang", type=click.Choice(LANGUAGES), help="Its language.  [default: the terminal's]")
@click.option("--keep", is_flag=True, help="Keep the folder of the copy, stopped.")
@click.option("--json", "as_json", is_flag=True, help="Print what was seen as JSON.")
def command(**options: Any) -> int:
    """Watch a service grow: each step of the book under load, until its bottleneck appears.

    It makes a copy of a small service in a temporary folder, with ports of its own, and touches nothing else that runs
    here. The load grows until 99 % of the answers take longer than 250 ms; the advice says what is full; one key climbs
    to the next step while users come; and the curve goes on. As root each node gets a small part of a core, so that a
    bottleneck appears on a laptop; otherwise the load stays small. At the end there is a report: report.html and
    report.json. Ctrl-C at any time stops everything, and leaves the report of what was seen.
    """
    asks = not options["yes"] and not options["as_json"] and sys.stdin.isatty()
    if not asks and not options["yes"]:
        raise UsageError("Nobody is there to press a key.", hint="Add --yes: it goes on by itself.", code="TF-ASK")
    step = find_step(options["to"] or highest_existing())
    if not step.exists:
        raise step.missing()
    out: Path = options["out"].resolve()
    with storage_errors("write", out):
        out.mkdir(parents=True, exist_ok=True)
    order = Order(options["seconds"], step.number, options["web"], PARTS if possible() else {})
    words = Words(options["lang"] or language_of(os.environ))
    return _toured(order, words, Speaker(asks=asks, as_json=options["as_json"]), out, keep=options["keep"])


def _toured(order: Order, words: Words, voice: Speaker, out: Path, *, keep: bool) -> int:
    allow_many_descriptors()
    sweep()
    with _ends_are_interrupts(), Caps(MARK) as caps, borrowed(_bundled, keep=keep) as stage:
        try:
            voice.say(words("starting"))
            stage.up(voice.live)
            ran = Running(stage, order, voice=voice, words=words, clock=SYSTEM_CLOCK, randomness=SYSTEM_RANDOMNESS)
            uvloop.run(cancelled_by_signals(_hangups_too(ran.lead(caps))))
        finally:
            _no_more_interrupts()  # a second Ctrl-C would leave half of it behind
    return _told(ran, words, voice, out, kept=stage.place.root if keep else None)


def _bundled(root: Path) -> None:
    scaffold(root, BUNDLED, BUNDLED)


def _told(ran: Running, words: Words, voice: Speaker, out: Path, *, kept: Path | None) -> int:
    tour = ran.tour
    page = leave(tour, out)
    voice.say()
    for line in chart(words, tour.stops):
        click.echo(line, err=voice.on_err)
    voice.say()
    if tour.partial:
        voice.say(f"{words('partial')} ({tour.partial})")
    if kept:
        click.echo(words("kept", path=str(kept)), err=voice.on_err)
    click.echo(words("report.left", path=str(page)), err=voice.on_err)  # in one line: paths are copied
    if voice.on_err:
        click.echo(json.dumps({**msgspec.to_builtins(tour), "report": str(page)}, indent=1))
    if ran.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_ERROR if ran.failed else 0


async def _hangups_too(work: Coroutine[Any, Any, None]) -> None:
    """A terminal that is closed ends it like Ctrl-C."""
    task = asyncio.current_task()
    assert task is not None, "we run in one"
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, task.cancel)
    await work


@contextlib.contextmanager
def _ends_are_interrupts() -> Iterator[None]:
    """SIGTERM and SIGHUP end what is going on as Ctrl-C does, while no event loop runs."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = [signal.signal(number, interrupt) for number in _ENDINGS]
    try:
        yield
    finally:
        for number, handler in zip(_ENDINGS, before, strict=True):
            signal.signal(number, handler)


def _no_more_interrupts() -> None:
    for number in _ENDINGS:
        signal.signal(number, signal.SIG_IGN)
