"""Figures of a real deployment: what was asked of it is what they say."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import Deployed, deployed

from tenfold.control.figures.between import figures_between
from tenfold.control.figures.model import Figures, NodeFigures, Traffic
from tenfold.control.figures.sampler import Sampler
from tenfold.control.place import Place
from tenfold.core.clock import SYSTEM_CLOCK

ADDED, FAILED = 30, 4


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Deployed]:
    with deployed(tmp_path / "small") as made:
        made.up()
        yield made


def ask(running: Deployed) -> None:
    """So many writes and as many reads, and requests that the service fails at."""
    port = int(running.status()["keeper"]["port"])
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    paths = [path for number in range(ADDED) for path in (f"/add/{number}", "/count")]
    for path in [*paths, *["/add/no-number"] * FAILED]:
        conn.request("GET", path)
        conn.getresponse().read()
    conn.close()


async def figures_of(running: Deployed) -> Figures:
    with Sampler(Place(running.root), SYSTEM_CLOCK) as sampler:
        before = await sampler.look()
        await asyncio.to_thread(ask, running)
        return figures_between(before, await sampler.look())


def count(flow: Traffic | None, figures: Figures) -> tuple[int, int]:
    """How many passed, and how many of them failed."""
    assert flow is not None
    return round(flow.rate * figures.window_s), round(flow.errors * figures.window_s)


def test_what_was_asked_is_what_the_figures_say(running: Deployed) -> None:
    figures = asyncio.run(figures_of(running))
    assert figures.silent == ()
    assert count(figures.public, figures) == (2 * ADDED + FAILED, FAILED)
    assert figures.public.p99_ms is not None
    assert figures.public.p99_ms > 0
    web = figures.node("web-1")
    assert isinstance(web, NodeFigures)
    reads, writes = count(web.reads, figures), count(web.writes, figures)
    assert reads[0] >= ADDED
    assert writes[0] >= ADDED
    assert web.writes is not None
    assert web.writes.p50_ms is not None
    assert web.cpu is not None
    assert 0 < web.cpu <= figures.machine.cores
    assert web.memory > 10 << 20
    assert web.cpu_max <= 1.0
    assert {node.node for node in figures.nodes} == {"controller", "web-1", "keeper"}
    assert figures.machine.cpu >= web.cpu / 2
