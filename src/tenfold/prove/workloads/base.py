"""What a workload is: it says what to send next, what an answer means, and how the recorded run is judged.

A workload is pure apart from the randomness it is given, and is asked from one thread. It knows nothing of time, faults
or connections: the load sends its requests, the history keeps what became of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from tenfold.core.randomness import Randomness
from tenfold.prove.history import Recording, Status
from tenfold.prove.verdict import Verdict

PROBE = "/tf-probe/"
"""Where the probe's endpoints live; requests below it need the header `TF-Probe`, which the load adds."""

JSON = {"content-type": "application/json"}


class Request(msgspec.Struct, frozen=True):
    """One HTTP request and what it means. `value` is what is written (None for reads), unique for each write.

    The load adds what belongs to the client and not to the workload: the probe's secret, and the consistency token that
    this client (`process`) got last, as the header `TF-Token`. A keyed request carries its `Idempotency-Key` here.
    """

    method: str
    path: str
    function: str
    key: str
    value: Any = None
    headers: Mapping[str, str] = {}
    body: bytes = b""
    keyed: bool = False


class Answer(msgspec.Struct, frozen=True):
    """The HTTP response as far as a workload may look at it; header names are lower case."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""

    def json(self) -> Any:
        """The decoded body; None when it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


class Workload(Protocol):
    """One kind of load with its checker."""

    @property
    def name(self) -> str:
        """What its operations are called in the history."""
        ...

    @property
    def promises(self) -> tuple[str, ...]:
        """The ids of the promises that its verdicts speak of."""
        ...

    def next(self, process: int, randomness: Randomness) -> Request:
        """What client `process` sends now."""
        ...

    def observed(self, request: Request, answer: Answer | None, status: Status) -> Any:
        """The value to record: what was written, or in an ok read what was read. Never raises."""
        ...

    def final(self) -> list[Request]:
        """The reads that are made once all faults are healed, and repeated until each is ok."""
        ...

    def check(self, recording: Recording) -> list[Verdict]:
        """The verdicts over the operations of this workload."""
        ...


class Values:
    """Values that no two writes of a run share: `<process>-<n>`."""

    def __init__(self) -> None:
        self._count = 0

    def next(self, process: int) -> str:
        """The next value of that client."""
        self._count += 1
        return f"{process}-{self._count}"


class Rotation:
    """Keys of a run, each used for `uses` requests: checkers cost more the more happens to one key."""

    def __init__(self, run: str, name: str, uses: int) -> None:
        self._prefix = f"{run}-{name}"
        self._uses = uses
        self._used = 0

    def next(self) -> str:
        """The key for the next request."""
        key = f"{self._prefix}-{self._used // self._uses}"
        self._used += 1
        return key

    def used(self) -> list[str]:
        """All keys that were given out."""
        return [f"{self._prefix}-{number}" for number in range(-(-self._used // self._uses))]


def chance(randomness: Randomness, share: float) -> bool:
    """True in that share of the calls."""
    return randomness.uniform() < share


def pick(randomness: Randomness, count: int) -> int:
    """A number from 0 to below `count`."""
    return min(int(randomness.uniform() * count), count - 1)


def probe_path(*parts: object) -> str:
    """A path of the probe, its parts percent-encoded."""
    return PROBE + "/".join(quote(str(part), safe="") for part in parts)


def write(path: str, function: str, key: str, value: Any, body: Any, *, idempotency: str = "") -> Request:
    """A POST with a JSON body; keyed when `idempotency` is given."""
    headers = {**JSON, "idempotency-key": idempotency} if idempotency else JSON
    return Request("POST", path, function, key, value, headers, msgspec.json.encode(body), bool(idempotency))


def read(path: str, function: str, key: str, value: Any = None) -> Request:
    """A GET."""
    return Request("GET", path, function, key, value)


def field(answer: Answer | None, status: Status, name: str) -> Any:
    """A member of the JSON object in an ok answer; None when there is none."""
    if answer is None or status is not Status.OK:
        return None
    found = answer.json()
    return found.get(name) if isinstance(found, dict) else None
