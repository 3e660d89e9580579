"""The files of the page, read once: the index with what belongs to one browser, the rest under an address that changes
with its content, so that a browser keeps it for ever."""

from __future__ import annotations

import hashlib
import html
import json
import re
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.responses import Response

from tenfold.core.errors import NotFound

LANGUAGES = ("en", "ko")
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
"""What is served, by the end of a file's name; nothing else is."""
FOR_EVER = "public, max-age=31536000, immutable"

_WORDS = ("tenfold.dashboard:page/words", "tenfold.control:advice/words")
"""Where the catalogues are; they are served as one."""


class Pages:
    """The page's files of this version."""

    def __init__(self) -> None:
        page = files("tenfold.dashboard").joinpath("page")
        self._files = dict(_files(page, ""))
        self._index = self._files["index.html"].decode()
        self._words = {language: _catalogue(language) for language in LANGUAGES}
        self.stamp = _stamp(self._files)

    def index(self, **values: str) -> Response:
        """The page itself; `values` take the places that it has for them."""
        known = {"static": f"/static/{self.stamp}", **values}
        text = re.sub(r"\{\{(\w+)\}\}", lambda found: html.escape(known.get(found[1], "")), self._index)
        return Response(text, media_type=TYPES["html"])

    def static(self, stamp: str, path: str) -> Response:
        """One file. Raises `NotFound` for what is none of the page's; another version's address is answered too, and
        not kept."""
        data, kind = self._files.get(path), TYPES.get(path.rpartition(".")[2])
        if data is None or kind is None:
            raise NotFound("The dashboard has no such file.")
        keep = FOR_EVER if stamp == self.stamp else "no-cache"
        return Response(data, headers={"content-type": kind, "cache-control": keep})

    def words(self, language: str) -> Response:
        """Every text of the page in a language. Raises `NotFound` for one that is not there."""
        if language not in self._words:
            raise NotFound(f"There are no words in that language; there are: {', '.join(LANGUAGES)}.")
        return Response(self._words[language], media_type=TYPES["json"], headers={"cache-control": "no-cache"})


def language_of(accept: str) -> str:
    """The language that an `Accept-Language` header likes best of those that there are; English when none."""
    liked: list[tuple[float, int, str]] = []
    for part in accept.split(",")[:20]:
        name, _, weight = part.partition(";q=")
        try:
            liked.append((-float(weight or 1), len(liked), name.strip().lower().partition("-")[0]))
        except ValueError:
            continue
    return next((name for _weight, _place, name in sorted(liked) if name in LANGUAGES), LANGUAGES[0])


def _files(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for each in folder.iterdir():
        if each.is_dir():
            found += _files(each, f"{prefix}{each.name}/")
        elif not each.name.startswith((".", "_")):
            found.append((prefix + each.name, each.read_bytes()))
    return sorted(found)


def _stamp(known: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, data in sorted(known.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    return digest.hexdigest()[:12]


def _catalogue(language: str) -> bytes:
    """The texts of the page and those of the advice, merged."""
    merged: dict[str, object] = {}
    for place in _WORDS:
        package, _, folder = place.partition(":")
        file = files(package).joinpath(folder, f"{language}.json")
        if file.is_file():
            merged |= json.loads(file.read_text("utf-8"))
    return json.dumps(merged, ensure_ascii=False, separators=(",", ":")).encode()
