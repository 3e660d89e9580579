"""The page that a tour leaves: complete, for everybody, and with nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from browsing import Browser, driving, window
from tours import STOPS, climb, stop, tour

from tenfold.tour.model import Stop, Tour
from tenfold.tour.plot import plot, top
from tenfold.tour.report import leave, render
from tenfold.tour.words import LANGUAGES, Words

NOT_RUN = Stop(3, "load-balancer", not_run="HAProxy <is> not installed.")


class Page(HTMLParser):
    """Its elements, and its text outside of styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} was not open"

    def handle_data(self, data: str) -> None:
        self.said += "" if "style" in self.open else data

    def count(self, tag: str, kind: str = "") -> int:
        return sum(name == tag and kind in (attrs.get("class") or "").split() for name, attrs in self.tags)


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_is_whole_and_asks_nobody_for_anything(language: str) -> None:
    text = render(tour(*STOPS, NOT_RUN, language=language))
    page = Page(text)
    assert page.open == []
    assert "{{" not in text
    assert not [attrs for tag, attrs in page.tags if tag in ("script", "img", "iframe")]
    assert {attrs.get("href") for tag, attrs in page.tags if tag == "link"} == {"data:,"}
    assert not re.search(r"https?://|url\(|@import", text)
    assert len(text.encode()) < 60_000


def test_it_tells_of_each_place_what_was_carried_promised_and_seen() -> None:
    page = Page(render(tour(*STOPS)))
    for expected in (
        "STEP 1 · one server", "STEP 2 · separate database", "STEP 3 · load balancer, 4 web servers",
        "It carries 180 requests/s; 99\u00a0% are answered within 120 ms.", "It carries at least 1,430 requests/s",
        "Promised: no request fails, writes wait for at most 1,000 ms.", "writes were held for 602 ms",
        "That is less than before (0.53 times)", "sharding",
        "15\u00a0% for a web server, 60\u00a0% for the database server", "2023-11-14 22:13 UTC",
    ):  # fmt: skip
        assert expected in page.said, expected
    assert page.said.count("Every trial") == 4
    assert page.count("span", "kept") == 3


def test_a_broken_promise_looks_broken() -> None:
    for broken in (climb(failed=2), climb(held_ms=1000.1)):
        page = Page(render(tour(STOPS[0], stop(2, 90.0, climb=broken))))
        assert (page.count("span", "kept"), page.count("span", "broken")) == (0, 1)
    assert 'class="held bad"' in render(tour(STOPS[0], stop(2, 90.0, climb=climb(failed=2))))


def test_a_step_that_was_not_run_is_loud_and_nothing_of_it_is_markup() -> None:
    text = render(tour(*STOPS[:2], NOT_RUN, partial="step 3 could not be taken"))
    assert "HAProxy &lt;is&gt; not installed." in text
    assert "<is>" not in text
    assert "The tour was ended before its end." in Page(text).said
    assert text.count("not run") >= 3, "in the plot, its words and the table"


def test_a_tour_that_was_ended_at_once_is_told_as_well() -> None:
    page = Page(render(tour(partial="it was ended by a person", parts={})))
    assert page.open == []
    assert "Nothing was capped" in page.said


def test_the_plot_draws_what_was_measured() -> None:
    drawn = plot(Words("en"), STOPS)
    heights = [float(each) for each in re.findall(r'class="bar"[^>]* height="([\d.]+)"', drawn)]
    rates = [each.rate for each in STOPS]
    assert [height / heights[0] for height in heights] == pytest.approx([rate / rates[0] for rate in rates], rel=0.01)
    tops = [float(each) for each in re.findall(r'class="rate" x="[\d.]+" y="([\d.-]+)"', drawn)]
    assert min(tops) > 20, "the highest bar's value is within the picture"
    assert (drawn.count('class="dot"'), drawn.count('class="curve"'), drawn.count('class="climb"')) == (4, 3, 3)
    assert "STEP 2 · separate database: It carries 95 requests/s" in drawn


def test_a_scale_ends_at_a_round_number_with_a_little_room() -> None:
    assert [top(value) for value in (0.2, 96.0, 97.0, 180.0, 1430.0, 9990.0)] == [1, 100, 150, 200, 1500, 15000]


def test_the_data_is_the_tour(tmp_path: Path) -> None:
    made = tour(*STOPS, NOT_RUN)
    page = leave(made, tmp_path / "deep" / "out")
    assert page.name == "report.html"
    assert msgspec.json.decode((page.parent / "report.json").read_bytes(), type=Tour) == made


@pytest.fixture
def browser() -> Iterator[Browser]:
    with driving() as driver, window(driver) as opened:
        yield opened


@pytest.mark.browser
def test_in_a_browser_it_is_read_on_a_phone_and_in_the_dark(browser: Browser, tmp_path: Path) -> None:
    path = leave(tour(*STOPS, language="ko"), tmp_path)
    browser.devtools("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=False)
    colours = []
    for scheme in ("light", "dark"):
        browser.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.open(path.as_uri())
        assert browser.complaints() == []
        assert browser.script("return document.documentElement.scrollWidth") == 360
        assert "1단계" in browser.property(".plot", "textContent")
        assert browser.label(".plot").startswith("초당 요청 1단계 · 단일 서버: 초당 요청 180개를 견디며")
        colours.append(browser.script("return getComputedStyle(document.body).backgroundColor"))
        assert browser.script(CONTRASTS) == []
    assert colours[0] != colours[1]


CONTRASTS = """
const light = c => c.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const numbers = text => text.match(/[\\d.]+/g).map(Number);
const behind = e => {
    const c = numbers(getComputedStyle(e).backgroundColor);
    return c[3] === 0 ? behind(e.parentElement) : c;
};
return [...document.querySelectorAll("p, dt, dd, th, td, li, h1, h2, h3, summary, footer, span, svg text")].map(e => {
    const style = getComputedStyle(e), text = e.closest("svg") ? style.fill : style.color;
    const [a, b] = [light(numbers(text).slice(0, 3)), light(behind(e).slice(0, 3))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.textContent.slice(0, 40)];
}).filter(([ratio]) => ratio < 4.5);
"""
"""What has less contrast than WCAG AA asks of small text (4.5)."""
