"""The errors of the tasks block."""

from __future__ import annotations

from tenfold.core.errors import Conflict, InvalidRequest


class StaleAttempt(Conflict):
    """This attempt of a job does not count any more: it was given to another worker, cancelled, or is done."""

    code = "TF-TASK-STALE"
    title = "The attempt does not count any more"


class JobRefused(InvalidRequest):
    """A job cannot be enqueued: its arguments do not fit its function, or are too large. Nothing was written."""

    code = "TF-TASK-PAYLOAD"
    title = "The job cannot be enqueued"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint, status=422)
