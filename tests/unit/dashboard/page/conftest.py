"""What the tests of the page share: a real browser, and a server that shows what a test wants to be seen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browsing import Browser, driving, window
from page_looking import look, prefer, screen
from page_server import PageServer


@pytest.fixture(scope="session")
def chromedriver() -> Iterator[str]:
    """The address of a running chromedriver."""
    with driving() as address:
        yield address


@pytest.fixture(scope="module")
def shared_browser(chromedriver: str) -> Iterator[Browser]:
    """One browser for a file of tests."""
    with window(chromedriver) as opened:
        yield opened


@pytest.fixture
def browser(shared_browser: Browser) -> Browser:
    """The browser as new: wide, light, nothing remembered, nothing to complain about yet."""
    screen(shared_browser, 1440, 900)
    prefer(shared_browser)
    shared_browser.complaints()
    return shared_browser


@pytest.fixture
def server() -> Iterator[PageServer]:
    """A server of the page on a port of its own, so that nothing is remembered from the test before."""
    opened = PageServer()
    yield opened
    opened.stop()


@pytest.fixture
def page(browser: Browser, server: PageServer) -> Iterator[Browser]:
    """The page, opened and drawn; afterwards the console must have nothing to say."""
    look(browser, server)
    yield browser
    assert browser.complaints() == []
