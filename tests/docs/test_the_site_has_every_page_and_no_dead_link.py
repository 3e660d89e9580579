"""The site of the pages: what turns the project's pages into the site's, what looks at the built one. The build itself
is `make docs`."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_of_the_project", ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


site_pages, check_site = script("site_pages"), script("check_site")


def nav() -> list[str]:
    text = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    return re.findall(r"^ +- (?:[^:]+: )?(\S+\.md)$", text, re.MULTILINE)


def test_the_navigation_names_every_page_once() -> None:
    wanted = [site_pages.place_of(page) for page in [*PAGES, *site_pages.MOVED]]
    assert sorted(nav()) == sorted(set(wanted))


def test_every_page_that_is_elsewhere_in_the_site_exists() -> None:
    assert [path for path in site_pages.MOVED if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    ("origin", "link", "becomes"),
    [
        ("README.md", "[x](docs/moves.md)", "[x](moves.md)"),
        ("README.md", "[x](docs/decisions/)", "[x](decisions/index.md)"),
        ("README.md", "![x](docs/images/a.png)", "![x](images/a.png)"),
        ("README.md", "[x](services/shortener/README.md)", "[x](shortener.md)"),
        ("docs/README.md", "[x](steps/01-one-server.md#who)", "[x](steps/01-one-server.md#who)"),
        ("docs/steps/01-one-server.md", "[x](../../README.md)", "[x](../index.md)"),
        ("docs/steps/01-one-server.md", "[x](../../CHANGELOG.md#a)", "[x](../changes.md#a)"),
        ("docs/blocks/kv.md", "[x](cache.md)", "[x](cache.md)"),
        ("docs/blocks/kv.md", "[x](#here)", "[x](#here)"),
        ("docs/moves.md", "[x](https://a.example/docs/b.md)", "[x](https://a.example/docs/b.md)"),
        ("docs/moves.md", "[x](../src/tenfold/service.py)", "[x](../src/tenfold/service.py)"),
        ("docs/moves.md", "`[x](../README.md)`", "`[x](../README.md)`"),
        ("docs/moves.md", "```text\n[x](../README.md)\n```", "```text\n[x](../README.md)\n```"),
    ],
)
def test_a_link_leads_to_where_its_file_is_in_the_site(origin: str, link: str, becomes: str) -> None:
    assert site_pages.linked(link, origin) == becomes


def test_every_link_of_the_pages_leads_to_a_file_of_the_site() -> None:
    dead = []
    for path in [page for page in [*PAGES, *site_pages.MOVED] if page.endswith(".md")]:
        text = site_pages._CODE.sub("", (ROOT / path).read_text("utf-8"))
        for link in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text):
            target = (ROOT / path).parent / link
            inside = target.resolve().is_relative_to(ROOT) and target.exists()
            if "://" not in link and not (inside and site_pages.place_of(str(target.resolve().relative_to(ROOT)))):
                dead.append(f"{path}: {link}")
    assert dead == []


def test_a_diagram_of_states_becomes_a_table() -> None:
    text = "a\n```mermaid\nstateDiagram-v2\n    [*] --> one: begun\n    one --> [*]\n```\nb\n"
    table = "| state | becomes | when |\n|---|---|---|\n| (none) | one | begun |\n| one | (none) |  |"
    assert site_pages.states_as_table(text) == f"a\n{table}\nb\n"


GOOD = '<html><body><h1 id="top">a</h1><a href="other.html#x">b</a><a href="https://else.example/">c</a></body></html>'


@pytest.mark.parametrize(
    ("added", "wrong"),
    [
        ("", ""),
        ('<img src="picture.png">', ""),
        ('<img src="data:image/png;base64,AA">', ""),
        ('<a href="#top">', ""),
        ('<link rel="canonical" href="https://else.example/">', ""),
        ('<a href="gone.html">', "nothing is at gone.html"),
        ('<a href="/">', ""),
        ('<a href="../above.html">', "nothing is at ../above.html"),
        ('<a href="other.html#y">', "nothing has the name of other.html#y"),
        ('<a href="#y">', "nothing has the name of #y"),
        ('<img src="gone.png">', "nothing is at gone.png"),
        ('<img src="https://else.example/a.png">', "asks https://else.example/a.png"),
        ('<script src="//else.example/a.js">', "asks //else.example/a.js"),
        ('<link rel="stylesheet" href="https://else.example/a.css">', "asks https://else.example/a.css"),
        ('<link rel="preconnect" href="https://else.example">', "asks https://else.example"),
        ('<img src="picture.png" srcset="https://else.example/b.png 2x">', "asks https://else.example/b.png"),
        ('<p style="background: url(https://else.example/c.png)">', "asks https://else.example/c.png"),
        ('<pre class="mermaid">', "a diagram whose renderer is loaded from elsewhere"),
    ],
)
def test_the_built_site_is_looked_at(tmp_path: Path, added: str, wrong: str) -> None:
    (tmp_path / "index.html").write_text(GOOD.replace("</body>", f"{added}</body>"))
    (tmp_path / "other.html").write_text('<p id="x">a</p>')
    (tmp_path / "picture.png").write_bytes(b"")
    (tmp_path / "site.css").write_text("p { background: url(picture.png) }")
    assert check_site.problems(tmp_path) == ([f"index.html: {wrong}"] if wrong else [])


def test_a_style_sheet_that_asks_elsewhere_and_an_empty_site_are_told(tmp_path: Path) -> None:
    assert check_site.problems(tmp_path) == [f"{tmp_path} has no pages"]
    (tmp_path / "index.html").write_text(GOOD.replace("other.html#x", ""))
    (tmp_path / "a.css").write_text("@import 'https://else.example/font.css';")
    assert check_site.problems(tmp_path) == ["a.css: asks https://else.example/font.css"]


def test_what_is_wrong_is_said_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["check_site.py", str(tmp_path)])
    (tmp_path / "index.html").write_text('<a href="gone.html">')
    assert check_site.main() == 1
    assert capsys.readouterr().err == "index.html: nothing is at gone.html\n"
    (tmp_path / "index.html").write_text("<p>")
    assert check_site.main() == 0


def parts_of(page: str) -> tuple[list[str], list[str]]:
    """The code blocks of a page, and where its links lead."""
    text = (ROOT / page).read_text("utf-8")
    code = r"^```.*?^```$"
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(code, "", text, flags=re.MULTILINE | re.DOTALL))
    return re.findall(code, text, re.MULTILINE | re.DOTALL), links


def test_the_korean_readme_has_the_code_and_the_links_of_the_english_one() -> None:
    english, korean = parts_of("README.md"), parts_of("README.ko.md")
    assert len(english[0]) >= 5
    assert korean[0] == english[0]
    other = {"README.md": "README.ko.md"}
    assert [other.get(link, link) for link in korean[1]] == english[1]


def test_the_readmes_have_the_same_sections() -> None:
    sections = [(ROOT / page).read_text("utf-8").count("\n## ") for page in ("README.md", "README.ko.md")]
    assert sections[0] == sections[1] > 0
