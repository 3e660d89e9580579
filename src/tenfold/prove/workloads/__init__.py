"""The workloads: each says what to send, what an answer means, and which checker judges the run.

`KNOWN[name](run)` makes one; `run` is a short text that no other run against the same service has, so that keys and
Idempotency-Keys never meet those of another run. The seam for more: a class that satisfies
`Workload`, and a line in `KNOWN`.
"""

from __future__ import annotations

from collections.abc import Callable

from tenfold.prove.workloads.bank import BankWorkload
from tenfold.prove.workloads.base import PROBE, Answer, Request, Workload
from tenfold.prove.workloads.cache import CacheWorkload
from tenfold.prove.workloads.counter import CounterWorkload
from tenfold.prove.workloads.ids import IdsWorkload
from tenfold.prove.workloads.register import RegisterWorkload
from tenfold.prove.workloads.sessions import SessionsWorkload
from tenfold.prove.workloads.set import SetWorkload
from tenfold.prove.workloads.shortener import ShortenerWorkload
from tenfold.prove.workloads.tabs import TabsWorkload
from tenfold.prove.workloads.tasks import TasksWorkload

__all__ = ["KNOWN", "PROBE", "Answer", "Request", "Workload"]

KNOWN: dict[str, Callable[[str], Workload]] = {
    "set": SetWorkload,
    "register": RegisterWorkload,
    "counter": CounterWorkload,
    "bank": BankWorkload,
    "ids": IdsWorkload,
    "sessions": SessionsWorkload,
    "cache": CacheWorkload,
    "shortener": ShortenerWorkload,
    "tasks": TasksWorkload,
    "tabs": TabsWorkload,
}
