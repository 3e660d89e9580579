"""Tenfold: one Python service, from one process to millions of users.

These are all the names that a service imports. They are loaded when they are first used, so that parts which need only
the standard library (the keeper, the command line) do not pay for the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Column

    from tenfold.blocks.cache import MISSING
    from tenfold.blocks.database import Transaction, home, replicated, sharded_by
    from tenfold.blocks.database.types import (
        Bool,
        Bytes,
        Choice,
        Decimal,
        Float,
        Int64,
        Json,
        Text,
        UtcDateTime,
        Uuid,
    )
    from tenfold.blocks.events import Event
    from tenfold.blocks.files import File, Form
    from tenfold.blocks.kv import Entry
    from tenfold.blocks.limits import LimitExceeded
    from tenfold.blocks.sessions import CsrfRefused, Session, SessionRefused
    from tenfold.blocks.tasks import Retry, StaleAttempt
    from tenfold.core.errors import Conflict, InvalidRequest, NotFound, TenfoldError, Unavailable
    from tenfold.prove.probe.app import Probe
    from tenfold.serve.hot import Request, Response
    from tenfold.serve.replay import replayable
    from tenfold.service import Tenfold

__version__ = "0.1.0"

_HOMES = {
    "Tenfold": "tenfold.service",
    "Column": "sqlalchemy",
    "Bool": "tenfold.blocks.database.types",
    "Bytes": "tenfold.blocks.database.types",
    "Choice": "tenfold.blocks.database.types",
    "Decimal": "tenfold.blocks.database.types",
    "Float": "tenfold.blocks.database.types",
    "Int64": "tenfold.blocks.database.types",
    "Json": "tenfold.blocks.database.types",
    "Text": "tenfold.blocks.database.types",
    "UtcDateTime": "tenfold.blocks.database.types",
    "Uuid": "tenfold.blocks.database.types",
    "Transaction": "tenfold.blocks.database",
    "home": "tenfold.blocks.database",
    "replicated": "tenfold.blocks.database",
    "sharded_by": "tenfold.blocks.database",
    "Entry": "tenfold.blocks.kv",
    "File": "tenfold.blocks.files",
    "Form": "tenfold.blocks.files",
    "MISSING": "tenfold.blocks.cache",
    "LimitExceeded": "tenfold.blocks.limits",
    "Event": "tenfold.blocks.events",
    "CsrfRefused": "tenfold.blocks.sessions",
    "Session": "tenfold.blocks.sessions",
    "SessionRefused": "tenfold.blocks.sessions",
    "Probe": "tenfold.prove.probe.app",
    "Request": "tenfold.serve.hot",
    "Response": "tenfold.serve.hot",
    "replayable": "tenfold.serve.replay",
    "Retry": "tenfold.blocks.tasks",
    "StaleAttempt": "tenfold.blocks.tasks",
    "Conflict": "tenfold.core.errors",
    "InvalidRequest": "tenfold.core.errors",
    "NotFound": "tenfold.core.errors",
    "TenfoldError": "tenfold.core.errors",
    "Unavailable": "tenfold.core.errors",
}

__all__ = [
    "MISSING",
    "Bool",
    "Bytes",
    "Choice",
    "Column",
    "Conflict",
    "CsrfRefused",
    "Decimal",
    "Entry",
    "Event",
    "File",
    "Float",
    "Form",
    "Int64",
    "InvalidRequest",
    "Json",
    "LimitExceeded",
    "NotFound",
    "Probe",
    "Request",
    "Response",
    "Retry",
    "Session",
    "SessionRefused",
    "StaleAttempt",
    "Tenfold",
    "TenfoldError",
    "Text",
    "Transaction",
    "Unavailable",
    "UtcDateTime",
    "Uuid",
    "home",
    "replayable",
    "replicated",
    "sharded_by",
]


def __getattr__(name: str) -> Any:
    try:
        module = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'tenfold' has no attribute {name!r}") from None
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
