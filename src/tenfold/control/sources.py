"""What a version is made from: a folder of code, or a wheel. Read, measured, copied; refused with a sentence.

The digest of a folder is that of the bytes that are copied, so a file that is written meanwhile cannot make it lie.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tenfold.control.place import SPEC_FILE, Place
from tenfold.core.errors import TenfoldError, UsageError
from tenfold.core.files import storage_error, storage_errors, sync_dir, write_all
from tenfold.core.units import format_size
from tenfold.hosts.commands import run_quietly

LIMIT_FILES, LIMIT_BYTES = 20_000, 512 << 20
"""A version larger than this is not code: data, or an environment under a name that is not known here."""
UNPACK_LIMIT_S = 120.0
LEFT_OUT = frozenset({
    ".tenfold", ".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".mypy_cache", ".pytest_cache",
    ".ruff_cache", ".hypothesis", ".tox", ".nox", ".tenfold-version.json",
})  # fmt: skip
"""Names that are never part of a version, at any depth; `*.pyc`, and every folder that holds a pyvenv.cfg, neither."""
_CHUNK = 1 << 20


class NotCode(UsageError):
    """What was named cannot be made a version."""

    code = "TF-VERSION"
    title = "This cannot be a version"


@dataclass(frozen=True)
class Source:
    """What a version is made from; `path` is absolute. `database`: the file that is data among it."""

    path: Path
    kind: Literal["folder", "wheel"]
    database: str = ""


@dataclass
class Content:
    """What was read so far: how much, and a digest of all of it but tenfold.toml.

    Raises `NotCode` as soon as it is too much.
    """

    source: Path
    files: int = 0
    size: int = 0
    _all: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, name: str, kind: str, digest: bytes, size: int) -> None:
        """One entry: its path below the source, what it is, the digest of its bytes."""
        self.files, self.size = self.files + 1, self.size + size
        if name != SPEC_FILE:  # settings are those of the deployment's folder, whatever code runs
            self._all.update(f"{kind} {len(os.fsencode(name))} ".encode() + os.fsencode(name) + b"\0" + digest)
        self.check()

    def check(self, more: int = 0) -> None:
        """Refuses what is larger than code can be; `more` bytes are about to come."""
        if self.files > LIMIT_FILES or self.size + more > LIMIT_BYTES:
            limits = f"{LIMIT_FILES:,} files and {format_size(LIMIT_BYTES)}"
            raise NotCode(
                f"{self.source} has more than {limits}, which is more than a version may have.",
                hint="Name the folder of the service's code alone; move data and environments out of it.",
            )

    @property
    def digest(self) -> str:
        """The SHA-256 of all that was added, as hex."""
        return self._all.hexdigest()


def open_source(place: Place, chosen: Path | None) -> Source:
    """Looks at what is to become a version. Raises `NotCode` for what cannot be one; nothing is read in full."""
    path = Path(os.path.abspath(chosen or place.root))
    with storage_errors("read", path):
        found = path.stat()
    if stat.S_ISREG(found.st_mode):
        _look_at_wheel(path)
        return Source(path, "wheel")
    if not stat.S_ISDIR(found.st_mode):
        raise NotCode(f"{path} is neither a folder nor a wheel.", hint="Name a folder of code, or a .whl file.")
    if place.state in (path, *path.parents) and path.parent != place.state / "versions":
        raise NotCode(f"{path} is the state of this deployment, not its code.", hint="Name the folder of the code.")
    if path != place.root:
        _refuse_other_service(place, path)
    return Source(path, "folder", _database_of(place))


def _refuse_other_service(place: Place, path: Path) -> None:
    """Its migrations would run on the database of this one."""
    named, ours = _service_in(path), _service_in(place.root)
    if named is not None and named != ours:
        raise NotCode(
            f"{path} is the service {named!r}, and this deployment runs {ours!r}.",
            hint="Name the folder of this service's code, or with --dir the deployment of that one.",
        )


def _service_in(folder: Path) -> str | None:
    """The name in the folder's tenfold.toml, if it has one that says."""
    try:
        found = tomllib.loads((folder / SPEC_FILE).read_text("utf-8")).get("service")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None
    name = found.get("name") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None


def _database_of(place: Place) -> str:
    """The database file, which a setting may have put among the code; empty when there is none."""
    with contextlib.suppress(TenfoldError):
        current = place.read_map()
        return "" if current is None else current.database.path
    return ""


def content_of(source: Source) -> Content:
    """Reads it through, and writes nothing."""
    return _wheel_content(source) if source.kind == "wheel" else _read(source, None)


# Folders


def copy_folder(source: Source, target: Path) -> Content:
    """Copies the code of a folder to `target`, which does not exist yet; durable when it returns."""
    with storage_errors("make the version", target):
        target.mkdir(mode=0o700)
    content = _read(source, target)
    with storage_errors("write the version", target):
        _sync_all(target)
    return content


