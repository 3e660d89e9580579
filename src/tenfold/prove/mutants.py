"""Mutants of the system: faults put into a service on purpose, so that the checkers can be checked.

Each breaks one promise from the outside, by replacing a function of a block, and names the checker that must find it.
For tests only: a service becomes a mutant only if its own code calls `install` (tests/support/mutant_app.py does) and
the environment says `TENFOLD_MUTANT=<name>` together with `TENFOLD_TESTING=1`. Nothing else imports this module, so in
a normal process none of it exists. A mutant says what it is in its log and wherever readiness is shown (`status`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from sqlite3 import Connection
from threading import Event
from typing import Any

from tenfold.blocks import ids as ids_block
from tenfold.blocks.cache import Cache
from tenfold.blocks.database.sqlite.backend import SqliteBackend
from tenfold.blocks.database.sqlite.scopes import SqliteReader
from tenfold.blocks.ids.policy import BACK_STEP_MAX_MS, TICKS_PER_MS, next_tick
from tenfold.core.errors import UsageError
from tenfold.drivers.sqlite import Writer, open_reader
from tenfold.drivers.sqlite.writer import Job
from tenfold.serve.asgi import TenfoldASGI

VARIABLE = "TENFOLD_MUTANT"
PERMISSION = "TENFOLD_TESTING"
EVERY = 3
"""A mutant that misbehaves now and then does so each third time."""
COMMIT_LATER_S = 0.05
OLD_FOR = 20
"""Reads that one old snapshot answers before the next one is taken."""

log = logging.getLogger("tenfold.mutant")

Replace = Callable[[object, str, Any], None]
"""`setattr`, or something that can undo it."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: the workload that meets it, the checker that must find it, and what puts it in."""

    workload: str
    checker: str
    fault: str
    apply: Callable[[Replace], None]


def chosen(environment: Mapping[str, str]) -> str:
    """The mutant that the environment asks for, or an empty text.

    Raises `UsageError` when it asks for one without permission, or for one that does not exist.
    """
    name = environment.get(VARIABLE, "")
    if name and environment.get(PERMISSION) != "1":
        raise UsageError(
            f"{VARIABLE}={name} asks for a service that breaks its promises, and {PERMISSION}=1 is not set.",
            hint=f"Unset {VARIABLE}; it is for the tests of the checkers only.",
        )
    if name and name not in MUTANTS:
        raise UsageError(f"There is no mutant {name!r}.", hint=f"Known are: {', '.join(MUTANTS)}.")
    return name


def install(environment: Mapping[str, str], replace: Replace = setattr) -> str:
    """Makes this process the mutant that the environment asks for, loudly; its name, or an empty text for none.

    Call it before `tf.asgi` and before the blocks open.
    """
    name = chosen(environment)
    if name:
        MUTANTS[name].apply(replace)
        _be_loud(name, replace)
    return name


def _be_loud(name: str, replace: Replace) -> None:
    sentence = f"this process is the mutant {name}: {MUTANTS[name].fault}. Never trust it with anything."
    log.critical("%s", sentence)
    normal = TenfoldASGI.ready

    def ready(self: TenfoldASGI) -> tuple[bool, str]:
        is_ready, reason = normal(self)
        return is_ready, f"{reason} {sentence}".strip()

    replace(TenfoldASGI, "ready", ready)


def _reply_before_commit(replace: Replace) -> None:
    run_job, commit = Writer._run_job, Writer._commit

    def answer_at_once(self: Writer, connection: Connection, job: Job) -> None:
        run_job(self, connection, job)
        if job.error is None and not job.future.done():
            job.future.set_result(job.result)

    def commit_later(self: Writer) -> BaseException | None:
        Event().wait(COMMIT_LATER_S)
        return commit(self)

    replace(Writer, "_run_job", answer_at_once)
    replace(Writer, "_commit", commit_later)


def _ignore_token(replace: Replace) -> None:
    """Reads are answered by a replica that lags, as it were, whatever the client has seen already."""
    normal = SqliteBackend.read
    old: dict[int, Connection] = {}
    answered = count()

    def read(self: SqliteBackend, keys: Any, consistency: Any, snapshot: bool) -> Any:
        scope = normal(self, keys, consistency, snapshot)
        if not isinstance(scope, SqliteReader):
            return scope
        connection = old.get(id(self)) or old.setdefault(id(self), open_reader(self.config.path))
        if next(answered) % OLD_FOR == 0:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        scope._connection = connection
        return scope

    replace(SqliteBackend, "read", read)


def _skip_invalidation(replace: Replace) -> None:
    normal = Cache.invalidate
    asked = count(1)

    def invalidate(self: Cache, tx: Any, function: Any, /, *args: Any, **kwargs: Any) -> None:
        if next(asked) % EVERY:
            normal(self, tx, function, *args, **kwargs)

    replace(Cache, "invalidate", invalidate)


def _rerun_unkeyed_post(replace: Replace) -> None:
    normal = TenfoldASGI.__init__
    asked = count(1)

    def made(self: TenfoldASGI, app: Any, *args: Any, **kwargs: Any) -> None:
        async def rerun(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and _is_unkeyed_post(scope) and next(asked) % EVERY == 0:
                receive = await _again(app, scope, receive)
            await app(scope, receive, send)

        normal(self, rerun, *args, **kwargs)

    replace(TenfoldASGI, "__init__", made)


def _is_unkeyed_post(scope: Any) -> bool:
    return scope["method"] == "POST" and all(name != b"idempotency-key" for name, _ in scope["headers"])


async def _again(app: Any, scope: Any, receive: Any) -> Callable[[], Any]:
    """Runs a request whose answer nobody gets; a `receive` for running it once more."""
    messages = [await receive()]
    while messages[-1].get("more_body", False):
        messages.append(await receive())

    def replay() -> Callable[[], Any]:
        left = iter(messages)

        async def next_message() -> Any:
            return next(left, None) or await receive()

        return next_message

    async def drop(message: Any) -> None:
        pass

    await app(scope, replay(), drop)
    return replay()


def _ignore_clock_step(replace: Replace) -> None:
    def heedless(now: int, last: int) -> int:
        return now if last - now > BACK_STEP_MAX_MS * TICKS_PER_MS else next_tick(now, last)

    replace(ids_block, "next_tick", heedless)


MUTANTS: dict[str, Mutant] = {
    "reply-before-commit": Mutant(
        "set", "set-full", "it acknowledges writes before they are on the disk", _reply_before_commit
    ),
    "ignore-token": Mutant("sessions", "session-guarantees", "its reads fall behind what clients saw", _ignore_token),
    "skip-invalidation": Mutant(
        "cache", "staleness", "it forgets to invalidate one cached value in three", _skip_invalidation
    ),
    "rerun-unkeyed-post": Mutant(
        "counter", "counter-bounds", "it runs one POST in three without a key twice", _rerun_unkeyed_post
    ),
    "ignore-clock-step": Mutant("ids", "unique-ids", "its ids go back when the clock does", _ignore_clock_step),
}
