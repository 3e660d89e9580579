"""Looks at the built site: every link leads to a page and a place on it that exist, nothing is loaded from elsewhere.

    python scripts/check_site.py build/site

Exit 0 when nothing is wrong, else 1 with one line for each thing that is. Links that a person may follow to other sites
are not looked at: this needs no network.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
}
ASKS = ("stylesheet", "icon", "preload", "modulepreload", "preconnect", "dns-prefetch", "prefetch", "manifest")
"""The relations of a <link> that make a browser ask for something by itself."""
STYLE = re.compile(r"(?:url\(|@import)\s*['\"]?\s*((?:https?:)?//[^'\")\s]+)")


class Page(HTMLParser):
    """What one page refers to. `loaded`: what a browser asks for by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = {""}
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.classes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One element."""
        given = {name: value or "" for name, value in attrs}
        self.names.update(given[name] for name in ("id", "name") if name in given)
        self.classes.update(given.get("class", "").split())
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and set(given.get("rel", "").split()) & set(ASKS):
            self.loaded.append(given["href"])
        if (name := LOADS.get(tag)) in given:
            self.loaded.append(given[name])
        self.loaded += [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]
        self.loaded += STYLE.findall(given.get("style", ""))


def problems(site: Path) -> list[str]:
    """Everything that is wrong with the site in that folder."""
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    found = [f"{site} has no pages"] if not pages else []
    for path, page in pages.items():
        where = path.relative_to(site)
        found += [f"{where}: asks {url}" for url in page.loaded if is_elsewhere(url)]
        for url in {*page.links, *page.loaded}:
            if not is_elsewhere(url) and (wrong := broken(url, path, site, pages)):
                found.append(f"{where}: {wrong}")
        if "mermaid" in page.classes:
            found.append(f"{where}: a diagram whose renderer is loaded from elsewhere")
    for path in sorted(site.rglob("*.css")):
        found += [f"{path.relative_to(site)}: asks {url}" for url in STYLE.findall(path.read_text("utf-8"))]
    return found


def is_elsewhere(url: str) -> bool:
    """Whether it leads out of the site."""
    parts = urlsplit(url)
    return bool(parts.scheme not in ("", "data") or parts.netloc)


def broken(url: str, path: Path, site: Path, pages: dict[Path, Page]) -> str:
    """What is wrong with a link of the page at `path`; an empty text when nothing is."""
    parts = urlsplit(url)
    if parts.scheme == "data":
        return ""
    base = site if parts.path.startswith("/") else path.parent
    target = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if not target.is_relative_to(site) or not target.is_file():
        return f"nothing is at {url}"
    if target in pages and unquote(parts.fragment) not in pages[target].names:
        return f"nothing has the name of {url}"
    return ""


def main() -> int:
    """Looks, and says what is wrong."""
    site = Path(sys.argv[1]).resolve()
    found = problems(site)
    sys.stderr.write("".join(f"{line}\n" for line in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
