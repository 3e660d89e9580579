"""Where a tour happens: a copy of a service in a temporary folder, with ports of its own, of which nothing stays.

A tour that was killed leaves its folder with a note of whose it was; the next one takes it down.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tenfold
from tenfold.control.deployment import Deployment
from tenfold.control.place import Place
from tenfold.control.sources import LEFT_OUT
from tenfold.core.errors import TenfoldError
from tenfold.core.files import atomic_write, storage_errors
from tenfold.engines.postgres.home import home_of
from tenfold.hosts.identity import Identity, identity_of, is_alive
from tenfold.tour import caps
from tenfold.tour.traffic import NOTES, SHORTENER, Kind

MARK = "tour"
PREFIX = "tenfold-tour-"
NOTE = "tour.json"
_PORT, _ANY_PORT = "port = 8000", "port = 0"
_NEEDED = ("starlette", "jinja2", "idna", "argon2")
"""What the shortener imports besides tenfold."""
PAGE = """
[dashboard]
port = 0
mode = "read-only"            # the tour itself is what changes this deployment
"""


@dataclass(frozen=True)
class Stage:
    """The copy that a tour happens on."""

    place: Place
    kind: Kind
    service: str

    def up(self, say: Callable[[str], None]) -> None:
        """Starts it on step 1. Raises what kept it from running."""
        Deployment(self.place, say).bring_up()


@contextlib.contextmanager
def borrowed(make: Callable[[Path], None], *, keep: bool) -> Iterator[Stage]:
    """A stage, nothing of which runs in the end; with `keep` its folder stays. `make` makes the bundled service in a
    folder that does not exist yet, for when there is no repository around us."""
    with storage_errors("write", tempfile.gettempdir()):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        _note(folder)
    stage = Stage(Place(folder / "service"), *_filled(folder / "service", make))
    before = os.environ.get("TENFOLD_LIMITS")
    os.environ["TENFOLD_LIMITS"] = "off"  # all the load comes from one address, which a limit would refuse
    try:
        yield stage
    finally:
        os.environ.pop("TENFOLD_LIMITS")
        os.environ.update({} if before is None else {"TENFOLD_LIMITS": before})
        cleared(folder, keep=keep)


def sweep() -> list[str]:
    """Takes down what tours that were killed left in this machine's folder for such things; the folders."""
    swept = []
    for note in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{NOTE}"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, TenfoldError):
            ours = note.lstat().st_uid == note.parent.lstat().st_uid == os.geteuid()
            if ours and not is_alive(Identity(**json.loads(note.read_text()))):
                cleared(note.parent, keep=False)
                swept.append(str(note.parent))
    caps.sweep(MARK)
    return swept


def cleared(folder: Path, *, keep: bool) -> None:
    """Stops what runs there, and removes the folder with its data. Raises what still runs."""
    place = Place(folder / "service")
    Deployment(place).take_down()
    if keep:
        (folder / NOTE).unlink(missing_ok=True)
        return
    if os.geteuid() == 0:  # a database server of root's has its data outside of the folder
        shutil.rmtree(home_of(place.state, _service_in(place)).root, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _note(folder: Path) -> None:
    found = identity_of(os.getpid())
    assert found is not None, "we run"
    atomic_write(folder / NOTE, json.dumps(vars(found)).encode())


def _filled(root: Path, make: Callable[[Path], None]) -> tuple[Kind, str]:
    ours = shortener()
    with storage_errors("write", root):
        if ours is None:
            make(root)
        else:
            shutil.copytree(ours, root, ignore=shutil.ignore_patterns(*LEFT_OUT, "tests"))
        spec = root / "tenfold.toml"
        text = spec.read_text("utf-8")
        assert text.count(_PORT) == 1, "the service's own tenfold.toml names its port once"
        spec.write_text(text.replace(_PORT, _ANY_PORT) + PAGE, "utf-8")
    return (NOTES if ours is None else SHORTENER), Place(root).read_spec().service.name


def shortener() -> Path | None:
    """The shortener of the repository that we run from; None where there is none, or not all that it imports."""
    root = Path(tenfold.__file__).resolve().parents[2] / "services" / "shortener"
    there = (root / "tenfold.toml").is_file() and all(importlib.util.find_spec(name) for name in _NEEDED)
    return root if there else None


def _service_in(place: Place) -> str:
    with contextlib.suppress(TenfoldError):
        return place.read_spec().service.name
    return ""
