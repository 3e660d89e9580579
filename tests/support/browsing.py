"""A real browser for tests: Chromium through its WebDriver, found on the machine; not run where there is none."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's id, fixed by the WebDriver specification
_KEYS = {
    "tab": "\ue004", "enter": "\ue007", "escape": "\ue00c", "left": "\ue012", "up": "\ue013", "right": "\ue014",
    "down": "\ue015",
}  # fmt: skip
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --hide-scrollbars --no-proxy-server"
)


class Browser:
    """One Chromium window. Elements are named by CSS selectors."""

    def __init__(self, driver: str, binary: str, profile: str) -> None:
        self._http = httpx.Client(base_url=driver, timeout=60, trust_env=False)
        only_here = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
        options = {"binary": binary, "args": [*_QUIET.split(), only_here, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}, "browserName": "chrome"}
        made = self._http.post("/session", json={"capabilities": {"alwaysMatch": wanted}}).json()["value"]
        assert "sessionId" in made, made
        self._session = f"/session/{made['sessionId']}"
        self.say("timeouts", implicit=20_000)
        # The clipboard is for windows with the focus, which a window that nobody sees gets only by being told.
        self.devtools("Emulation.setFocusEmulationEnabled", enabled=True)

    def say(self, command: str, **arguments: Any) -> Any:
        """A WebDriver command; its value."""
        answer = self._http.post(f"{self._session}/{command}", json=arguments).json()["value"]
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer

    def ask(self, question: str) -> Any:
        """A WebDriver query; its value."""
        return self._http.get(f"{self._session}/{question}").json()["value"]

    def open(self, url: str) -> None:
        self.say("url", url=url)

    @property
    def url(self) -> str:
        address: str = self.ask("url")
        return address

    def find(self, selector: str) -> str:
        element: str = self.say("element", using="css selector", value=selector)[_ELEMENT]
        return element

    def click(self, selector: str) -> None:
        self.say(f"element/{self.find(selector)}/click")

    def write(self, selector: str, text: str) -> None:
        self.say(f"element/{self.find(selector)}/value", text=text)

    def press(self, *keys: str) -> None:
        """Keys into whatever has the focus: `tab`, `enter`, or a text."""
        strokes = [stroke for key in keys for stroke in _KEYS.get(key, key)]
        actions = [{"type": kind, "value": stroke} for stroke in strokes for kind in ("keyDown", "keyUp")]
        self.say("actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def text(self, selector: str) -> str:
        text: str = self.ask(f"element/{self.find(selector)}/text")
        return text

    def shows(self, selector: str) -> bool:
        shown: bool = self.ask(f"element/{self.find(selector)}/displayed")
        return shown

    def property(self, selector: str, name: str) -> Any:
        return self.ask(f"element/{self.find(selector)}/property/{name}")

    def attribute(self, selector: str, name: str) -> Any:
        return self.ask(f"element/{self.find(selector)}/attribute/{name}")

    def label(self, selector: str) -> str:
        """What a screen reader calls the element."""
        label: str = self.ask(f"element/{self.find(selector)}/computedlabel")
        return label

    def focused(self) -> str:
        """The id attribute of what has the focus."""
        element = self.ask("element/active")[_ELEMENT]
        name: str = self.ask(f"element/{element}/property/id")
        return name

    def script(self, source: str, *arguments: Any) -> Any:
        return self.say("execute/sync", script=source, args=list(arguments))

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self.say("goog/cdp/execute", cmd=command, params=parameters)

    def complaints(self) -> list[str]:
        """What the browser's console has to say: blocked resources, errors of scripts."""
        return [entry["message"] for entry in self.say("se/log", type="browser")]

    def forget(self) -> None:
        """As new: no page, nothing remembered, everything that a test has set as it was, nothing to complain about."""
        self.open("about:blank")
        self.devtools("Storage.clearDataForOrigin", origin="*", storageTypes="all")
        for command in ("Network.clearBrowserCookies", "Network.clearBrowserCache", "Browser.resetPermissions"):
            self.devtools(command)
        self.devtools("Emulation.clearDeviceMetricsOverride")
        self.devtools("Emulation.setEmulatedMedia", features=[])
        self.devtools("Emulation.setScriptExecutionDisabled", value=False)
        self.complaints()

    def close(self) -> None:
        self._http.delete(self._session)
        self._http.close()


@contextlib.contextmanager
def driving() -> Iterator[str]:
    """The address of a running chromedriver."""
    program = shutil.which("chromedriver")
    if program is None or not any(map(shutil.which, _BROWSERS)):
        pytest.skip("not run: Chromium and chromedriver are needed (apt install chromium chromium-driver)")
    process = subprocess.Popen(
        [program, "--port=0"], stdout=subprocess.PIPE, text=True, env={**os.environ, "LANG": "C"}
    )
    assert process.stdout is not None
    try:
        port = next(found[1] for line in process.stdout if (found := re.search(r"successfully on port (\d+)", line)))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@contextlib.contextmanager
def window(driver: str) -> Iterator[Browser]:
    """A fresh browser of that chromedriver, closed afterwards."""
    binary = next(path for name in _BROWSERS if (path := shutil.which(name)))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        opened = Browser(driver, binary, profile)
        try:
            yield opened
        finally:
            opened.close()
