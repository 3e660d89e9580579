"""`tenfold advise`: what to do next with what runs, by its figures. Changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import click
import msgspec

from tenfold.cli.main import Context
from tenfold.cli.proving import cancelled_by_signals, running_map
from tenfold.control.advice import advise
from tenfold.control.advice.levels import LEAST_S, LOOK_BACK_S
from tenfold.control.advice.model import Advice, Pressure
from tenfold.control.advice.phrases import catalogue, shown
from tenfold.control.figures.between import figures_between
from tenfold.control.figures.model import Figures
from tenfold.control.figures.sampler import Sampler
from tenfold.control.figures.store import FigureStore
from tenfold.control.place import Place
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.units import format_size

EVERY_S = 1.0
HISTORY = "figures.db"
_HEAD = ("tier", "resource", "used", "of", "full", "room")
_NAMES = {"cpu": "CPU"}
_COLOURS = {"stay": "green", "too-little": "yellow"}


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(LEAST_S + 1, LOOK_BACK_S),
    default=10,
    show_default=True,
    help="How long to look.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the advice as JSON.")
@click.pass_obj
def command(context: Context, seconds: float, as_json: bool) -> None:
    """Say what to do next with what runs: stay, take a bigger machine, run more processes, or take a step.

    It looks for some seconds how busy everything is, and counts in what the page on port 8001 has seen in the last ten
    minutes. Then it says what saturates first, what to do about it, and the figures that say so. Mostly it says to
    stay. Nothing is changed.
    """
    place = Place(context.root())
    service = running_map(place).service
    if not as_json:
        click.echo(f"looking at {service} for {seconds:g} s ...", err=True)
    windows = asyncio.run(cancelled_by_signals(_look(place, seconds)))
    history = FigureStore(place.state / HISTORY, writes=False)
    advice = advise(running_map(place), [*history.recent(LOOK_BACK_S), *windows])
    history.close()
    told = {"service": service, **msgspec.to_builtins(advice)}
    click.echo(json.dumps(told, indent=2) if as_json else "\n".join(advice_lines(service, advice)))


async def _look(place: Place, seconds: float) -> list[Figures]:
    return [window async for window in _windows(place, seconds)]


async def _windows(place: Place, seconds: float) -> AsyncIterator[Figures]:
    """One window a second; the last ends when the seconds are over."""
    with Sampler(place, SYSTEM_CLOCK) as sampler:
        ends, before = SYSTEM_CLOCK.monotonic() + seconds, await sampler.look()
        while (left := ends - SYSTEM_CLOCK.monotonic()) > 0:
            await asyncio.sleep(min(EVERY_S, left))
            after = await sampler.look()
            yield figures_between(before, after)
            before = after


def advice_lines(service: str, advice: Advice) -> list[str]:
    """The advice as a person reads it."""
    verdict = click.style(advice.verdict.replace("-", " "), fg=_COLOURS.get(advice.verdict, "red"), bold=True)
    lines = [f"{service}: {verdict}", f"  {advice.sentence}", *(f"  - {reason}" for reason in advice.because)]
    if advice.command:
        plan = advice.command.replace("tenfold ", "tenfold plan ", 1)
        lines += ["", f"  {click.style(advice.command, bold=True)}   (`{plan}` says first what it would do)"]
    return lines + (["", *_table(advice.pressures)] if advice.pressures else [])


def _table(pressures: tuple[Pressure, ...]) -> list[str]:
    """One line for each pressure, the fullest first."""
    rows = [_HEAD, *(_row(pressure) for pressure in pressures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return [
        "  "
        + "  ".join(
            cell.ljust(w) if at < 2 else cell.rjust(w) for at, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _row(pressure: Pressure) -> tuple[str, ...]:
    name = catalogue("en").get(f"resource.{pressure.resource}", _NAMES.get(pressure.resource, pressure.resource))
    room = f"{shown(round(pressure.room, 1))}x" if pressure.room is not None else ""
    used, most = (_amount(value, pressure.unit) for value in (pressure.used, pressure.most))
    return pressure.tier, name, used, most, f"{pressure.share:.0%}", room


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return format_size(round(value))
    return f"{value:.1%}" if unit == "share" else shown(value)
