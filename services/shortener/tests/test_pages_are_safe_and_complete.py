"""The pages: what they show, and what their headers keep out."""

from __future__ import annotations

import re

import httpx

SHORTEN = "/api/v1/data/shorten"
TARGET = "https://example.com/?a=1&b='<x>'"
HTML = {"accept": "text/html"}
TOKEN = re.compile(r'name="csrf" value="[^"]+"')  # another one in each page


def test_pages_keep_foreign_code_frames_and_caches_out(client: httpx.Client):
    for path in ("/", "/no-such-code"):
        headers = client.get(path, headers=HTML).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "accept" in headers["vary"].lower()


def test_pages_ask_for_nothing_from_elsewhere_and_all_they_ask_for_is_there(client: httpx.Client):
    text = client.get("/").text
    wanted = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert all(address.startswith(("/", "#")) for address in wanted)
    for address in {address for address in wanted if address.startswith("/static/")}:
        answer = client.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert "<style" not in text
    assert " style=" not in text
    assert " onclick=" not in text


def test_static_files_are_only_the_known_ones(client: httpx.Client):
    for name in ("..%2fapp.py", "%2e%2e/app.py", "x", "style.0000000000000000.css"):
        assert client.get(f"/static/{name}").status_code == 404


def test_the_form_makes_a_link_and_goes_to_the_page_that_shows_it(client: httpx.Client):
    sent = client.post("/", data={"url": f"  {TARGET} ", "alias": "", "expires_in": "7d"})
    assert sent.status_code == 303
    assert re.fullmatch(r"/\?made=[0-9A-Za-z]{7,8}", sent.headers["location"])
    page = client.get(sent.headers["location"])
    assert page.status_code == 200
    assert "Your link is ready" in page.text
    assert "https://example.com/?a=1&amp;b=&#39;%3Cx%3E&#39;" in page.text
    assert re.search(r"<dt>Ends</dt><dd><time datetime=", page.text)
    again = client.get(sent.headers["location"])
    assert TOKEN.sub("", again.text) == TOKEN.sub("", page.text)


def test_a_made_link_that_is_none_is_just_the_form(client: httpx.Client):
    for code in ("nothing", "<script>", "", "%00", "a" * 5_000):
        answer = client.get("/", params={"made": code})
        assert answer.status_code == 200
        assert "Your link is ready" not in answer.text


def test_the_preview_marks_the_host_and_is_not_indexed(client: httpx.Client):
    code = client.post(SHORTEN, json={"url": TARGET}).json()["code"]
    page = client.get(f"/{code}+", headers=HTML)
    assert page.status_code == 200
    assert "https://<strong>example.com</strong>/?a=1&amp;b=" in page.text
    assert page.headers["x-robots-tag"] == "noindex"
    assert client.head(f"/{code}+", headers=HTML).status_code == 200


def test_crawlers_and_browsers_find_their_files(client: httpx.Client):
    assert client.get("/robots.txt").text.startswith("User-agent: *")
    assert client.get("/favicon.ico").headers["content-type"] == "image/svg+xml"
    assert client.head("/").status_code == 200
