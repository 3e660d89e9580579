"""What the tests of the service share: the service itself on a real port, and a real browser (through WebDriver)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from argon2 import PasswordHasher
from browsing import Browser, driving, window

from shortener import quotas
from shortener.accounts import passwords
from shortener.app import app
from shortener.model import tf
from tenfold.testing import running

T = TypeVar("T")

_SERVICE = Path(__file__).parents[1]
_COMMAND = str(Path(sys.executable).with_name("tenfold"))
_SPEC = '[service]\nname = "shortener"\napp = "shortener.app:app"\n[settings]'


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
    with driving() as address:
        yield address


@pytest.fixture(scope="module")
def shared_browser(chromedriver: str) -> Iterator[Browser]:
    """One browser for a file of tests: to start one takes longer than most of them."""
    with window(chromedriver) as opened:
        yield opened


@pytest.fixture
def browser(shared_browser: Browser) -> Browser:
    """The browser as new."""
    shared_browser.forget()
    return shared_browser


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
