"""A server that is gone, silent or stuck: the page keeps what it saw, says of when it is, and comes back by itself."""

from __future__ import annotations

import re

import page_scenes as scenes
from browsing import Browser
from page_looking import look, until
from page_server import PageServer


def test_a_lost_connection_is_said_and_mended_without_a_hand(browser: Browser, server: PageServer) -> None:
    look(browser, server)
    server.stop()
    said = until(browser, "document.body.classList.contains('old') && document.getElementById('age').textContent")
    assert re.fullmatch(r"No connection\. As of .*\d\d:\d\d:\d\d", said)
    assert browser.script("return document.querySelectorAll('[data-node]').length") == 1, "the last picture stays"
    assert "grayscale" in browser.script("return getComputedStyle(document.querySelector('.figure')).filter")
    server.picture = scenes.balanced()
    server.restart()
    until(browser, "document.querySelector('[data-node=balancer-1]') && !document.body.classList.contains('old')")
    assert not browser.script("return document.getElementById('age').textContent")
    browser.complaints()


def test_a_stream_that_has_fallen_silent_is_old_after_three_seconds(page: Browser, server: PageServer) -> None:
    assert not page.script("return document.body.classList.contains('old')")
    began = page.script("return performance.now()")
    ended = until(page, "document.body.classList.contains('old') && performance.now()")
    assert 2000 < ended - began < 9000
    assert page.script("return document.getElementById('age').textContent").startswith("Old data. As of")
    server.show(scenes.balanced())
    until(page, "!document.body.classList.contains('old')")


def test_pictures_of_a_collector_that_is_stuck_are_old_too(page: Browser, server: PageServer) -> None:
    server.stand_still()
    end = "(window.until ??= performance.now() + 12000)"
    while not page.script(f"return document.body.classList.contains('old') || performance.now() > {end}"):
        server.show(server.picture)
    assert page.script("return document.body.classList.contains('old')"), "events come, and their time stands still"
