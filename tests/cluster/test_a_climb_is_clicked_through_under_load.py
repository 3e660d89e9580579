"""The page in a real browser against a real deployment: load from its slider, a climb by its buttons, a node broken by
its drawer. Nothing fails meanwhile, and the browser has no complaint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deployed
import pytest
from browsing import Browser, driving, window
from dashing import Page, dashboard_of, until
from deployed import Deployed
from haproxy import needs_haproxy
from postgres import needs_postgres
from shortened import SPEC, shortened

LIMIT_S = 120.0
"""On a machine that others keep busy each of these takes its time."""

pytestmark = [needs_postgres, needs_haproxy, pytest.mark.browser]


@pytest.fixture
def shortener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    monkeypatch.setenv("TENFOLD_DASHBOARD", "on")
    monkeypatch.setenv("TENFOLD_LIMITS", "off")
    monkeypatch.setattr(deployed, "LIMIT_S", 2 * LIMIT_S)
    with shortened(tmp_path / "svc", up=False) as made:
        (made.root / "tenfold.toml").write_text(f"{SPEC}[dashboard]\nport = 0\n")
        made.up()
        yield made


@pytest.fixture
def browser() -> Iterator[Browser]:
    with driving() as driver, window(driver) as opened:
        yield opened


def nodes(page: Page) -> dict[str, dict[str, Any]]:
    return {node["name"]: node for tier in page.get("/api/picture")["tiers"] for node in tier["nodes"]}


def shown(browser: Browser, selector: str) -> bool:
    """Whether the page has such an element now."""
    return bool(browser.script("return document.querySelector(arguments[0]) !== null", selector))


def planned(browser: Browser) -> bool:
    """Whether the plan is there. Fails with what the dialog says instead of it."""
    ready, failed, said = browser.script(
        "const plan = document.getElementById('plan');"
        "return [!!plan.querySelector('#plan-go'), !!plan.querySelector('.problem'), plan.textContent]"
    )
    assert not failed, said
    return bool(ready)


def is_another(node: dict[str, Any] | None, before: int) -> bool:
    return node is not None and node["pid"] not in (0, before) and node["health"] == "well"


def errors(page: Page) -> list[Any]:
    """What the users got of errors: the failed requests by name, and the rate of them over the last hour."""
    rates = page.get("/api/figures?tier=web&hours=1")["series"].get("errors", [])
    return [*page.get("/api/requests")["failed"], *(rate for rate in rates if rate)]


def climb(browser: Browser, page: Page, step: int, node: str) -> dict[str, Any]:
    """Clicks the next step and its plan, and waits until the picture has its new node; its move in the history."""
    until(lambda: shown(browser, '[data-key="climb"]:not(:disabled)'), LIMIT_S)
    browser.click('[data-key="climb"]')
    until(lambda: planned(browser), LIMIT_S)
    assert "the point of no return" in browser.text("#plan")
    browser.click("#plan-go")
    until(lambda: shown(browser, "#move:not([hidden])"), LIMIT_S)
    until(lambda: shown(browser, "[data-key=climb]:disabled"), LIMIT_S)  # one move at a time
    until(lambda: page.get("/api/ladder")["step"] == step, LIMIT_S)
    until(lambda: shown(browser, f'[data-node="{node}"]') and shown(browser, "#move[hidden]"), LIMIT_S)
    newest, *_ = page.get("/api/ladder")["history"]
    assert newest["result"] == "finished"
    return dict(newest)


def test_the_climb_is_clicked_through_under_load_as_far_as_the_steps_exist(
    shortener: Deployed, browser: Browser
) -> None:
    page = Page(dashboard_of(shortener)["address"])
    browser.open(page.address)
    browser.find("body.drawn")
    browser.script(
        "const slider = document.getElementById('load-rate'); slider.value = 3;"
        "slider.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    load = until(lambda: page.get("/api/picture")["load"], LIMIT_S)
    assert load["rate"] > 0
    until(lambda: page.get("/api/picture")["arrows"][0]["traffic"]["rate"] > load["rate"] / 2, LIMIT_S)

    moved = climb(browser, page, 2, "db-1")
    assert moved["move"] == "copy_to_postgres"
    assert 0 < moved["held_ms"] <= 5000
    moved = climb(browser, page, 3, "balancer-2")
    assert moved["move"] == "put_balancers"
    assert not shown(browser, '[data-key="climb"]'), "no further step exists"
    assert {"balancer-1", "balancer-2", "web-1", "db-1"} <= nodes(page).keys()
    until(lambda: page.get("/api/picture")["arrows"][0]["traffic"]["rate"] > load["rate"] / 2, LIMIT_S)
    assert errors(page) == [], "no request failed over the climbs"

    before = nodes(page)["web-1"]["pid"]
    browser.click('[data-node="web-1"]')
    browser.click('[data-fault="kill"]')
    assert "web-1" in browser.text("#plan")
    browser.click("#plan .danger")
    until(lambda: is_another(nodes(page).get("web-1"), before), LIMIT_S)
    assert browser.complaints() == []
    page.close()
