"""The picture in a real browser: what is drawn is what the picture says, and it changes as that changes."""

from __future__ import annotations

import msgspec
import page_scenes as scenes
import pytest
from browsing import Browser
from page_looking import look_of, screen, until
from page_server import PageServer

from tenfold.dashboard.picture.model import Arrow, Picture, Tier


def texts(page: Browser, selector: str) -> list[str]:
    """The texts of all elements."""
    found: list[str] = page.script(
        "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector
    )
    return found


def show(page: Browser, server: PageServer, picture: Picture) -> None:
    """Sends a picture and waits until it is drawn."""
    server.show(picture)
    names = sorted(node.name for tier in picture.tiers for node in tier.nodes)
    there = "[...document.querySelectorAll('[data-node]:not(.gone-now)')].map((e) => e.dataset.node).sort().join()"
    until(page, f"{there} === arguments[0]", ",".join(names))


@pytest.mark.parametrize(
    "scene", [scenes.on_one_server, scenes.on_a_database, scenes.balanced, scenes.moving, scenes.later, scenes.ailing]
)
def test_every_tier_every_node_and_every_arrow_is_drawn(page: Browser, server: PageServer, scene) -> None:
    picture = scene()
    show(page, server, picture)
    assert len(texts(page, ".frame:not(.gone-now)")) == len(picture.tiers)
    assert len(texts(page, ".arrow:not(.gone-now)")) == len(picture.arrows)
    for tier in picture.tiers:
        for node in tier.nodes:
            label = page.attribute(f'[data-node="{node.name}"]', "aria-label")
            assert label.startswith(node.name)
            assert node.clients or "gets no work" in label


@pytest.mark.parametrize("height", [720, 900, 1010, 1200])
def test_nothing_lies_on_something_else_and_nothing_leaves_the_drawing(
    page: Browser, server: PageServer, height: int
) -> None:
    screen(page, 1360, height)
    for scene in (scenes.on_one_server, scenes.on_a_database, scenes.balanced, scenes.moving, scenes.ailing):
        show(page, server, scene())
        page.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
        until(page, "!document.querySelector('.gone-now')")
        assert page.script(look_of("collisions")) == [], scene.__name__


def test_a_tier_that_nobody_has_heard_of_is_drawn_by_its_name(page: Browser, server: PageServer) -> None:
    show(page, server, scenes.later())
    assert "oracle · 2" in texts(page, ".tier-title")


def test_rates_and_percentiles_stand_on_the_arrows(page: Browser, server: PageServer) -> None:
    show(page, server, scenes.balanced())
    figures, more = texts(page, ".arrow .figures"), texts(page, ".arrow .more")
    assert "1,240/s" in figures
    assert "p50 2.2\u00a0ms · p99 18\u00a0ms" in more


def test_failing_requests_are_said_on_the_arrow(page: Browser, server: PageServer) -> None:
    show(page, server, scenes.ailing())
    assert "6.5/s fail" in texts(page, ".arrow.failing .more")


def test_a_held_gate_lies_across_and_says_how_many_wait(page: Browser, server: PageServer) -> None:
    show(page, server, scenes.on_a_database())
    assert len(texts(page, ".gate.open")) == 2
    show(page, server, scenes.switching())
    assert until(page, "document.querySelector('.gate.held + .label .more')?.textContent") == "37 wait"
    show(page, server, scenes.moving("hold"))
    assert "12 wait" in texts(page, ".part.database.held .part-line")


def test_health_has_a_shape_of_its_own_each(page: Browser, server: PageServer) -> None:
    show(page, server, scenes.ailing())
    shapes = {
        health: page.script(
            "return document.querySelector(arguments[0]).getAttribute('d')", f".node.{health} .sign .mark"
        )
        for health in ("well", "ill", "gone", "starting", "leaving")
    }
    assert len(set(shapes.values())) == 5


def test_a_new_node_fades_in_gets_its_line_at_the_switch_and_the_old_one_fades_out(
    page: Browser, server: PageServer
) -> None:
    old, new = scenes.node("web-1"), scenes.node("web-2", health="starting", clients=False)
    works = "[...document.querySelectorAll('.fan')].map((e) => e.classList.contains('no-work') ? 0 : 1).join('')"
    show(page, server, scenes.balanced(servers=(old, scenes.node("web-3"))))
    page.script("window.kept = document.querySelector('[data-node=web-1]')")
    show(page, server, scenes.balanced(servers=(old, new, scenes.node("web-3"))))
    assert "appear" in page.script("return getComputedStyle(document.querySelector('[data-node=web-2]')).animationName")
    assert until(page, f"{works}.slice(-3) === '101'"), "no line leads to it before it may work"
    show(page, server, scenes.balanced(servers=(old, scenes.node("web-2"), scenes.node("web-3"))))
    assert until(page, f"{works}.slice(-3) === '111'")
    assert page.script("return window.kept === document.querySelector('[data-node=web-1]')"), "kept, not drawn anew"
    server.show(scenes.balanced(servers=(scenes.node("web-2"), scenes.node("web-3"))))
    until(page, "document.querySelector('[data-node=web-1]')?.classList.contains('gone-now')")
    until(page, "!document.querySelector('[data-node=web-1]')")


def test_what_a_person_has_to_know_is_said_above_the_picture(page: Browser, server: PageServer) -> None:
    show(page, server, msgspec.structs.replace(scenes.on_one_server(), keeper=False, says=("A sentence.",)))
    until(page, "document.getElementById('says').textContent.includes('A sentence.')")
    assert "keeper does not answer" in page.text("#says")


def test_names_from_outside_are_text_and_never_markup(page: Browser, server: PageServer) -> None:
    bad = "<img src=x onerror=alert(1)>"
    node = scenes.node(bad, says=bad, health="ill")
    tier = Tier(bad, (node,), backend=bad)
    show(page, server, scenes.picture(1, (scenes.USERS, tier), (Arrow("users", bad, "requests"),), says=(bad,)))
    assert page.script("return document.querySelectorAll('img').length") == 0


def work(page: Browser, *pictures: Picture) -> list[dict[str, int]]:
    """What each of these pictures makes the browser do, drawn one after the other."""
    done: list[dict[str, int]] = page.script(look_of("work"), [msgspec.json.encode(each).decode() for each in pictures])
    return done


def test_500_nodes_are_drawn_without_a_stall(page: Browser, server: PageServer) -> None:
    """What would make it stall is counted; how long it takes is `python -m bench page`."""
    show(page, server, scenes.on_one_server())
    small = work(page, scenes.crowd(100), scenes.crowd(100), scenes.crowd(100, ill_every=7))
    first, again, other = work(page, scenes.crowd(500), scenes.crowd(500), scenes.crowd(500, ill_every=7))
    assert small[0]["made"] > 300, "the pictures were drawn"
    assert first["made"] < 6 * small[0]["made"], "no more is made for each node than in a small picture"
    assert again["made"] + again["written"] < 10, "the same picture costs nothing"
    assert other["made"] < 4 * 80, "elements are kept: only the signs of the 75 nodes that fell ill or rose are made"
    assert 500 < other["written"] < 6 * small[2]["written"]
    assert other["asked"] < 10, "the page is not laid out anew for each node"
