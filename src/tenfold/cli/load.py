"""`tenfold load`: the load of a proof without its faults and verdicts, live in the terminal."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
from typing import Any

import click

from tenfold.cli.main import EXIT_INTERRUPTED, Context
from tenfold.cli.proving import cancelled_by_signals, check_target, choose_workloads, running_map, target_of
from tenfold.control.place import Place
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.files import allow_many_descriptors
from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.prove.checkers.availability import failure, quantile
from tenfold.prove.history import Operation, Status
from tenfold.prove.load import Load, Reached
from tenfold.prove.run import make_workload
from tenfold.prove.workloads import KNOWN

PERCENTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999))


class _Tally:
    """Outcomes and latencies, of the last second and of all.

    A request that the service answers with a refusal (a transfer of more than there is in the account) did not fail.
    """

    def __init__(self) -> None:
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.latencies: list[int] = []
        self.refused = self.failed = 0
        self._seen = 0

    def add(self, operation: Operation) -> None:
        self.outcomes[operation.status.value] += 1
        if operation.status is Status.OK:
            self.latencies.append(operation.latency_us)
        elif failure(operation) is None:
            self.refused += 1
        else:
            self.failed += 1

    def second(self) -> str:
        recent = sorted(self.latencies[self._seen :])
        self._seen = len(self.latencies)
        return f"{len(recent):>6} ok/s   p99 {quantile(recent, 0.99) / 1000:8.1f} ms   {self._others()} so far"

    def total(self) -> str:
        """How all of them ended."""
        if not self.outcomes:
            return "nothing was sent"
        return f"{len(self.latencies)} ok, {self._others()}"

    def _others(self) -> str:
        by_rule = f"{self.refused} refused by a rule of the service, " if self.refused else ""
        return f"{by_rule}{self.failed} failed"


@click.command()
@click.option("--rate", type=click.FloatRange(1, 100_000), default=200, show_default=True, help="Requests a second.")
@click.option("--seconds", type=click.FloatRange(1, 24 * 3600), default=30, show_default=True, help="How long.")
@click.option("--workload", multiple=True, help=f"Only these: {', '.join(KNOWN)}.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.pass_obj
def command(context: Context, rate: float, seconds: float, workload: tuple[str, ...], as_json: bool) -> int:
    """Send load to the service that runs here, at a fixed rate whether or not it keeps up.

    Latency counts from the moment a request was due.
    """
    return asyncio.run(cancelled_by_signals(_load(Place(context.root()), rate, seconds, workload, as_json)))


async def _load(place: Place, rate: float, seconds: float, wanted: tuple[str, ...], as_json: bool) -> int:
    allow_many_descriptors()
    current = running_map(place)
    target = target_of(place, current)
    await check_target(target)
    names, missing, _ = await choose_workloads(target, current.service, wanted)
    if missing:
        click.echo(missing, err=True)
    run = f"l{SYSTEM_RANDOMNESS.bits(48):x}"
    tally = _Tally()
    workloads = [make_workload(name, run) for name in names]
    load = Load(target, workloads, tally.add, clock=SYSTEM_CLOCK, randomness=SYSTEM_RANDOMNESS)
    live = asyncio.create_task(_live(tally))
    reached, interrupted = None, False
    try:
        reached = await load.run(rate, seconds)
    except asyncio.CancelledError:
        interrupted = True
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
    live.cancel()
    await load.close()
    _tell(tally, reached, rate, as_json)
    return EXIT_INTERRUPTED if interrupted else 0


async def _live(tally: _Tally) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(1)
            click.echo(tally.second(), err=True)


def _tell(tally: _Tally, reached: Reached | None, rate: float, as_json: bool) -> None:
    ordered = sorted(tally.latencies)
    figures: dict[str, Any] = {
        "outcomes": dict(tally.outcomes),
        "rate": round(reached.rate, 1) if reached else None,
        "late": reached.late if reached else None,
        "ms": {name: quantile(ordered, share) / 1000 for name, share in PERCENTILES},
    }
    if as_json:
        click.echo(json.dumps(figures))
        return
    click.echo(tally.total())
    click.echo("   ".join(f"{name} {value:.1f} ms" for name, value in figures["ms"].items()))
    if reached is not None and reached.rate < rate * 0.95:
        click.echo(f"This machine sent {reached.rate:.0f} requests/s of the {rate:g} that were asked for.", err=True)
