"""Makes the pages of the project into those of the site (a hook of mkdocs, see mkdocs.yml).

The pages are written to be read where they are: in an editor, or where the repository is shown. A link is a path from
the page to a file. The site has other places for some of them, so each link is turned into where its file is in the
site. A link to what is not in the site stays as it is, and fails the build.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCS = "docs"
MOVED = {
    "README.md": "index.md",
    "README.ko.md": "ko.md",
    "docs/README.md": "pages.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "services/shortener/README.md": "shortener.md",
    "docs/decisions": "decisions/index.md",
}
"""What is elsewhere in the site than in the project; the rest of docs/ keeps its place."""
LANGUAGES = {"ko.md": "ko"}
DECISIONS = "# Decisions\n\nOne short page for each choice that a reader would question.\n\n"

_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
_CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_STATES = re.compile(r"^```mermaid\nstateDiagram-v2\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CHANGE = re.compile(r"^\s*(\S+) --> (\S+?)(?:: (.*))?$", re.MULTILINE)


def place_of(path: str) -> str:
    """Where a file of the project (a path from its root) is in the site; an empty text for one that is not there."""
    path = path.rstrip("/")
    return MOVED.get(path) or (path.removeprefix(f"{DOCS}/") if path.startswith(f"{DOCS}/") else "")


def origin_of(place: str) -> str:
    """The other way round: the file that a page of the site is made from."""
    return next((path for path, moved in MOVED.items() if moved == place), f"{DOCS}/{place}")


def linked(text: str, origin: str) -> str:
    """The text of a page with its links as the site needs them. `origin`: the page's path in the project."""

    def turned(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), found[2]))
        place = "" if "://" in found[2] else place_of(target)
        here = posixpath.dirname(place_of(origin))
        return f"{found[1]}{posixpath.relpath(place, here or '.')}{found[3]}" if place else found[0]

    parts = _CODE.split(text)
    parts[::2] = [_LINK.sub(turned, part) for part in parts[::2]]
    return "".join(parts)


def states_as_table(text: str) -> str:
    """A diagram of states as a table: its renderer would have to be loaded from elsewhere."""

    def table(found: re.Match[str]) -> str:
        rows = [f"| {was} | {becomes} | {why or ''} |" for was, becomes, why in _CHANGE.findall(found[1])]
        head = ["| state | becomes | when |", "|---|---|---|"]
        return "\n".join([*head, *rows]).replace("[*]", "(none)")

    return _STATES.sub(table, text)


def on_files(files: Any, config: Any) -> Any:
    """Gives the pages that are elsewhere in the site their place there."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - not there where only the tests run

    for path, place in MOVED.items():
        if (old := files.get_file_from_path(path.removeprefix(f"{DOCS}/"))) is not None and path.startswith(DOCS):
            files.remove(old)
        content = (ROOT / path).read_text("utf-8") if place != MOVED["docs/decisions"] else decisions()
        files.append(File.generated(config, place, content=content))
    return files


def decisions() -> str:
    """The index of the decisions."""
    pages = sorted((ROOT / DOCS / "decisions").glob("*.md"))
    titles = [(page.name, page.read_text("utf-8").partition("\n")[0].lstrip("# ")) for page in pages]
    return DECISIONS + "".join(f"- [{title}]({name})\n" for name, title in titles)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns the links of one page."""
    place = page.file.src_uri
    if place == MOVED["docs/decisions"]:
        return markdown
    return states_as_table(linked(markdown, origin_of(place)))


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Says the language of a page that is not in English, for those who hear it and for how its lines are broken."""
    language = LANGUAGES.get(page.file.src_uri, "en")
    return output.replace('<html lang="en"', f'<html lang="{language}"', 1)
