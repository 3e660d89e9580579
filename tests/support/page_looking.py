"""How tests look at the page: opening it, the size of the window, what the person prefers, waiting for something."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from browsing import Browser
from page_server import PageServer

LOOKS = Path(__file__).parents[1] / "unit" / "dashboard" / "page" / "looks"


def look(browser: Browser, server: PageServer) -> None:
    """Opens the page and waits until it is drawn, with the words and the ladder."""
    browser.open(server.url)
    browser.find("body.drawn")
    browser.find("#steps li")


def look_of(name: str) -> str:
    """A question to the page, in JavaScript: a file of tests/unit/dashboard/page/looks."""
    return (LOOKS / f"{name}.js").read_text("utf-8")


def screen(browser: Browser, width: int, height: int) -> None:
    """How large the window is."""
    browser.devtools(
        "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
    )


def prefer(browser: Browser, scheme: str = "light", motion: str = "no-preference") -> None:
    """What the person's system prefers."""
    wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
    browser.devtools(
        "Emulation.setEmulatedMedia", features=[{"name": name, "value": value} for name, value in wanted.items()]
    )


def until(browser: Browser, condition: str, *arguments: Any, limit_s: float = 15.0) -> Any:
    """Waits until a JavaScript expression is true, and gives its value."""
    end_s = time.monotonic() + limit_s
    while not (found := browser.script(f"return ({condition})", *arguments)):
        assert time.monotonic() < end_s, f"it did not come to be: {condition}"
        time.sleep(0.02)
    return found
