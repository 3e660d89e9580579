"""What the tests of the service share: the service itself on a real port, and a real browser (through WebDriver)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from argon2 import PasswordHasher

from shortener import quotas
from shortener.accounts import passwords
from shortener.app import app
from shortener.model import tf
from tenfold.testing import running

T = TypeVar("T")

_SERVICE = Path(__file__).parents[1]
_COMMAND = str(Path(sys.executable).with_name("tenfold"))
_SPEC = '[service]\nname = "shortener"\napp = "shortener.app:app"\n[settings]'
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's id, fixed by the WebDriver specification
_KEYS = {"tab": "\ue004", "enter": "\ue007"}
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

    def close(self) -> None:
        self._http.delete(self._session)
        self._http.close()


class Visitor:
    """Somebody with a browser: keeps cookies, and sends the forms of the pages with their tokens."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        client.headers["accept"] = "text/html"

    async def send(self, path: str, form: dict[str, str], *, page: str = "") -> httpx.Response:
        """Loads `page` (default: `path`), and posts the form with its token to `path`."""
        token = re.search(r'name="csrf" value="([^"]*)"', (await self.client.get(page or path)).text)
        assert token is not None, "every page has a form with a token"
        return await self.client.post(path, data=form | {"csrf": token[1]})

    async def sign_up(self, name: str, password: str = "correct horse battery") -> None:
        answer = await self.send("/signup", {"name": name, "password": password})
        assert answer.status_code == 303, _errors(answer)

    async def make(self, url: str, **more: str) -> str:
        """A link of theirs; its code."""
        answer = await self.send("/", {"url": url, **more})
        assert answer.status_code == 303, _errors(answer)
        return str(answer.headers["location"]).removeprefix("/?made=")

    async def key(self, label: str = "a key", **more: str) -> dict[str, str]:
        """A new API key of theirs, as headers."""
        page = await self.send("/account/keys", {"label": label, **more}, page="/account")
        found = re.search(r'id="secret">([^<]+)<', page.text)
        assert found is not None, _errors(page)
        return {"authorization": f"Bearer {found[1]}"}


def _errors(page: httpx.Response) -> list[str]:
    return re.findall(r'class="error[^>]*>(.*?)</p>', page.text)


class Running:
    """The service in this process, with visitors from any address."""

    def __init__(self, stack: contextlib.AsyncExitStack) -> None:
        self._stack = stack

    async def client(self, address: str = "127.0.0.1", **headers: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=app, client=(address, 4711), raise_app_exceptions=False)
        made = httpx.AsyncClient(transport=transport, base_url="http://testserver", headers=headers)
        return await self._stack.enter_async_context(made)

    async def visitor(self, name: str = "", *, address: str = "127.0.0.1") -> Visitor:
        """A visitor; with a name they have signed up."""
        visitor = Visitor(await self.client(address))
        if name:
            await visitor.sign_up(name)
        return visitor

    async def until(self, what: Callable[[], Awaitable[bool]], limit_s: float = 15) -> None:
        """Waits for what subscribers and jobs do behind the requests."""
        deadline = time.monotonic() + limit_s
        while not await what():
            assert time.monotonic() < deadline, "it did not happen"
            await asyncio.sleep(0.1)


def _forget() -> None:
    """All tests of a run are in one process, each with a database of its own."""
    tf.cache.clear()
    for rule in (quotas.LOGINS, quotas.LOGINS_OF_A_NAME, quotas.ANONYMOUS_LINKS, quotas.REPORTS):
        rule.tats.clear()


@pytest.fixture
def during(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs `body(running)` while the service runs on an empty database, with these settings and with cheap hashes."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    passwords._nobodys.cache_clear()

    def run(body: Callable[[Running], Awaitable[None]], **settings: Any) -> None:
        async def whole() -> None:
            async with contextlib.AsyncExitStack() as stack:
                _forget()
                await stack.enter_async_context(running(app, tmp_path, root=_SERVICE, settings=settings))
                await body(Running(stack))

        asyncio.run(whole())

    return run


@pytest.fixture(scope="session")
def chromedriver() -> Iterator[str]:
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


@pytest.fixture
def browser(chromedriver: str) -> Iterator[Browser]:
    """A fresh browser, closed afterwards."""
    binary = next(path for name in _BROWSERS if (path := shutil.which(name)))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        opened = Browser(chromedriver, binary, profile)
        try:
            yield opened
        finally:
            opened.close()


class Site:
    """The service as `tenfold run` makes it of a folder: on a port of its own, with its own state and settings."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        for name in ("shortener", "migrations"):
            (folder / name).symlink_to(_SERVICE / name)
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        (folder / "tenfold.toml").write_text("\n".join([_SPEC, *lines, ""]))
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = (folder / "output.log").open("w+b")
        command = [_COMMAND, "--dir", str(folder), "run", "--port", str(self.port)]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200:
                    return
            time.sleep(0.02)
        self.close()
        raise AssertionError("the service did not become ready")

    def close(self) -> None:
        """Ends the process; what it said goes to the test's output."""
        self._process.terminate()
        self._process.wait(30)
        self._log.seek(0)
        sys.stdout.write(self._log.read().decode(errors="replace"))
        self._log.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the service with its default settings; shared by the tests of a session."""
    opened = Site(tmp_path_factory.mktemp("site"), {})
    yield opened.url
    opened.close()


@pytest.fixture
def client(site: str) -> Iterator[httpx.Client]:
    """A client of that service; it follows no redirects."""
    with httpx.Client(base_url=site, trust_env=False, timeout=30) as opened:
        yield opened


class Inside:
    """A client of the service in this process, for tests that do not wait: the service has a thread of its own."""

    base_url = httpx.URL("http://testserver")

    def __init__(self, state: Path, settings: dict[str, Any]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._stack = contextlib.AsyncExitStack()
        _forget()
        service = running(app, state, root=_SERVICE, settings=settings)
        self._client = self._run(self._stack.enter_async_context(service))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self._run(self._client.get(path, **options))

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self._run(self._client.post(path, **options))

    def close(self) -> None:
        """Ends the service, then the thread."""
        self._run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Inside]]:
    """Starts the service afresh, instead of the one before: `client = serve(codes="hash")`."""
    opened: list[Inside] = []

    def start(**settings: Any) -> Inside:
        while opened:
            opened.pop().close()
        opened.append(Inside(tmp_path_factory.mktemp("inside"), settings))
        return opened[0]

    yield start
    for each in opened:
        each.close()
