"""Keyboard, screen reader, contrast, a phone, Korean: the page in a real browser."""

from __future__ import annotations

import threading

import page_scenes as scenes
import pytest
from browsing import Browser
from page_looking import look, look_of, prefer, screen, until
from page_server import PageServer


def names_of(page: Browser) -> dict[str, str]:
    """What a screen reader calls everything that can be used."""
    return {name: page.label(f'[id="{name}"]') for name in page.script(look_of("usable"))}


def test_everything_that_can_be_used_has_a_name(page: Browser, server: PageServer) -> None:
    server.show(scenes.moving())
    until(page, "!document.getElementById('move').hidden")
    found = names_of(page)
    assert len(found) > 20
    assert not [name for name, said in found.items() if not said.strip()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("scene", [scenes.moving, scenes.ailing])
def test_contrast_is_enough_in_light_and_dark(page: Browser, server: PageServer, scheme: str, scene) -> None:
    prefer(page, scheme, "reduce")
    server.show(scene())
    until(
        page,
        "document.querySelectorAll('[data-node]').length === arguments[0]",
        sum(len(t.nodes) for t in scene().tiers),
    )
    assert page.script(look_of("contrast")) == []


def test_the_theme_can_be_chosen_and_is_remembered(page: Browser, server: PageServer) -> None:
    ground = "return getComputedStyle(document.documentElement).backgroundColor"
    light = page.script(ground)
    page.click("#theme")
    page.click("#theme")
    assert page.text("#theme") == "Dark"
    dark = page.script(ground)
    assert dark != light
    look(page, server)
    assert page.script(ground) == dark
    page.script("localStorage.clear()")


def test_the_picture_is_walked_with_the_keyboard(page: Browser, server: PageServer) -> None:
    server.show(scenes.balanced())
    until(page, "document.querySelector('[data-node=web-3]')")
    page.script("document.querySelector('[data-node=web-1]').focus()")
    page.press("right")
    assert page.script("return document.activeElement.dataset.node") == "web-2"
    page.press("down")
    assert page.script("return document.activeElement.dataset.node") == "db-1"
    page.press("up", "enter")
    assert until(
        page, "document.getElementById('node').open && document.getElementById('node-title').textContent"
    ).startswith("web-")
    page.press("escape")
    until(page, "!document.getElementById('node').open")
    assert str(page.script("return document.activeElement.dataset.node")).startswith("web-"), "the focus comes back"


def test_one_stop_of_the_tab_key_is_enough_for_a_tier(page: Browser, server: PageServer) -> None:
    server.show(scenes.crowd(200))
    until(page, "document.querySelectorAll('[data-node]').length > 200")
    assert page.script("return document.querySelectorAll('.node[tabindex=\"0\"]').length") == 4
    assert (
        page.script("return document.querySelector('.node[tabindex=\"0\"][data-node^=web]').dataset.node") == "web-17"
    )


def test_the_focus_is_seen(page: Browser, server: PageServer) -> None:
    page.press("tab")
    assert page.focused() == ""
    page.press("tab")
    style = page.script(look_of("focus"))
    assert style[0] == "large"
    assert style[1] == "solid"
    assert style[2] >= 2


def test_the_picture_is_told_as_a_list(page: Browser, server: PageServer) -> None:
    server.show(scenes.ailing())
    list_ = "document.getElementById('picture-list').textContent"
    told = until(page, f"{list_}.includes('web-2, Web server, ill') && {list_}")
    assert "Web servers: 5 nodes, 4 not well" in told
    assert "Users → Load balancers, 1,240/s" in told
    assert page.script("return document.querySelectorAll('#picture-list li').length") > 10


def test_what_changes_is_said_aloud(page: Browser, server: PageServer) -> None:
    server.show(scenes.moving("copy"))
    until(page, "document.getElementById('live').textContent.includes('A move begins')")
    server.show(scenes.moving("hold"))
    until(page, "document.getElementById('live').textContent.includes('New writes wait')")
    server.show(scenes.on_a_database())
    until(page, "document.getElementById('live').textContent.includes('The move has ended')")


def test_korean_is_shown_at_once_and_remembered(page: Browser, server: PageServer) -> None:
    page.click("#language")
    until(
        page, "document.documentElement.lang === 'ko' && document.querySelector('.tier-title').textContent === '사용자'"
    )
    until(page, "document.querySelector('#steps h2').textContent === '사다리'")
    until(page, "document.getElementById('steps').textContent.includes('서버 한 대')")
    assert page.label("#ladder") == "사다리"
    look(page, server)
    assert page.text("#state") == "동작 중"
    page.script("localStorage.clear()")


def test_the_language_is_the_one_that_the_browser_asked_for(page: Browser, server: PageServer) -> None:
    server.lang = "ko"
    look(page, server)
    assert page.text("#state") == "동작 중"


@pytest.mark.parametrize(
    ("scene", "language"), [(scenes.on_one_server, "ko"), (scenes.balanced, "en"), (scenes.moving, "ko")]
)
def test_it_fits_on_a_phone(page: Browser, server: PageServer, scene, language: str) -> None:
    screen(page, 360, 740)
    server.lang, server.picture = language, scene()
    look(page, server)
    for tab in ("history", "requests", "proofs"):
        page.script(f"document.getElementById('tab-{tab}').click()")
        until(page, f"document.getElementById('panel-{tab}').childElementCount > 0")
        wide = page.script(look_of("too_wide"))
        assert wide == []
    small = page.script(look_of("too_small"))
    assert small == [], "a finger needs room"
    assert page.script(look_of("smallest_text")) > 12


def test_nothing_moves_where_that_is_not_wanted(page: Browser, server: PageServer) -> None:
    prefer(page, motion="reduce")
    server.show(scenes.ailing())
    until(page, "document.querySelector('.node.starting')")
    assert page.script("return document.getAnimations().filter((a) => a.playState === 'running').length") == 0


def test_the_large_picture_fills_the_window(page: Browser, server: PageServer) -> None:
    before = page.script("return document.querySelector('.figure').getBoundingClientRect().width")
    page.click("#large")
    assert page.attribute("#large", "aria-pressed") == "true"
    until(page, "document.querySelector('.figure').getBoundingClientRect().width > arguments[0]", before + 300)
    assert not page.shows("#steps")


def test_the_page_paints_before_the_deployment_answers(page: Browser, server: PageServer) -> None:
    """How soon that is: `python -m bench page`."""
    silent = threading.Event()
    server.gets["/api/ladder"] = lambda: silent.wait(30.0) and scenes.ladder()
    try:
        page.open(server.url)
        assert until(page, "performance.getEntriesByName('first-contentful-paint')[0]?.startTime") > 0
        page.find("body.drawn")
        assert not page.script("return document.querySelectorAll('#steps li').length")
    finally:
        silent.set()
