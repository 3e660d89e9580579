"""Takes the pictures of docs/images: the dashboard of a real deployment in a real browser, on each step, under load.

    python scripts/screenshots.py [FOLDER]

It needs Chromium with chromedriver, PostgreSQL and HAProxy, what `pip install --editable ".[dev]"` brings, and about
two calm minutes. The deployment is the shortener in a temporary folder; nothing of it is left. With `pngquant` the
pictures become small; one that is larger than 150 kB is an error, since every reader loads them.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
os.environ["TENFOLD_DASHBOARD"] = "on"

import deployed  # noqa: E402 - it is beside the tests
from browsing import Browser, driving, window  # noqa: E402
from dashing import Page, dashboard_of, until  # noqa: E402
from shortened import SPEC, shortened  # noqa: E402

IMAGES = ROOT / "docs" / "images"
WIDTH, HEIGHT = 1360, 850
LARGEST = 150_000
RATE, SECONDS = 50, 600
"""The load from the page: enough to be seen on every arrow, too little to make anything wait."""
CALM_S = 35.0
"""For how long it is looked at before a picture is taken: the figures are of this step, what a move did is over."""
LIMIT_S = 240.0


def main() -> None:
    """Brings the deployment up, and takes a picture on every step."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    folder.mkdir(parents=True, exist_ok=True)
    deployed.LIMIT_S = LIMIT_S
    with tempfile.TemporaryDirectory() as place, shortened(Path(place) / "shortener", up=False) as made:
        (made.root / "tenfold.toml").write_text(f"{SPEC}[dashboard]\nport = 0\n")
        made.up()
        with driving() as driver, window(driver) as browser:
            take_all(Page(dashboard_of(made)["address"]), browser, folder)
        made.tenfold("down")


def take_all(page: Page, browser: Browser, folder: Path) -> None:
    """All pictures, on the way up."""
    page.post("/api/load", {"rate": RATE, "seconds": SECONDS})
    take(page, browser, folder / "step-1.png")
    change(page, {"to": "climb", "step": 2})
    take(page, browser, folder / "step-2.png")
    change(page, {"to": "climb", "step": 3})
    change(page, {"to": "scale", "web": 3, "worker": 1})
    take(page, browser, folder / "step-3.png")
    take(page, browser, folder / "step-3-dark.png", scheme="dark", calm_s=2.0)


def change(page: Page, body: dict[str, Any]) -> None:
    """A change, to the end of its last move."""
    before = len(page.get("/api/ladder")["history"])
    moves = 1 + len(page.post("/api/do", body)["then"])

    def results() -> list[str]:
        newest_first = [move["result"] for move in page.get("/api/ladder")["history"]]
        return newest_first[: len(newest_first) - before]

    until(lambda: len(results()) == moves and all(results()), LIMIT_S)
    assert set(results()) == {"finished"}, body


def take(page: Page, browser: Browser, path: Path, *, scheme: str = "light", calm_s: float = CALM_S) -> None:
    """One picture of the page as it is now, once it is calm."""
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},  # nothing is caught half way
    ]
    browser.devtools("Emulation.setEmulatedMedia", features=features)
    browser.devtools(
        "Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False
    )
    browser.open(page.address)
    browser.find("body.drawn")
    browser.find("#steps li")
    time.sleep(calm_s)
    until(lambda: is_calm(page), LIMIT_S)
    shot = browser.devtools("Page.captureScreenshot", format="png")
    path.write_bytes(base64.b64decode(shot["data"]))
    assert browser.complaints() == []
    smaller(path)
    sys.stdout.write(f"{path} {path.stat().st_size} bytes\n")


def is_calm(page: Page) -> bool:
    """Whether everything is well, nothing moves, and the load arrives."""
    picture = page.get("/api/picture")
    traffic = picture["arrows"][0]["traffic"] if picture["arrows"] else None
    well = all(node["health"] == "well" and node["clients"] for tier in picture["tiers"] for node in tier["nodes"])
    arrives = traffic is not None and traffic["rate"] > RATE / 2
    return picture["state"] == "running" and picture["move"] is None and well and arrives


def smaller(path: Path) -> None:
    """Fewer colours, where the program for it is there. Fails for a picture that is too large for a page."""
    if (program := shutil.which("pngquant")) is not None:
        subprocess.run(
            [program, "--force", "--skip-if-larger", "--speed", "1", "--output", str(path), "128", str(path)],
            check=False,
        )
    assert path.stat().st_size <= LARGEST, f"{path} is too large; is pngquant there?"


if __name__ == "__main__":
    main()
