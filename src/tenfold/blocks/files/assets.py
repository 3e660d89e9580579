"""The static files of a folder: found, hashed, and held in memory as far as that is cheap."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tenfold.blocks.files import names
from tenfold.blocks.files.published import PIECE, Content
from tenfold.core.errors import ContractError
from tenfold.core.files import storage_errors

FILES_MAX = 10_000
HELD_FILE = 1024 * 1024
"""A larger file is read from the disk each time it is asked for."""
HELD_BYTES = 64 * 1024 * 1024
"""All files of a folder in memory together; and so much again of other versions of it."""
GZIP_LEAST = 256
CODINGS = {"br": ".br", "gzip": ".gz"}
"""Content codings, the best first, and the extension of a file that is coded so."""


@dataclass(slots=True)
class Asset:
    """One content: its hash, its type, where its bytes are, and its encoded forms by coding."""

    name: str
    digest: str
    size: int
    kind: str
    path: Path
    data: bytes | None = None
    coded: dict[str, bytes] = field(default_factory=dict)
    answers: dict[tuple[str, bool, int], object] = field(default_factory=dict)
    """Complete answers that were made of it, by coding, whether it may be kept for ever, and status."""

    @property
    def kept_as(self) -> str:
        """Its name among the published contents."""
        return f"{self.digest[: names.HASH_CHARS]}{names.split(self.name)[1]}"

    @property
    def held(self) -> int:
        """Bytes of it in memory, in all forms."""
        return len(self.data or b"") + sum(map(len, self.coded.values()))

    def contents(self) -> Iterator[Content]:
        """What other processes need to serve it."""
        yield Content(self.kept_as, self.data, self.path)
        for coding, data in self.coded.items():
            yield Content(self.kept_as + CODINGS[coding], data)

    def squeeze(self) -> None:
        """Adds the gzip form where it is worth it and nobody made one; takes milliseconds."""
        if self.data is None or "gzip" in self.coded or self.size < GZIP_LEAST or not names.is_text(self.kind):
            return
        small = gzip.compress(self.data, 6, mtime=0)
        if len(small) < 0.9 * self.size:
            self.coded["gzip"] = small


def scan(folder: Path) -> dict[str, Asset]:
    """The files of a folder by their names in it, such as `css/site.css`.

    Passed over are names that begin with a dot, links that lead out of the folder, and `NAME.gz` and `NAME.br` beside
    `NAME`: these are its encoded forms. Raises `ContractError` (TF-FILES-FOLDER) for what cannot be served.
    """
    root = _root(folder)
    paths = dict(_walk(root))
    assets: dict[str, Asset] = {}
    held = 0
    for name in sorted(paths):
        if names.split(name)[1] in CODINGS.values() and name.rpartition(".")[0] in paths:
            continue
        asset = assets[name] = _read(name, paths, HELD_BYTES - held)
        held += asset.held
    return assets


def _root(folder: Path) -> Path:
    try:
        root = folder.resolve(strict=True)
    except OSError as error:
        raise _refused(f"The folder of static files {folder} cannot be opened: {error.strerror}.") from None
    if not root.is_dir():
        raise _refused(f"{folder} is no folder, so there are no static files in it.")
    return root


def _walk(root: Path) -> Iterator[tuple[str, Path]]:
    count = 0
    for folder, folders, files in os.walk(root):
        folders[:] = [each for each in folders if not each.startswith(".")]
        for each in files:
            path = Path(folder, each)
            if each.startswith(".") or not path.resolve().is_relative_to(root) or not path.is_file():
                continue
            count += 1
            if count > FILES_MAX:
                raise _refused(f"{root} has more than {FILES_MAX:,} files.")
            yield path.relative_to(root).as_posix(), path


def _read(name: str, paths: dict[str, Path], room: int) -> Asset:
    path = paths[name]
    with storage_errors("read", path):
        size = path.stat().st_size
        kind = names.content_type(names.split(name)[1])
        if size > min(HELD_FILE, room):
            return Asset(name, _digest(path), size, kind, path)
        data = path.read_bytes()
        coded = {
            coding: paths[name + extension].read_bytes()
            for coding, extension in CODINGS.items()
            if name + extension in paths
        }
    return Asset(name, hashlib.sha256(data).hexdigest(), len(data), kind, path, data, coded)


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()


def _refused(what: str) -> ContractError:
    return ContractError(what, hint="Name a folder of files that are meant to be public.", code="TF-FILES-FOLDER")
