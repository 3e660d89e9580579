"""`tenfold prove`: load and faults against the running service, then a verdict for each promise."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tenfold.cli.living import LiveDeployment
from tenfold.cli.main import EXIT_ERROR, EXIT_INTERRUPTED, Context
from tenfold.cli.proving import (
    cancelled_by_signals,
    check_target,
    choose_workloads,
    database_of,
    running_map,
    target_of,
)
from tenfold.control.place import Place
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.errors import UsageError
from tenfold.core.files import allow_many_descriptors, atomic_write, private_dir
from tenfold.core.randomness import SYSTEM_RANDOMNESS, SeededRandomness
from tenfold.prove.connections import NAMES
from tenfold.prove.faults import KINDS, NodeFacts, is_balanced
from tenfold.prove.history import read_history
from tenfold.prove.load import CLIENTS_MAX
from tenfold.prove.moves import CHANGES, MOVE, MOVE_KILLED, beside, refuse_gap
from tenfold.prove.report import render
from tenfold.prove.run import Order, Outcome, Proof, recheck
from tenfold.prove.schedule import Amount, Recipe, schedule
from tenfold.prove.verdict import Verdict, as_json, passed
from tenfold.prove.workloads import KNOWN

_COLOURS = {"holds": "green", "broken": "red", "vacuous": "yellow", "not run": "yellow"}


@dataclass(frozen=True)
class Scale:
    """How large a run is. `balanced` are the faults where balancers stand before several web servers;
    `worker_kills` are added where workers run."""

    seconds: float
    rate: float
    recipes: tuple[Recipe, ...]
    balanced: tuple[Recipe, ...]
    worker_kills: int


QUICK = Scale(
    30,
    200,
    (
        Recipe("kill", "web", 3),
        Recipe("kill", "keeper", 1),
        Recipe("pause", "web", 1, 3),
        Recipe("clock-step", "web", 1, 1),
    ),
    (
        Recipe("kill", "web", 3),
        Recipe("kill", "haproxy", 2),
        Recipe("kill", "balancer", 1),
        Recipe("kill", "keeper", 1),
        Recipe("pause", "web", 1, 3),
    ),
    worker_kills=3,
)
FULL = Scale(
    300,
    200,
    (
        Recipe("kill", "web", 20),
        Recipe("kill", "keeper", 4),
        Recipe("pause", "web", 2, 10),
        Recipe("clock-step", "web", 2, 2),
    ),
    (
        Recipe("kill", "web", 20),
        Recipe("kill", "haproxy", 10),
        Recipe("kill", "haproxy", 2, amount="all"),
        Recipe("kill", "balancer", 4),
        Recipe("kill", "keeper", 4),
        Recipe("pause", "balancer", 1, 10),
        Recipe("pause", "web", 1, 10),
        Recipe("clock-step", "web", 1, 2),
    ),
    worker_kills=10,
)
LONG = Scale(
    900,
    200,
    (
        Recipe("kill", "web", 100),
        Recipe("kill", "keeper", 10),
        Recipe("pause", "web", 5, 10),
        Recipe("clock-step", "web", 5, 2),
    ),
    (
        Recipe("kill", "web", 100),
        Recipe("kill", "haproxy", 30),
        Recipe("kill", "haproxy", 5, amount="all"),
        Recipe("kill", "balancer", 10),
        Recipe("kill", "keeper", 10),
        Recipe("pause", "balancer", 2, 10),
        Recipe("pause", "haproxy", 2, 5),
        Recipe("pause", "web", 3, 10),
        Recipe("clock-step", "web", 3, 2),
    ),
    worker_kills=50,
)
MOVE_S = 3.0
"""Seconds that a run sets aside for a move; one that takes longer delays the faults after it."""
MOST_FAULTS, LONGEST_FAULT_S = 10_000, 600.0
MOVE_STAGES, DOOR_STAGES = 16, 8
"""Kills are spread over so many stages: a few more than moves of the data have; those of moves of the front door."""


@click.command()
@click.option("--quick", is_flag=True, help="Half a minute of load with a few faults.")
@click.option("--long", "long_", is_flag=True, help="A quarter of an hour: the web process killed 100 times.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Repeats the schedule of another run.")
@click.option("--rate", type=click.FloatRange(1, 100_000), help="Requests a second.")
@click.option("--seconds", type=click.FloatRange(5, 24 * 3600), help="How long the load lasts.")
@click.option("--workload", multiple=True, help=f"Only these: {', '.join(KNOWN)}.")
@click.option("--no-faults", is_flag=True, help="Load and checkers alone (and --moves, if given).")
@click.option("--disk-full", is_flag=True, help="Also fill the disk; the state must be on a small one of its own.")
@click.option(
    "--moves", type=click.IntRange(1, 1000), help="Also climb and descend so often; one mover in four is killed."
)
@click.option(
    "--scale", type=click.IntRange(1, 1000), help="Also add a web server and take it away so often (from step 3 on)."
)
@click.option("--deploy", type=click.IntRange(1, 1000), help="Also deploy a copy of the code and roll back so often.")
@click.option(
    "--fault",
    multiple=True,
    metavar="TEXT",
    help='One more: "kill database 5", "pause web 2 10" (seconds), "kill all haproxy 3".',
)
@click.option("--no-connections", is_flag=True, help="Without the clients that hold connections, WebSockets, streams.")
@click.option("--out", type=click.Path(path_type=Path), help="Where history and report go.  [default: .tenfold/proofs]")
@click.option("--history", type=click.Path(path_type=Path), help="Judge a saved history instead of running.")
@click.option("--json", "as_json_", is_flag=True, help="Print the verdicts as JSON.")
@click.pass_obj
def command(context: Context, /, **options: Any) -> int:
    """Prove the promises against the service that runs here.

    Load at a fixed rate while its processes are killed and paused, then every acknowledged write is looked for. Writes
    a report to open in a browser. Exit 0 when nothing is broken or vacuous. Ctrl-C and SIGTERM undo the faults.

    \b
      tenfold prove --quick                               half a minute, web process and keeper killed
      tenfold prove --moves 2 --no-faults                 climb and descend under load (P1, P2)
      tenfold prove --no-faults --fault "kill database 5" on step 2: the database server killed (P4)
      tenfold prove --no-faults --fault "kill haproxy 5"  on step 3: a balancer's HAProxy killed (P3)
    """
    if options["history"] is not None:
        verdicts = recheck(options["history"], options["workload"] or tuple(KNOWN))
        seed = read_history(options["history"]).seed
        return _tell(verdicts, seed, options["history"], options["as_json_"])
    place = Place(context.root())
    scale = QUICK if options["quick"] else LONG if options["long_"] else FULL
    seed = SYSTEM_RANDOMNESS.bits(32) if options["seed"] is None else options["seed"]
    return asyncio.run(cancelled_by_signals(_prove(place, scale, seed, options)))


async def _prove(place: Place, scale: Scale, seed: int, options: dict[str, Any]) -> int:
    allow_many_descriptors()
    current = running_map(place)
    if options["moves"]:
        refuse_gap(current)
    target = target_of(place, current)
    await check_target(target)
    names, missing, probed = await choose_workloads(target, current.service, options["workload"])
    seconds, rate = options["seconds"] or scale.seconds, options["rate"] or scale.rate
    randomness = SeededRandomness(seed)
    deployment = LiveDeployment(place)
    nodes = await asyncio.to_thread(deployment.nodes)
    other = beside(current.step, await asyncio.to_thread(deployment.highest))
    stages = DOOR_STAGES if max(current.step, other) > 2 else MOVE_STAGES
    recipes = _recipes(scale, seed, options, nodes=nodes, stages=stages)
    faults = schedule(recipes, seconds, randomness)
    if recipes and not faults:
        raise UsageError(
            f"{seconds:g} s are too short for the faults of this run.", hint="Give it more --seconds, or --no-faults."
        )
    connections = probed and not options["no_connections"] and not options["workload"]
    order = Order(seed, rate, seconds, tuple(faults), names, database_of(current), connections)
    _announce(order, missing)
    folder = _folder(options["out"] or place.state / "proofs", seed)
    history = folder / "history.jsonl"
    proof = Proof(order, target, deployment, history, clock=SYSTEM_CLOCK, randomness=randomness, say=_say)
    outcome = await proof.run()
    report = _report(folder, history, outcome, current.service, order)
    _reached(outcome, rate)
    code = _tell(outcome.verdicts, seed, report, options["as_json_"])
    return EXIT_INTERRUPTED if outcome.partial else code


def _recipes(
    scale: Scale, seed: int, options: dict[str, Any], *, nodes: Sequence[NodeFacts], stages: int = MOVE_STAGES
) -> tuple[Recipe, ...]:
    """What happens in a run: faults of the scale, if they are wanted, a full disk, changes of the web tier, moves."""
    faults = scale.balanced if is_balanced(nodes) else scale.recipes
    if any(node.role == "worker" for node in nodes):
        faults = (*faults, Recipe("kill", "worker", scale.worker_kills))
    if options["no_faults"]:
        faults = ()
    full = (Recipe("disk-full", "web", 1, 3),) if options["disk_full"] else ()
    more = tuple(recipe_in(text) for text in options["fault"])
    changes = tuple(Recipe(kind, "", 2 * options[kind], MOVE_S) for kind in CHANGES if options[kind])
    everything = (*faults, *full, *more, *changes, *_moves(options["moves"] or 0, seed, stages))
    return tuple(recipe for recipe in everything if recipe.times)


def recipe_in(text: str) -> Recipe:
    """A fault as a person writes it: "kill database 5", "pause web 2 10", "kill all haproxy 3"."""
    words, made = text.split(), None
    amount: Amount = "one"
    if words[1:2] == ["all"]:
        amount, words = "all", [words[0], *words[2:]]
    if len(words) in (3, 4) and words[0] in KINDS:
        with contextlib.suppress(ValueError):
            made = Recipe(words[0], words[1], int(words[2]), float(words[3]) if words[3:] else 0.0, amount)
    if made is None or not 0 < made.times <= MOST_FAULTS or not 0 <= made.for_s <= LONGEST_FAULT_S:
        raise UsageError(
            f"{text!r} is not a fault.",
            hint=f'Give kind, target, how often, and for how many seconds where it lasts: "pause web 2 10". '
            f"Kinds: {', '.join(KINDS)}.",
        )
    return made


def _moves(times: int, seed: int, stages: int) -> tuple[Recipe, ...]:
    """Moves there and back, an even number so that the deployment ends where it was."""
    killed = times // 2
    whole = 2 * times - killed
    hit = [1 + (seed + number * 5) % stages for number in range(killed)]
    return (Recipe(MOVE, "", whole, MOVE_S), *(Recipe(MOVE_KILLED, str(stage), 1, MOVE_S) for stage in hit))


def _folder(below: Path, seed: int) -> Path:
    return private_dir(private_dir(below) / f"{SYSTEM_CLOCK.wall_us() // 1_000_000}-{seed}")


def _say(text: str) -> None:
    click.echo(f"  {text}", err=True)


def _announce(order: Order, missing: str) -> None:
    _say(f"seed {order.seed}: the same schedule again with --seed {order.seed}")
    _say(f"{order.rate:g} requests/s for {order.seconds:g} s: {', '.join(order.workloads)}")
    if order.connections:
        _say(f"beside them clients of connections: {', '.join(NAMES)}")
    for planned in order.faults:
        _say(str(planned))
    if missing:
        _say(missing)


def _reached(outcome: Outcome, rate: float) -> None:
    if outcome.partial:
        _say("Interrupted: faults are undone, the verdicts are of what was seen until then.")
    elif outcome.reached is not None and outcome.reached.rate < rate * 0.95:
        _say(f"This machine sent {outcome.reached.rate:.0f} requests/s of the {rate:g} that were asked for.")
    if outcome.reached is not None and outcome.reached.late:
        _say(f"{outcome.reached.late} requests were due while all {CLIENTS_MAX} clients waited, and were not sent.")
    for note in outcome.notes:
        _say(note)


def _report(folder: Path, history: Path, outcome: Outcome, service: str, order: Order) -> Path:
    facts = {
        "service": service,
        "rate asked": order.rate,
        "rate reached": round(outcome.reached.rate, 1) if outcome.reached else 0,
        "seconds": order.seconds,
        "requests never sent": outcome.reached.late if outcome.reached else 0,
        "partial": outcome.partial,
        "command": f"tenfold prove --seed {order.seed} --rate {order.rate:g} --seconds {order.seconds:g}",
        "notes": outcome.notes,
    }
    page = render(read_history(history), outcome.verdicts, title=f"Proof of {service}", facts=facts)
    path = folder / "report.html"
    atomic_write(path, page.encode())
    verdicts = {"verdicts": as_json(outcome.verdicts), "seed": order.seed}
    atomic_write(folder / "verdicts.json", json.dumps(verdicts, indent=2).encode())
    return path


def _tell(verdicts: Sequence[Verdict], seed: int, report: Path, as_json_: bool) -> int:
    if as_json_:
        click.echo(json.dumps({"verdicts": as_json(verdicts), "seed": seed, "report": str(report)}))
    else:
        for verdict in verdicts:
            word = click.style(f"{verdict.verdict.value:<8}", fg=_COLOURS[verdict.verdict.value], bold=True)
            bound = f", at most {verdict.bound:.2g} of them fail (95 %)" if verdict.bound is not None else ""
            click.echo(f"{verdict.id:<4} {word} n={verdict.n} {verdict.unit}{bound}")
            click.echo(f"              {verdict.detail}")
        click.echo(f"Report: {report}")
    return 0 if passed(verdicts) else EXIT_ERROR
