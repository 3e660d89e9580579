"""`tenfold`: the group, where commands are found, and how every error ends.

Exit codes: 0 done; 1 an error, told in one sentence with what to do next; 2 the command line was not understood; 3 the
service is not running or not ready; 130 interrupted with Ctrl-C.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tenfold.core.errors import TenfoldError, Unavailable

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("tenfold.cli.up", "Start the service and wait until it answers."),
    "down": ("tenfold.cli.down", "Stop the service; clients that are being answered are answered first."),
    "status": ("tenfold.cli.status", "Say what runs."),
    "advise": ("tenfold.cli.advise", "Say what to do next, by the figures: mostly nothing."),
    "plan": ("tenfold.cli.plan", "Say what would change, and what would wait for how long."),
    "climb": ("tenfold.cli.climb", "Take the next step, live: the data moves while it is written to."),
    "descend": ("tenfold.cli.descend", "Go back a step, live and without loss."),
    "scale": ("tenfold.cli.scale", "Run more or fewer web servers and workers, live."),
    "deploy": ("tenfold.cli.deploy", "Make new code run, without a gap; or leave everything as it is."),
    "rollback": ("tenfold.cli.rollback", "Make an older version of the code run again."),
    "versions": ("tenfold.cli.versions", "List the versions of the code that are kept."),
    "abort": ("tenfold.cli.abort", "Undo the move that is open."),
    "finalize": ("tenfold.cli.finalize", "Close the way back."),
    "moves": ("tenfold.cli.moves", "List the moves that there were."),
    "jobs": ("tenfold.cli.jobs", "Say which jobs wait, run and have failed; replay or cancel them."),
    "logs": ("tenfold.cli.logs", "Show what the processes have logged."),
    "run": ("tenfold.cli.run", "Run in the foreground, for containers and systemd."),
    "check": ("tenfold.cli.check", "Check the service against the contract without starting it."),
    "migrate": ("tenfold.cli.migrate", "Bring the database to the shape that the code expects."),
    "new": ("tenfold.cli.new", "Make a service that runs and whose tests pass."),
    "prove": ("tenfold.cli.prove", "Prove the promises: load and faults, then a verdict for each."),
    "load": ("tenfold.cli.load", "Send load at a fixed rate."),
    "tour": ("tenfold.cli.tour", "Watch a service grow, step by step, under load; leaves a report."),
    "break": ("tenfold.cli.break_", "Break a node on purpose."),
    "heal": ("tenfold.cli.heal", "Undo all faults."),
    "doctor": ("tenfold.cli.doctor", "Look at this machine: is everything there that is needed?"),
}
"""Name: the module that holds the command (as its attribute `command`) and its one-line help. Listed in this order."""

EXIT_ERROR, EXIT_USAGE, EXIT_NOT_RUNNING, EXIT_INTERRUPTED = 1, 2, 3, 130


@dataclass(frozen=True)
class Context:
    """What all commands share: `--dir`, as it was given."""

    chosen: Path | None = None

    def root(self) -> Path:
        """The folder of the service that is meant. Raises `UsageError` that says how to make one."""
        from tenfold.control.root import find_root  # noqa: PLC0415 - `tenfold --help` needs none of it

        return find_root(self.chosen, Path.cwd())


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with something to say about what goes on without the command."""


class Lazy(click.Group):
    """A group that imports a command's module when it is called, so that no command pays for another."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found = importlib.import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(found, click.Command), f"{cmd_name} is not a command"
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_module, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"There is no command {args[0]!r}.{_near(args[0])}", ctx)
        return super().resolve_command(ctx, args)


def _near(word: str) -> str:
    import difflib  # noqa: PLC0415 - only for a word that is none

    near = difflib.get_close_matches(word, COMMANDS, n=1)
    return f" Did you mean `tenfold {near[0]}`?" if near else ""


def _version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        from tenfold import __version__  # noqa: PLC0415

        click.echo(f"tenfold {__version__}")
        ctx.exit()


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.option(
    "--dir", "chosen", type=click.Path(path_type=Path), help="The folder of the service (of its tenfold.toml)."
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.pass_context
def tenfold(ctx: click.Context, chosen: Path | None) -> None:
    """One Python service, from one process to millions of users.

    Without --dir a command means the service in this folder or the nearest one above it.
    """
    ctx.obj = Context(chosen)


def main(argv: list[str] | None = None) -> None:
    """The console script: runs a command and ends the process with its exit code."""
    sys.exit(run(argv))


def run(argv: list[str] | None = None) -> int:
    """Runs a command; its exit code. Every error becomes a sentence on standard error."""
    try:
        result: Any = tenfold.main(args=argv, prog_name="tenfold", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as interrupt:
        # click puts what it caught behind an Abort of its own.
        click.echo(f"Interrupted. {interrupt.__cause__ or interrupt}".rstrip(), err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough. What is buffered would fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except TenfoldError as error:
        tell(error)
        return EXIT_NOT_RUNNING if isinstance(error, Unavailable) and error.code == "TF-NOT-RUNNING" else EXIT_ERROR
    except Exception as error:  # noqa: BLE001 - a person never sees a trace unasked
        click.echo(_unexpected(error), err=True)
        return EXIT_ERROR
    return result if isinstance(result, int) else 0


def tell(error: TenfoldError) -> None:
    """The sentence and the hint of an error, on standard error."""
    click.echo(f"{click.style('Error:', fg='red', bold=True)} {error.message}", err=True)
    if error.hint:
        click.echo(error.hint, err=True)


def _unexpected(error: Exception) -> str:
    """One sentence; the trace goes into a file for who wants to report it."""
    sentence = f"Error: something unexpected happened: {type(error).__name__}: {error}"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="tenfold-", suffix=".trace", delete=False) as file:
            traceback.print_exception(error, file=file)
        return f"{sentence}\nThe details are in {file.name}; please report them."
    except OSError:
        return f"{sentence}\nThe details could not be saved; run it again with a disk that has room."


if __name__ == "__main__":
    main()
