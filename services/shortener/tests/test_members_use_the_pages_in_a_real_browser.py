"""The pages of those who have an account, in Chromium: all they can do, in Korean, in the dark, on a phone."""

from __future__ import annotations

import re
import time
from itertools import count
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery"
TARGET = "https://example.com/a/rather/long/page?with=parameters"
_members = count()


def sign_up(browser: Any, site: str) -> str:
    name = f"member-{next(_members)}"
    browser.open(f"{site}/signup")
    browser.write("#name", name)
    browser.write("#password", PASSWORD)
    browser.click("form.card button.primary")
    browser.find(".empty")
    return name


def make(browser: Any, site: str, url: str = TARGET) -> str:
    browser.open(f"{site}/")
    browser.write("#url", url)
    browser.click("form.card button.primary")
    code: str = browser.property("#short-link", "href").rsplit("/", 1)[1]
    return code


def until_listed(browser: Any, site: str, code: str) -> None:
    deadline = time.monotonic() + 20
    while not browser.script("return document.querySelectorAll('.links > li').length"):
        assert time.monotonic() < deadline, f"{code} is not listed"
        time.sleep(0.1)
        browser.open(f"{site}/dashboard")


def test_a_member_makes_lists_edits_watches_and_deletes_a_link(browser: Any, site: str):
    name = sign_up(browser, site)
    assert browser.text(".empty h2") == "No links yet"
    code = make(browser, site)
    browser.open(f"{site}/dashboard")
    until_listed(browser, site, code)
    assert browser.text(".links h2 a").endswith(f"/{code}")
    assert browser.text(".links .leads").startswith("https://example.com/a/rather/long/page")

    browser.click(f'a[href="/dashboard/{code}"]')
    browser.script("document.getElementById('url').value = 'ftp://example.com/'")
    browser.click("form.card button.primary")
    assert browser.text("#url-error").endswith("A ftp: address cannot be shortened; only http:// and https:// can.")
    assert browser.focused() == "url"
    browser.script("document.getElementById('url').value = 'https://example.com/elsewhere'")
    browser.click("form.card button.primary")
    assert browser.text(".notice") == "Saved. The link leads there from now on."
    visitor = httpx.Client(base_url=site, trust_env=False)
    for _ in range(3):
        assert visitor.get(f"/{code}").headers["location"] == "https://example.com/elsewhere"

    browser.open(f"{site}/dashboard/{code}/stats")
    deadline = time.monotonic() + 20
    while not browser.script("return document.querySelectorAll('.plot .bar').length"):
        assert time.monotonic() < deadline, "no visit was counted"
        browser.open(f"{site}/dashboard/{code}/stats")
    assert browser.text(".numbers dd") == "3"
    assert browser.label(".plot") == "3 visits in the last 30 days"
    browser.click("section.card details summary")
    assert browser.script("return document.querySelectorAll('tbody time').length") == 30

    browser.open(f"{site}/dashboard/{code}")
    assert not browser.shows(".destroy")
    browser.click(".danger summary")
    browser.click(".destroy")
    assert browser.text(".notice") == f"The link {code} is deleted."
    assert visitor.get(f"/{code}").status_code == 410
    visitor.close()

    browser.click("header form button")
    browser.open(f"{site}/dashboard")
    assert browser.url == f"{site}/login?next=/dashboard"
    browser.write("#name", name)
    browser.write("#password", "wrong password")
    browser.click("form.card button.primary")
    assert browser.text(".banner").endswith("There is no account with this name and this password.")
    assert browser.property("#name", "value") == name
    browser.write("#password", PASSWORD)
    browser.click("form.card button.primary")
    assert browser.text(".titleline h1") == "Your links"
    assert [line for line in browser.complaints() if "401" not in line and "400" not in line] == []


def test_a_key_is_shown_once_and_can_be_copied_and_revoked(browser: Any, site: str):
    sign_up(browser, site)
    browser.open(f"{site}/account")
    browser.write("#label", "backup script")
    browser.click(".inline button")
    key = browser.text("#secret")
    answer = httpx.get(f"{site}/api/v1/data/links", headers={"authorization": f"Bearer {key}"}, trust_env=False)
    assert answer.json() == {"links": [], "next": None}
    browser.click("button.copy")
    browser.say("element", using="css selector", value="button.copy.done")
    browser.click(".keys button")
    assert browser.text(".notice") == "The key is revoked."
    answer = httpx.get(f"{site}/api/v1/data/links", headers={"authorization": f"Bearer {key}"}, trust_env=False)
    assert answer.status_code == 401


def test_a_password_can_be_looked_at_while_it_is_typed(browser: Any, site: str):
    browser.open(f"{site}/signup")
    browser.write("#password", "secret")
    browser.click("button[data-reveal]")
    assert browser.attribute("#password", "type") == "text"
    assert browser.text("button[data-reveal]") == "Hide"
    browser.click("button[data-reveal]")
    assert browser.attribute("#password", "type") == "password"


def test_all_of_it_works_without_javascript(browser: Any, site: str):
    browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
    sign_up(browser, site)
    code = make(browser, site)
    browser.open(f"{site}/dashboard/{code}")
    browser.click(".danger summary")
    browser.click(".destroy")
    assert browser.text(".notice") == f"The link {code} is deleted."


def test_korean_is_chosen_and_stays(browser: Any, site: str):
    sign_up(browser, site)
    browser.open(f"{site}/account")
    browser.click("footer button[value=ko]")
    browser.find("html[lang=ko]")
    assert browser.url == f"{site}/account"
    assert browser.text("h1") == "계정"
    assert browser.script("return document.documentElement.lang") == "ko"
    assert browser.attribute("footer button[value=ko]", "aria-pressed") == "true"
    browser.open(f"{site}/")
    browser.write("#url", "ftp://example.com/")
    browser.click("form.card button.primary")
    assert browser.text("#url-error").endswith("ftp: 주소는 줄일 수 없습니다. http://와 https://만 됩니다.")
    browser.click("footer button[value=en]")
    browser.find("html[lang=en]")
    assert browser.text(".lead h1") == "Long address in,\nshort link out."


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


SHOWN_COLOURS = """
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest("svg, .sr, .skip") || !element.checkVisibility()) continue;
    found.push([element.textContent.trim().slice(0, 40), getComputedStyle(element).color, ground(element)]);
  }
  return found;
"""


def test_every_page_can_be_read_in_light_and_dark_and_fits_a_phone(browser: Any, site: str):
    sign_up(browser, site)
    code = make(browser, site, "https://example.com/" + "long" * 200)
    httpx.get(f"{site}/{code}", trust_env=False)
    paths = ("/", "/dashboard", f"/dashboard/{code}", f"/dashboard/{code}/stats", "/account", "/report", f"/{code}+")
    browser.devtools("Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=1, mobile=True)
    for scheme in ("light", "dark"):
        browser.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        for path in paths:
            browser.open(f"{site}{path}")
            assert browser.script("return document.documentElement.scrollWidth") <= 320, path
            shown = browser.script(SHOWN_COLOURS)
            assert shown
            assert [(path, each) for each in shown if contrast(each[1], each[2]) < 4.5] == []
            assert browser.script("return document.querySelectorAll('h1').length") == 1
            assert browser.script("return document.querySelectorAll('main, header, footer').length") == 3
            unnamed = "return [...document.querySelectorAll('input, select, textarea')].filter((each) => "
            unnamed += "each.type !== 'hidden' && !each.hidden && !each.labels.length).map((each) => each.name)"
            assert browser.script(unnamed) == []
