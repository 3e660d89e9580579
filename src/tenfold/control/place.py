"""Where a deployment lives: the folder of its tenfold.toml, the state beside it, and the map in there.

Only the controller and its mover write the map: by rename, under a lock, and never an epoch that does not grow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tenfold.core.errors import SpecError, UsageError
from tenfold.core.files import FileLock, atomic_write, private_dir, storage_errors
from tenfold.topology.map import Map, decode, encode, map_of
from tenfold.topology.spec import Spec, parse_spec
from tenfold.topology.steps import step_of
from tenfold.topology.wants import Wants, decode_wants, encode_wants

SPEC_FILE = "tenfold.toml"


@dataclass(frozen=True)
class Place:
    """The folder of a service. `host` and `port` override `[public]` for as long as the deployment runs."""

    root: Path
    host: str | None = None
    port: int | None = None

    @property
    def state(self) -> Path:
        return self.root / ".tenfold"

    @property
    def run(self) -> Path:
        return self.state / "run"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def spec_file(self) -> Path:
        return self.root / SPEC_FILE

    @property
    def map_file(self) -> Path:
        return self.state / "map.json"

    @property
    def journal_file(self) -> Path:
        return self.state / "journal.jsonl"

    @property
    def moves_file(self) -> Path:
        """The journal of the moves."""
        return self.state / "moves.jsonl"

    @property
    def progress_file(self) -> Path:
        """How far the move was when its mover last said so; for people, no decision rests on it."""
        return self.state / "move-progress.json"

    @property
    def wants_file(self) -> Path:
        return self.state / "wants.json"

    def prepare(self) -> None:
        """Makes the state directory, private to this user. Raises a `TenfoldError` when it cannot be written."""
        for folder in (self.state, self.run, self.logs, self.state / "data"):
            private_dir(folder)
        # The folder may exist from before on a disk that is full or read-only by now: found out here, not half-way.
        self.try_to_write()

    def try_to_write(self) -> None:
        """Raises a `TenfoldError` that says so when the disk of the state takes nothing more."""
        atomic_write(self.run / "probe", b"x" * 4096)
        (self.run / "probe").unlink(missing_ok=True)

    def read_spec(self) -> Spec:
        """tenfold.toml with the overrides. Raises `SpecError` that names the file."""
        try:
            text = self.spec_file.read_bytes()
        except FileNotFoundError:
            raise SpecError(
                f"There is no {self.spec_file}.", hint="Make a service with `tenfold new NAME`, or name one with --dir."
            ) from None
        except OSError as error:
            raise SpecError(f"{self.spec_file} cannot be read: {error.strerror}.") from None
        return self._overridden(parse_spec(text, str(self.spec_file)))

    def _overridden(self, spec: Spec) -> Spec:
        public = spec.public
        if self.host is not None:
            public = msgspec.structs.replace(public, host=self.host)
        if self.port is not None:
            public = msgspec.structs.replace(public, port=self.port)
        return msgspec.structs.replace(spec, public=public)

    def read_map(self) -> Map | None:
        """The map on disk, or None before the first one. Raises `SpecError` when it is damaged."""
        with storage_errors("read", self.map_file):
            try:
                data = self.map_file.read_bytes()
            except FileNotFoundError:
                return None
        return decode(data, str(self.map_file))

    def wanted(self, spec: Spec, current: Map | None, *, after: int = 0) -> Map:
        """The map that meets the spec on the nodes and the door that are; `current` itself when nothing differs.

        `after`: the highest epoch known from elsewhere, for the case that the map was lost.
        """
        made = map_of(spec, root=str(self.root), state=str(self.state), previous=current, after=after)
        if current is None:
            return made
        public = msgspec.structs.replace(made.public, door=current.public.door)
        level = msgspec.structs.replace(made, public=public, nodes=current.nodes)
        return next_map(current, msgspec.structs.replace(level, step=step_of(level)))

    def write_map(self, new: Map) -> None:
        """Makes `new` the map. Raises `UsageError` when a newer one (or another one of the same epoch) is there."""
        with FileLock(self.run / "map.lock"):
            current = self.read_map()
            if current is not None and current != new and new.epoch <= current.epoch:
                raise UsageError(
                    f"The map is at epoch {current.epoch} already, so epoch {new.epoch} is not written.",
                    hint="Another controller has changed it; run the command again.",
                    code="TF-MAP-FENCED",
                )
            atomic_write(self.map_file, encode(new))

    def change_map(self, change: Callable[[Map], Map]) -> Map:
        """Makes what `change` says of the map on disk the map, under the next epoch; the map that it is then.

        Nobody else writes in between. What `change` raises is passed on, and nothing is written then.
        """
        with FileLock(self.run / "map.lock"):
            current = self.read_map()
            if current is None:
                raise SpecError(f"There is no map in {self.state}.", hint="Start it with `tenfold up`.")
            new = next_map(current, change(current))
            if new is not current:
                atomic_write(self.map_file, encode(new))
            return new

    def read_wants(self) -> Wants | None:
        """What commands want beyond tenfold.toml; None before the first command. Raises `SpecError` when damaged."""
        with storage_errors("read", self.wants_file):
            try:
                data = self.wants_file.read_bytes()
            except FileNotFoundError:
                return None
        return decode_wants(data, str(self.wants_file))

    def write_wants(self, wants: Wants) -> None:
        """Writes them, if they differ from what is there."""
        if self.read_wants() != wants:
            atomic_write(self.wants_file, encode_wants(wants))


def next_map(current: Map, content: Map) -> Map:
    """`content` with the epoch after `current`; `current` itself when they say the same."""
    level = msgspec.structs.replace(content, epoch=current.epoch)
    # As bytes, because 1, 1.0 and true are equal in Python and are different settings.
    if msgspec.json.encode(level, order="sorted") == msgspec.json.encode(current, order="sorted"):
        return current
    return msgspec.structs.replace(content, epoch=current.epoch + 1)
