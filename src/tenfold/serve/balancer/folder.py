"""What a balancer keeps on disk, in `run/<node>/`: a configuration and a control socket for each start of HAProxy.

Starts are counted by generations. HAProxy's own command line names its generation, so a balancer process needs no other
record to know which of the HAProxys that it finds is which; the files say what each was started with.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from tenfold.core.errors import SpecError
from tenfold.core.files import atomic_write, private_dir, storage_errors
from tenfold.hosts.identity import Identity
from tenfold.hosts.leftovers import working_in
from tenfold.topology.map import Map, decode, encode

ACCEPTED = "accepted.json"
CANDIDATE = "candidate.cfg"
_OF_A_GENERATION = re.compile(r"^(?:haproxy|admin)-(\d+)\.(?:cfg|sock)$")
_CONFIG = re.compile(rb"(?:^|/)haproxy-(\d+)\.cfg$")


class Folder:
    """The folder of one balancer. HAProxy works in it, so that its socket's name stays short wherever the state is."""

    def __init__(self, path: Path) -> None:
        self.path = private_dir(path)
        self._descriptor = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Gives its descriptor back."""
        os.close(self._descriptor)

    def config(self, generation: int) -> Path:
        """The configuration that this HAProxy reads when it starts."""
        return self.path / f"haproxy-{generation}.cfg"

    def admin(self, generation: int) -> str:
        """The name of its control socket, as HAProxy sees it."""
        return f"admin-{generation}.sock"

    def admin_path(self, generation: int) -> str:
        """The same for us, short enough for a unix socket however deep the folder is."""
        return f"/proc/self/fd/{self._descriptor}/{self.admin(generation)}"

    def running(self, program: str) -> dict[int, Identity]:
        """The HAProxys that work here, by generation; those that only check a configuration are passed over."""
        found = {}
        for identity in working_in(program, str(self.path)):
            generation = _generation_of(identity.pid)
            if generation is not None:
                found[generation] = identity
        return found

    def next_generation(self) -> int:
        """A number above all that have left a trace here."""
        return max(self._generations(), default=0) + 1

    def save_config(self, generation: int, text: str) -> None:
        """Replaces the configuration. Raises `StorageFull` or `UsageError`; the old file is intact then."""
        atomic_write(self.config(generation), text.encode())

    def save_candidate(self, text: str) -> Path:
        """Writes a configuration that is to be checked first."""
        path = self.path / CANDIDATE
        atomic_write(path, text.encode())
        return path

    def read_config(self, generation: int) -> str:
        """The configuration on disk; empty when there is none."""
        with contextlib.suppress(OSError):
            return self.config(generation).read_text()
        return ""

    def save_accepted(self, current: Map) -> None:
        """Notes the newest map whose configuration HAProxy accepts, in case that the next one is refused."""
        atomic_write(self.path / ACCEPTED, encode(current))

    def accepted(self) -> Map | None:
        """That map; None when there was none."""
        path = self.path / ACCEPTED
        with contextlib.suppress(OSError, SpecError):
            return decode(path.read_bytes(), str(path))
        return None

    def forget_all_but(self, generations: Iterable[int]) -> None:
        """Removes the files of other generations. Their number is not used again while a younger one has files."""
        kept = set(generations)
        for path, generation in self._files():
            if generation not in kept:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _generations(self) -> list[int]:
        return [generation for _path, generation in self._files()]

    def _files(self) -> list[tuple[Path, int]]:
        with storage_errors("read", self.path):
            matches = [(path, _OF_A_GENERATION.match(path.name)) for path in self.path.iterdir()]
        return [(path, int(match[1])) for path, match in matches if match]


def _generation_of(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        match = _CONFIG.search(words[-1])
        return int(match[1]) if match else None
    return None
