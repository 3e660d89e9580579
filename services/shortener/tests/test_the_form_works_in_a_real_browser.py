"""The first page as people meet it: mouse, keyboard, no JavaScript, phone, dark room. In Chromium."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytestmark = pytest.mark.browser

TARGET = "https://example.com/a/rather/long/page?with=parameters"


def shorten(browser: Any, url: str) -> None:
    browser.write("#url", url)
    browser.click("button[type=submit]")


def test_an_address_becomes_a_short_link_that_can_be_copied(browser: Any, site: str):
    browser.open(f"{site}/")
    assert not browser.script("return document.querySelectorAll('.made').length")
    shorten(browser, TARGET)
    assert browser.text(".made h1") == "Your link is ready"
    short = browser.property("#short-link", "href")
    assert re.fullmatch(re.escape(site) + r"/[0-9A-Za-z]{7,8}", short)
    assert browser.text(".target") == TARGET
    browser.click("button.copy")
    browser.say("element", using="css selector", value="button.copy.done")
    assert browser.text("button.copy") == "Copied"
    assert browser.property("#copy-status", "textContent") == "The short link was copied."
    browser.write("#url", "\ue009v")  # Ctrl+V
    assert browser.property("#url", "value") == short
    assert browser.complaints() == []


def test_reloading_the_result_makes_no_second_link(browser: Any, site: str):
    browser.open(f"{site}/")
    shorten(browser, TARGET)
    first = browser.property("#short-link", "href")
    browser.say("refresh")
    assert browser.property("#short-link", "href") == first


def test_what_is_wrong_is_said_at_the_field_and_nothing_typed_is_lost(browser: Any, site: str):
    browser.open(f"{site}/")
    shorten(browser, "javascript:alert(1)")
    assert browser.text("#url-error").endswith(
        "A javascript: address cannot be shortened; only http:// and https:// can."
    )
    assert browser.property("#url", "value") == "javascript:alert(1)"
    assert browser.attribute("#url", "aria-invalid") == "true"
    assert "url-error" in browser.attribute("#url", "aria-describedby")
    assert browser.focused() == "url"
    assert browser.ask("title").startswith("Error: ")


def shorten_under(browser: Any, site: str, alias: str, url: str) -> None:
    browser.open(f"{site}/")
    browser.click("summary")
    browser.write("#alias", alias)
    shorten(browser, url)


def test_a_taken_alias_opens_the_options_and_says_so(browser: Any, site: str):
    shorten_under(browser, site, "browser-test", "https://example.com/first")
    browser.find(".made")  # the answer is there before the next one is asked for
    shorten_under(browser, site, "browser-test", "https://example.com/second")
    assert browser.text("#alias-error").endswith("The alias browser-test is taken; choose another one.")
    assert browser.shows("#alias")
    assert browser.focused() == "alias"
    assert browser.property("#url", "value") == "https://example.com/second"


def test_it_works_with_the_keyboard_alone(browser: Any, site: str):
    browser.open(f"{site}/")
    browser.press("tab")
    assert browser.script("return document.activeElement.textContent") == "Skip to the content"
    browser.press("enter", "tab")
    assert browser.focused() == "url"
    browser.press(TARGET, "enter")
    assert browser.text(".target") == TARGET


def test_it_works_without_javascript(browser: Any, site: str):
    browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(f"{site}/")
    shorten(browser, TARGET)
    assert browser.text(".target") == TARGET
    assert not browser.shows("button.copy")


def test_every_control_has_a_name_for_screen_readers(browser: Any, site: str):
    browser.open(f"{site}/")
    browser.click("summary")
    labels = {field: browser.label(f"#{field}") for field in ("url", "alias", "expires")}
    assert labels == {"url": "Address to shorten", "alias": "Name of the link (optional)", "expires": "Ends"}
    assert browser.script("return document.documentElement.lang") == "en"
    assert browser.script("return document.querySelectorAll('h1').length") == 1


@pytest.mark.parametrize("path", ["/", "/?made=phone-test", "/phone-test+", "/nothing-here"])
def test_nothing_runs_out_of_a_phone_s_screen(browser: Any, site: str, path: str):
    shorten_under(browser, site, "phone-test", "https://example.com/" + "long" * 200)
    browser.find(".made")
    browser.devtools("Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=2, mobile=True)
    browser.open(f"{site}{path}")
    assert browser.script("return document.documentElement.scrollWidth") <= 320


def test_dark_rooms_get_a_dark_page(browser: Any, site: str):
    grounds = []
    for scheme in ("light", "dark"):
        browser.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.open(f"{site}/")
        grounds.append(browser.script("return getComputedStyle(document.body).backgroundColor"))
    light, dark = ([int(part) for part in re.findall(r"\d+", ground)] for ground in grounds)
    assert min(light) > 200
    assert max(dark) < 50


def test_the_preview_shows_where_a_link_leads_without_going_there(browser: Any, site: str):
    browser.open(f"{site}/")
    shorten(browser, TARGET)
    browser.click(".made .actions a")
    assert browser.text("#preview-title") == "This link leads to example.com"
    assert browser.text(".address") == TARGET
    assert browser.complaints() == []


def test_a_code_that_does_not_exist_gets_a_page_for_people(browser: Any, site: str):
    browser.open(f"{site}/nothing-here")
    assert browser.text("#error-title") == "Nothing here"
    assert browser.property(".actions a", "href") == f"{site}/"
