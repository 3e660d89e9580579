"""What `prove` and `load` share: where the load goes, and which workloads can run there."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from tenfold.control.deployment import Deployment
from tenfold.control.place import Place
from tenfold.control.standing import address_of
from tenfold.core.errors import NotFound, Unavailable, UsageError
from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.prove.client import Connection, Target
from tenfold.prove.probe.secret import probe_secret, secret_path
from tenfold.prove.workloads import KNOWN, PROBE, Request
from tenfold.topology.map import Map

R = TypeVar("R")

SERVICE_WORKLOADS = {"shortener": ("shortener",)}
"""Workloads that speak a service's own API, by the service's name."""

_OWN = {name for names in SERVICE_WORKLOADS.values() for name in names}
PROBE_WORKLOADS = tuple(name for name in KNOWN if name not in _OWN)
ADD_PROBE = "Wrap its app with one line: `app = tf.asgi(Probe(tf, app), ...)` (`from tenfold import Probe`)."


async def cancelled_by_signals(work: Coroutine[None, None, R]) -> R:
    """Runs `work`; Ctrl-C and SIGTERM cancel it, so that it undoes what it made. Also where a shell without job control
    started this process in the background, which means with SIGINT ignored."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def running_map(place: Place) -> Map:
    """The map of a deployment that runs; `Unavailable` when it does not."""
    current = place.read_map()
    if current is None or Deployment(place).facts()["state"] == "stopped":
        raise Unavailable("Nothing runs here.", hint="`tenfold up` starts it.", code="TF-NOT-RUNNING")
    return current


def target_of(place: Place, current: Map) -> Target:
    """Where the load goes, with the probe's secret when the service has made one."""
    address = urlsplit(address_of(current))
    secret = ""
    if secret_path(place.state).exists():
        secret = probe_secret(place.state, SYSTEM_RANDOMNESS)
    return Target(address.hostname or "127.0.0.1", address.port or 80, secret)


async def check_target(target: Target) -> None:
    """`Unavailable` when nothing answers there."""
    connection = Connection(target.host, target.port)
    heard = await connection.exchange(Request("GET", "/healthz", "up", ""), {})
    await connection.aclose()
    if heard.answer is None or heard.answer.status != 200:
        raise Unavailable(
            f"http://{target.host}:{target.port} does not answer.",
            hint="Look with `tenfold status`; `tenfold up` helps.",
        )


async def has_probe(target: Target) -> bool:
    """Whether the service answers below the probe's path."""
    connection = Connection(target.host, target.port)
    request = Request("GET", f"{PROBE}set/is-there-a-probe", "read_all", "")
    heard = await connection.exchange(request, {"tf-probe": target.secret} if target.secret else {})
    await connection.aclose()
    answer = heard.answer
    found = answer.json() if answer is not None and answer.status == 200 else None
    return isinstance(found, dict) and "values" in found


async def choose_workloads(target: Target, service: str, wanted: Sequence[str]) -> tuple[tuple[str, ...], str, bool]:
    """The workloads that can run, what cannot be proven ("" when all can), and whether it has a probe."""
    unknown = [name for name in wanted if name not in KNOWN]
    if unknown:
        raise UsageError(f"There is no workload {unknown[0]!r}.", hint=f"There are: {', '.join(KNOWN)}.")
    probe = await has_probe(target)
    possible = (*(PROBE_WORKLOADS if probe else ()), *SERVICE_WORKLOADS.get(service, ()))
    chosen = tuple(name for name in possible if not wanted or name in wanted)
    if not chosen:
        raise NotFound(
            f"{service} has no probe, and no workload of ours speaks its API, so nothing can be proven.", hint=ADD_PROBE
        )
    missing = "" if probe else f"{service} has no probe: P3, P8 and P9 cannot be proven. {ADD_PROBE}"
    return chosen, missing, probe


def database_of(current: Map) -> Path | None:
    """The SQLite file of the deployment; None when the data is not in it."""
    return Path(current.database.path) if current.database.backend == "sqlite" else None