def _read(source: Source, target: Path | None) -> Content:
    content = Content(source.path)
    for entry in _entries(source, source.path):
        name = os.path.relpath(entry.path, source.path)
        copy = None if target is None else target / name
        with storage_errors("read" if copy is None else "copy", entry.path):
            if entry.is_symlink():
                _link(source, entry, name, copy, content)
            elif entry.is_dir(follow_symlinks=False):
                if copy is not None:
                    copy.mkdir(mode=0o700)
            elif entry.is_file(follow_symlinks=False):
                _file(entry, name, copy, content)
    return content


def _entries(source: Source, folder: Path | str) -> Iterator[os.DirEntry[str]]:
    """What belongs to the code, folders before what is in them, always in the same order."""
    with storage_errors("read", folder), os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
    for entry in entries:
        if not _is_left_out(source, entry):
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(source, entry.path)


def _is_left_out(source: Source, entry: os.DirEntry[str]) -> bool:
    if entry.name in LEFT_OUT or entry.name.endswith(".pyc"):
        return True
    if source.database and entry.path.startswith(source.database):
        return entry.path.removeprefix(source.database) in ("", "-wal", "-shm", "-journal")
    return entry.is_dir(follow_symlinks=False) and os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))


def _link(source: Source, entry: os.DirEntry[str], name: str, copy: Path | None, content: Content) -> None:
    """A link stays one, seen from its own folder, so that in the copy it leads into the copy."""
    inside, leads_to = os.path.realpath(source.path), os.path.realpath(entry.path)
    if os.path.commonpath((inside, leads_to)) != inside or LEFT_OUT.intersection(
        Path(leads_to).relative_to(inside).parts
    ):
        raise NotCode(
            f"The link {entry.path} leads to {leads_to}, which does not become part of the version.",
            hint="Put a copy in its place, or remove it.",
        )
    words = os.path.relpath(leads_to, os.path.dirname(os.path.join(inside, name)))
    content.add(name, "link", os.fsencode(words), 0)
    if copy is not None:
        copy.symlink_to(words)


def _file(entry: os.DirEntry[str], name: str, copy: Path | None, content: Content) -> None:
    fd = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(fd, "rb", buffering=0) as file:
        found = os.fstat(fd)
        content.check(found.st_size)
        runs = bool(found.st_mode & stat.S_IXUSR)
        digest, size = hashlib.sha256(), 0
        with _written(copy, 0o700 if runs else 0o600) as out:
            while block := file.read(_CHUNK):
                digest.update(block)
                size += len(block)
                content.check(size)
                if out is not None:
                    write_all(out, block)
    content.add(name, "program" if runs else "file", digest.digest(), size)


@contextlib.contextmanager
def _written(copy: Path | None, mode: int) -> Iterator[int | None]:
    if copy is None:
        yield None
        return
    fd = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        yield fd
    finally:
        os.close(fd)


def _sync_all(folder: Path) -> None:
    """Makes everything durable: after it was all written, because the disk then has most of it already."""
    for path, _folders, files in os.walk(folder):
        for name in files:
            if not os.path.islink(os.path.join(path, name)):
                fd = os.open(os.path.join(path, name), os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
        sync_dir(Path(path))


# Wheels


def _look_at_wheel(path: Path) -> None:
    """A sentence for what pip would only say in its own way, and no archive that grows beyond all bounds."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile:
        entries = []
    if path.suffix != ".whl" or not any(entry.filename.endswith(".dist-info/WHEEL") for entry in entries):
        raise NotCode(
            f"{path} is not a wheel.", hint="Build one with `python -m pip wheel --no-deps .`, or name a folder."
        )
    content = Content(path, files=len(entries), size=sum(entry.file_size for entry in entries))
    content.check()


def _wheel_content(source: Source) -> Content:
    """A wheel is one file: the digest is that of its bytes."""
    with storage_errors("read", source.path), zipfile.ZipFile(source.path) as archive, source.path.open("rb") as file:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        content = Content(source.path)
        content.add("", "wheel", hashlib.file_digest(file, "sha256").digest(), 0)
    content.files, content.size = len(entries), sum(entry.file_size for entry in entries)
    return content


def unpack_wheel(source: Source, target: Path) -> Content:
    """Unpacks a wheel to `target`, without what it depends on: that is installed in the environment already."""
    content = _wheel_content(source)
    words = ["-I", "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile", "--no-input", "--quiet"]
    quiet = {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    argv = [sys.executable, *words, "--target", str(target), str(source.path)]
    why = run_quietly(argv, quiet, UNPACK_LIMIT_S)
    if os.strerror(errno.ENOSPC) in why:
        raise storage_error(OSError(errno.ENOSPC, ""), "unpack the wheel", source.path)
    if why:
        raise NotCode(
            f"The wheel {source.path} cannot be unpacked: {why.removeprefix('ERROR: ').rstrip('.')}.",
            hint="See that it fits this Python and that `python -m pip` works here; or deploy the folder.",
        )
    with storage_errors("write the version", target):
        target.chmod(0o700)
        _sync_all(target)
    return content
