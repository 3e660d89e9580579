"""The vocabulary of errors.

Every error a person can meet has a code, one sentence that says what happened, and a hint that says what to do next.
The same object becomes a line on the terminal, a problem document over HTTP (RFC 9457) and a row in `--json`.

Three outcomes are kept apart because callers must act differently on them:

- an ordinary error: surely not applied;
- `Unavailable`: surely not applied, and worth trying again after `retry_after_s`;
- `UnknownOutcome`: may or may not have been applied; only a look-up by commit id can tell.
"""

from __future__ import annotations


class TenfoldError(Exception):
    """Base of all errors that Tenfold raises on purpose.

    `code` is stable and documented (`TF-...`), `status` is the HTTP status when the error reaches a client,
    `public` says whether an HTTP client is told more than the title and the code: `for_clients`, and the hint.
    `outside` is the sentence for clients where the message, which logs and terminals show, names tables or servers.
    `replayable` whether the very same work, begun anew in a moment, may succeed because what failed it is passing (a
    database server that went away, an old map): surely not applied, and the web process may run its request again.
    """

    code = "TF-0"
    title = "Something went wrong"
    status = 500
    public = False
    outside = ""
    replayable = False

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    @property
    def for_clients(self) -> str:
        """The sentence that an HTTP client may read; empty for an error that is not `public`."""
        return (self.outside or self.message) if self.public else ""

    def __str__(self) -> str:
        text = f"{self.code}: {self.message}"
        return f"{text} {self.hint}" if self.hint else text


class ContractError(TenfoldError):
    """The service's code breaks a rule of the contract; the message names the rule (docs/contract.md)."""

    code = "TF-CONTRACT"
    title = "The service breaks a rule of its contract"


class UsageError(TenfoldError):
    """A person asked for something that cannot be done as it was asked."""

    code = "TF-USAGE"
    title = "This cannot be done as asked"
    status = 400
    public = True


class SpecError(UsageError):
    """tenfold.toml (or another file a person writes) says something that is not allowed."""

    code = "TF-SPEC"
    title = "The specification is not valid"


class InvalidRequest(TenfoldError):
    """An HTTP client sent something that cannot be accepted; the message is for that client."""

    code = "TF-REQUEST"
    title = "The request is not valid"
    status = 400
    public = True

    def __init__(self, message: str, *, hint: str = "", code: str | None = None, status: int | None = None) -> None:
        super().__init__(message, hint=hint, code=code)
        if status is not None:
            self.status = status


class Conflict(TenfoldError):
    """The write collides with what is stored (a unique value that is taken, a changed row)."""

    code = "TF-CONFLICT"
    title = "The write collides with what is stored"
    status = 409
    public = True


class RowExists(Conflict):
    """A unique rule refused a row; the message names its columns."""

    outside = "Something with the same value exists already."


class RuleBroken(Conflict):
    """A NOT NULL, CHECK or other rule of a table refused a row; the message names the rule."""

    outside = "What was sent cannot be stored as it is."


class NotFound(TenfoldError):
    """What was asked for does not exist."""

    code = "TF-NOT-FOUND"
    title = "Not found"
    status = 404
    public = True


class Unavailable(TenfoldError):
    """Surely not applied; the same request is worth sending again after `retry_after_s` seconds."""

    code = "TF-UNAVAILABLE"
    title = "Not available right now"
    status = 503
    public = True

    def __init__(self, message: str, *, hint: str = "", code: str | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message, hint=hint, code=code)
        self.retry_after_s = retry_after_s


class Interrupted(Unavailable):
    """The database went away in the middle of a read, which cannot go on elsewhere by itself: begin it anew."""

    code = "TF-INTERRUPTED"
    title = "The database went away in the middle of it"
    replayable = True


class StaleMap(TenfoldError):
    """The fence refused a writer with an old map (TF001): adopt the new map and go where it says. Not applied."""

    code = "TF001"
    title = "The map of this process is old"


class StorageFull(Unavailable):
    """The disk (or a quota on it) is full: nothing was saved, and nothing that was saved is lost."""

    code = "TF-DISK-FULL"
    title = "The disk is full"
    outside = "There is no room left to save anything."
    status = 507


class StorageDamaged(TenfoldError):
    """A file of the service cannot be read as what it should be, or the medium fails."""

    code = "TF-DAMAGED"
    title = "Stored data cannot be read"


class UnknownOutcome(TenfoldError):
    """The write may or may not have been applied; repeating it is safe only with an Idempotency-Key."""

    code = "TF-UNKNOWN"
    title = "It is not known whether the write was applied"
    status = 500
