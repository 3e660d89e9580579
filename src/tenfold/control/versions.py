"""The versions of the service's code that can run: whole copies in `.tenfold/versions`, named v1, v2, v3 and so on.

A version is made in a folder that nobody looks at and appears by one rename, synced: it is there as a whole or not at
all, whoever is killed and however full the disk is. A number is never given twice.
"""

from __future__ import annotations

import compileall
import contextlib
import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from tenfold.control.place import Place
from tenfold.control.sources import Source, content_of, copy_folder, open_source, unpack_wheel
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.errors import UsageError
from tenfold.core.files import FileLock, atomic_write, private_dir, storage_errors, sync_dir

MANIFEST = ".tenfold-version.json"
KEPT = 3
"""Versions that stay beside the ones that run."""

ROW = 100
"""How many versions that have served are remembered by name."""

_NAME = re.compile(r"v([1-9][0-9]*)")
_DRAFT = re.compile(r"\.v[1-9][0-9]*\.(new|old)")


class Version(msgspec.Struct, frozen=True):
    """One version: its name ("v7"), what it holds, when it was taken (microseconds since 1970) and from where."""

    id: str
    digest: str
    """SHA-256 of its content, tenfold.toml apart: two versions with the same one are the same code."""
    taken_us: int
    source: str
    """The absolute path of the folder or the wheel that it was taken from."""
    kind: Literal["folder", "wheel"]
    files: int
    size: int
    """Bytes of all its files together."""

    @property
    def number(self) -> int:
        """7 for "v7"."""
        return number_of(self.id)


def number_of(name: str) -> int:
    """The number of a version's name; 0 for the folder itself (an empty name)."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else 0


def row_with(served: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The row of versions that have served once `name` serves: a new one comes last, an earlier one ends the row."""
    if not number_of(name):
        return served
    return served[: served.index(name) + 1] if name in served else (*served, name)[-ROW:]


class Versions:
    """The versions of one deployment. It blocks on the disk: never call it on the event loop."""

    def __init__(self, place: Place, clock: Clock = SYSTEM_CLOCK) -> None:
        self.place = place
        self.folder = place.state / "versions"
        self._counter = self.folder / "last"
        self._served = self.folder / "served.json"
        self._clock = clock

    def digest(self, source: Path | None = None) -> str:
        """The digest that `take` of the same source would give, without writing anything. Raises as `take` does."""
        found = self._open(source)
        return content_of(found).digest

    def take(self, source: Path | None = None) -> Version:
        """Makes the next version from `source`: a folder (by default that of tenfold.toml) or a wheel.

        Raises `UsageError` (TF-VERSION) for what cannot be one, `StorageFull` and the other errors of the disk; nothing
        of the attempt is left then.
        """
        found = self._open(source)
        with self._turn():
            name = self._next_name()
            draft = self.folder / f".{name}.new"
            with _removed_on_error(draft):
                content = (unpack_wheel if found.kind == "wheel" else copy_folder)(found, draft)
                made = Version(
                    name, content.digest, self._clock.wall_us(), str(found.path), found.kind, content.files,
                    content.size,
                )  # fmt: skip
                # Each process that runs it would do so otherwise, where Python keeps nothing that it compiles.
                compileall.compile_dir(draft, ddir=str(self.folder / name), quiet=2)
                atomic_write(draft / MANIFEST, msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n")
                with storage_errors("keep the version in", self.folder):
                    os.rename(draft, self.folder / name)
                    sync_dir(self.folder)
            return made

    def next_name(self) -> str:
        """The name that the next version would have now. Nothing is written, so nobody is sure to get it."""
        return f"v{self._last() + 1}"

    def list(self) -> tuple[Version, ...]:
        """All versions, oldest first."""
        return tuple(sorted(self._found(), key=lambda version: version.number))

    def find(self, name: str) -> Version:
        """The version of that name. Raises `UsageError` (TF-VERSION) that says which there are."""
        known = self.list()
        for version in known:
            if version.id == name:
                return version
        there = f"There are {', '.join(each.id for each in known)}." if known else "None was taken yet."
        raise UsageError(f"There is no version {name}.", hint=f"{there} See `tenfold versions`.", code="TF-VERSION")

    def before(self, name: str) -> Version:
        """The version that served before `name`: where `rollback` leads. Raises `UsageError` when there is none.

        One that was gone back from does not count: who goes back twice wants to be further back.
        """
        known = {version.id: version for version in self.list()}
        served = self.served()
        row = served[: served.index(name)] if name in served else sorted(known, key=number_of)
        older = [one for one in row if one in known and (name in served or number_of(one) < number_of(name))]
        if older:
            return known[older[-1]]
        raise UsageError(
            f"No version is kept from before {name or 'the folder itself'}, so there is nothing to go back to.",
            hint="See `tenfold versions`; `tenfold deploy PATH` brings any other code.",
            code="TF-VERSION",
        )

    def served(self) -> tuple[str, ...]:
        """The names of the versions that have served, in order, without those that were gone back from."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(self._served.read_bytes(), type=tuple[str, ...])
        return ()

    def note_served(self, name: str) -> None:
        """Clients come to this version now. Raises the errors of the disk."""
        before = self.served()
        after = row_with(before, name)
        if after != before:
            with self._turn():
                atomic_write(self._served, msgspec.json.encode(after))

    def of_digest(self, digest: str) -> Version | None:
        """The newest version with that content, if there is one."""
        return next((version for version in reversed(self.list()) if version.digest == digest), None)

    def remove(self, name: str) -> None:
        """Removes a version; does nothing when there is none of that name. No process may run it any more."""
        if not number_of(name):
            return
        with self._turn():
            gone = self.folder / f".{name}.old"
            with storage_errors("remove the version", self.folder / name):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(self.folder / name, gone)
                shutil.rmtree(gone, ignore_errors=True)
                sync_dir(self.folder)

    def keep_last(self, count: int = KEPT, using: Collection[str] = ()) -> tuple[str, ...]:
        """Removes all but the newest `count` versions, the last `count` that served, and those in `using`; the names of
        the removed."""
        known = [version.id for version in self.list()]
        kept = {*known[-count:], *[name for name in self.served() if name in known][-count:], *using}
        spare = [name for name in known if name not in kept]
        for name in spare:
            self.remove(name)
        return tuple(spare)

    def _open(self, source: Path | None) -> Source:
        return open_source(self.place, source)

    def _found(self) -> Iterator[Version]:
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.folder):
                if _NAME.fullmatch(entry.name):
                    with contextlib.suppress(OSError, msgspec.MsgspecError):
                        yield msgspec.json.decode(Path(entry.path, MANIFEST).read_bytes(), type=Version)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """One at a time; what somebody who was killed has left is cleared away first."""
        self.place.prepare()
        private_dir(self.folder)
        with FileLock(self.place.run / "versions.lock"):
            for entry in os.scandir(self.folder):
                if _DRAFT.fullmatch(entry.name):
                    shutil.rmtree(entry.path, ignore_errors=True)
            yield

    def _next_name(self) -> str:
        """One above every number that was ever given, which is written down before it is used."""
        number = self._last() + 1
        atomic_write(self._counter, f"{number}\n".encode())
        return f"v{number}"

    def _last(self) -> int:
        """The highest number that was ever given; the folders say it too, should the file be lost."""
        numbers = [0]
        with contextlib.suppress(FileNotFoundError):
            numbers += [number_of(entry.name) for entry in os.scandir(self.folder)]
        with contextlib.suppress(OSError, ValueError):
            numbers.append(int(self._counter.read_bytes()))
        return max(numbers)


@contextlib.contextmanager
def _removed_on_error(draft: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
