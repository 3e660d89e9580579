"""What the users of a tour do: one in ten writes something, the others read what was written. Nothing is judged here.

Two services are known: the shortener of the repository, and the one that `tenfold new` makes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tenfold.core.randomness import Randomness
from tenfold.prove.history import Recording, Status
from tenfold.prove.verdict import Verdict
from tenfold.prove.workloads.base import Answer, Request, chance, field, pick, read, write

WRITES = 0.1
"""Share of requests that write; the book: most applications read far more than they write."""
FIRST = 200
"""So many things are written before anybody reads."""
_MOST = 20_000
"""Of the things that were written, how many are read; a bound on memory."""


@dataclass(frozen=True)
class Kind:
    """How one service is written to and read: `make(text)` is the request, `name` the field of its answer that names
    what was made, and `path` leads to it."""

    make: Callable[[str], Request]
    name: str
    path: str


def _link(text: str) -> Request:
    url = f"https://example.com/{text}"
    return write("/api/v1/data/shorten", "write", text, text, {"url": url})


def _note(text: str) -> Request:
    return Request("POST", "/notes", "write", text, text, {"content-type": "text/plain"}, text.encode())


SHORTENER = Kind(_link, "code", "/")
NOTES = Kind(_note, "id", "/notes/")


class Traffic:
    """A workload for `tenfold.prove.load`, which is asked what to send next and told what was answered."""

    name = "tour"
    promises: tuple[str, ...] = ()

    def __init__(self, kind: Kind, run: str) -> None:
        self._kind = kind
        self._run = run
        self._made: list[str] = []
        self._count = 0

    @property
    def begun(self) -> bool:
        """Whether there is enough to read."""
        return len(self._made) >= FIRST

    def next(self, process: int, randomness: Randomness) -> Request:
        """A read of something, the older the likelier; or a write."""
        if self.begun and not chance(randomness, WRITES):
            at = pick(randomness, len(self._made)) * randomness.uniform()
            return read(self._kind.path + self._made[int(at)], "read", "")
        self._count += 1
        return self._kind.make(f"{self._run}-{process}-{self._count}")

    def observed(self, request: Request, answer: Answer | None, status: Status) -> Any:
        """Remembers what was made."""
        made = field(answer, status, self._kind.name) if request.function == "write" else None
        if isinstance(made, str) and len(self._made) < _MOST:
            self._made.append(made)

    def final(self) -> list[Request]:
        """Nothing: a tour measures, `tenfold prove` proves."""
        return []

    def check(self, _recording: Recording) -> list[Verdict]:
        """No verdicts."""
        return []
