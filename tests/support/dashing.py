"""The dashboard of a deployment as a browser and as a program use it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from deployed import Deployed

from tenfold.control.deployment import Deployment
from tenfold.control.place import Place


class Page:
    """One browser without a screen: keeps cookies, sends the page's token with what changes something."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.client = httpx.Client(base_url=address, timeout=120, trust_env=False)
        self.open()

    def open(self) -> httpx.Response:
        page = self.client.get("/")
        found = re.search(r'name="csrf" content="([^"]*)"', page.text)
        self.csrf = found[1] if found else ""
        return page

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    def send(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return self.client.post(
            path, json=body, headers={"x-tenfold-csrf": self.csrf, "origin": self.address} | headers
        )

    def post(self, path: str, body: Any) -> Any:
        answer = self.send(path, body)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    def close(self) -> None:
        self.client.close()


def dashboard_of(made: Deployed) -> dict[str, Any]:
    """What `tenfold status --json` tells of it."""
    return Deployment(Place(made.root)).facts()["dashboard"] or {}


def until(true: Callable[[], Any], limit_s: float = 30.0) -> Any:
    """What it says once that is something; fails when it takes too long."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(0.05)
    raise AssertionError(f"did not happen within {limit_s:g} s: {true}")


def answers(address: str) -> bool:
    try:
        return httpx.get(address, trust_env=False, timeout=5).status_code < 500
    except httpx.HTTPError:
        return False


def secrets_of(made: Deployed) -> list[str]:
    """Every secret of a deployment, as text."""
    folder: Path = made.state / "secrets"
    words = [word for path in folder.rglob("*") if path.is_file() for word in path.read_text().split()]
    return [word for word in words if len(word) >= 16]
