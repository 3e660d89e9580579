"""`tenfold jobs`: what waits, runs and has failed for good; one job shown, replayed or cancelled."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from tenfold.cli.main import Context
from tenfold.control.jobs import ask_jobs
from tenfold.control.place import Place
from tenfold.control.words import Facts, took_words
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.units import escaped

_STATES = ("ready", "scheduled", "running", "dead", "unknown", "done")


@click.group(name="jobs", invoke_without_command=True)
@click.option("--dead", is_flag=True, help="List the dead letters: jobs that have failed for good.")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
@click.pass_context
def command(ctx: click.Context, dead: bool, as_json: bool) -> None:
    """Say how many jobs of each queue wait, run, and have failed for good (dead letters).

    \b
      tenfold jobs --dead               the dead letters, with why each failed
      tenfold jobs show ID              one job, with its arguments
      tenfold jobs replay ID            a dead letter runs again
      tenfold jobs replay --task NAME   all of that task do
      tenfold jobs cancel ID            a job that waits is removed; one that runs is asked to end

    A state: `ready` (due), `scheduled` (later), `running`, `dead`, `unknown` (the code has no task of that name),
    `done` (kept because its task says so).
    """
    if ctx.invoked_subcommand is not None:
        return
    place = Place(ctx.ensure_object(Context).root())
    if dead:
        letters = dead_letters(place)
        click.echo(json.dumps(letters, indent=2) if as_json else "\n".join(dead_lines(letters)))
        return
    queues = ask_jobs(place, "counts")["queues"]
    click.echo(json.dumps(queues, indent=2) if as_json else "\n".join(queue_lines(queues, SYSTEM_CLOCK.wall_us())))


@command.command()
@click.argument("job_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
@click.pass_obj
def show(context: Context, job_id: str, as_json: bool) -> None:
    """Show one job: its task, state, attempts, progress, why it failed, its arguments."""
    job = ask_jobs(Place(context.root()), "show", id=job_id)["job"]
    click.echo(json.dumps(job, indent=2) if as_json else "\n".join(job_lines(job)))


@command.command()
@click.argument("job_id", metavar="[ID]", required=False)
@click.option("--task", help="All dead letters of this task.")
@click.pass_obj
def replay(context: Context, job_id: str | None, task: str | None) -> None:
    """Make a dead letter ready again, its attempts counted anew; or all of a task."""
    if (job_id is None) == (task is None):
        raise click.UsageError("Give the id of a dead letter, or --task NAME.")
    fields = {"id": job_id} if task is None else {"task": task}
    count = ask_jobs(Place(context.root()), "replay", **fields)["replayed"]
    click.echo(f"{count} job{'' if count == 1 else 's'} will run again.")


@command.command()
@click.argument("job_id", metavar="ID")
@click.pass_obj
def cancel(context: Context, job_id: str) -> None:
    """Remove a job that waits; ask one that runs to end."""
    how = ask_jobs(Place(context.root()), "cancel", id=job_id)["cancelled"]
    words = {"cancelled": "is cancelled; it had not begun", "asked": "runs, and was asked to end"}
    click.echo(f"The job {job_id} {words[how]}.")


def dead_letters(place: Place) -> list[Facts]:
    """All of them, the oldest first."""
    letters: list[Facts] = []
    while True:
        page = ask_jobs(place, "dead", after=letters[-1]["id"] if letters else "")
        letters += page["jobs"]
        if not page["more"]:
            return letters


def queue_lines(queues: Sequence[Facts], now_us: int) -> list[str]:
    """The queues as a person reads them."""
    if not queues:
        return ["There are no jobs."]
    lines = [f"{'queue':<16}" + "".join(f"{state:>11}" for state in _STATES) + "  oldest ready"]
    for queue in queues:
        due = queue["oldest_due_us"]
        waits = took_words(max(0, now_us - due) / 1e6) if queue["ready"] and due is not None else "-"
        lines.append(f"{queue['queue']:<16}" + "".join(f"{queue[state]:>11,}" for state in _STATES) + f"  {waits}")
    return lines


def dead_lines(letters: Sequence[Facts]) -> list[str]:
    """The dead letters as a person reads them; what a client may have put into an error cannot reach the terminal."""
    if not letters:
        return ["There are no dead letters."]
    lines = []
    for letter in letters:
        lines.append(f"{letter['id']}  {letter['name']} (queue {letter['queue']}), {_attempts(letter)}")
        lines += [f"    {escaped(letter['error'].strip().splitlines()[-1])}"] if letter["error"].strip() else []
    return [*lines, "`tenfold jobs replay ID` runs one again, `tenfold jobs replay --task NAME` all of a task."]


def job_lines(job: Facts) -> list[str]:
    """One job as a person reads it."""
    lines = [f"{job['id']}: {job['name']} (queue {job['queue']}), {job['state']}, {_attempts(job)}"]
    if job["progress"] is not None or job["text"]:
        share = "" if job["progress"] is None else f"{job['progress']:.0%} "
        lines.append(f"  progress   {share}{escaped(job['text'])}".rstrip())
    lines.append(f"  arguments  {escaped(job['payload'])}")
    lines += [f"  result     {escaped(job['result'])}"] if job["result"] is not None else []
    return lines + [f"  {escaped(line)}" for line in job["error"].splitlines()]


def _attempts(job: Facts) -> str:
    crashes = job["crashes"]
    killed = f", {crashes} of them killed their process" if crashes else ""
    return f"{job['attempt']} attempt{'' if job['attempt'] == 1 else 's'}{killed}"
