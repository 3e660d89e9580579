"""The dashboard's page in a real Chromium: how soon it paints, and how long a new picture takes to be drawn."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

import msgspec

from bench.report import table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import page_scenes as scenes
from browsing import driving, window
from page_looking import look, look_of
from page_server import PageServer

LOADS = 7
SIZES = (3, 50, 500)


def main() -> None:
    """Opens the page anew several times, then draws pictures of several sizes, each with other figures than before."""
    with driving() as driver, window(driver) as browser:
        server = PageServer()
        try:
            painted = []
            for _ in range(LOADS):
                look(browser, server)
                painted.append(first_paint_ms(browser))
            rows = [(f"first paint, median of {LOADS} (worst)", ms(painted))]
            rows += [(f"update of {size} nodes, median (worst)", ms(updates_ms(browser, size))) for size in SIZES]
        finally:
            server.stop()
    print(table("The page, ms (targets: first paint 1,000; 500 nodes without a stall)", ["what", "ms"], rows))


def first_paint_ms(browser: Any) -> float:
    """When something was seen for the first time, since the page was asked for."""
    return float(browser.script("return performance.getEntriesByName('first-contentful-paint')[0].startTime"))


def updates_ms(browser: Any, size: int) -> list[float]:
    """How long each update took, with layout: every node has another figure, one in seven another health."""
    pictures = [scenes.crowd(size), scenes.crowd(size, ill_every=7)]
    taken: list[float] = browser.script(look_of("updates"), [msgspec.json.encode(each).decode() for each in pictures])
    return taken


def ms(figures: list[float]) -> str:
    return f"{statistics.median(figures):.0f} ({max(figures):.0f})"
