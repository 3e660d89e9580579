"""What serve needs of the Tenfold object, and nothing more.

serve stands below `service.py`, so it cannot import it: the Tenfold object satisfies this protocol instead, and the
tests of serve run against a small fake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tenfold.blocks.database import Holding
    from tenfold.blocks.limits import Limits
    from tenfold.blocks.tasks import Tasks
    from tenfold.core.clock import Clock
    from tenfold.core.randomness import Randomness
    from tenfold.topology.map import Map


class Runtime(Protocol):
    """The blocks of one service in one process.

    The order of calls is: `adopt` (only when a map exists), `on_fatal`, `open`, any number of `adopt`/`ready`, `close`.
    All calls are made on the event loop's thread.
    """

    @property
    def name(self) -> str:
        """The service's name."""
        ...

    @property
    def clock(self) -> Clock:
        """The clock of the process."""
        ...

    @property
    def randomness(self) -> Randomness:
        """The randomness of the process."""
        ...

    @property
    def map(self) -> Map | None:
        """The map in force; None when the service runs without a keeper on its defaults."""
        ...

    @property
    def tasks(self) -> Tasks:
        """The jobs of the service."""
        ...

    @property
    def limits(self) -> Limits:
        """The limits that requests are counted by."""
        ...

    async def open(self) -> None:
        """Opens the blocks. Raises a `TenfoldError` when that is impossible; nothing stays open then."""
        ...

    async def close(self) -> None:
        """Finishes what was accepted, then closes the blocks. Calling it twice, or without `open`, does nothing."""
        ...

    def adopt(self, new: Map) -> None:
        """Takes over a map. May come before `open`; a map with the epoch already in force changes nothing.

        When it returns, every new piece of work goes by the new map: the return is the acknowledgement of design 5.2.
        """
        ...

    async def prepared(self, limit_s: float) -> None:
        """Returns when what the map wants opened in advance could take over; at once when there is no such thing.

        Raises `Unavailable` with the reason after `limit_s` seconds.
        """
        ...

    def on_stale(self, look: Callable[[], object]) -> None:
        """Registers what looks at the map file at once, and adopts a newer map; it does not raise."""
        ...

    @property
    def holding(self) -> Holding:
        """What waits while a move passes, and what has waited."""
        ...

    def ready(self) -> tuple[bool, str]:
        """Whether requests can be served, and a sentence why not (empty when ready). Cheap: no I/O."""
        ...

    def works(self) -> bool:
        """Whether this process runs jobs and delivers events, by the map in force and unless it leaves."""
        ...

    def leave(self) -> None:
        """Begins no further job from now on, whatever a later map says; those that run go on."""
        ...

    def busy(self) -> int:
        """How many jobs, and batches of events, run in this process now."""
        ...

    def collectors(self) -> Mapping[str, Callable[[], object]]:
        """What `/metrics` shows of the blocks: by name, what returns a block's statistics (serve/families.py)."""
        ...

    def on_fatal(self, callback: Callable[[BaseException], None]) -> None:
        """Registers what to call when the process must not go on (a COMMIT whose outcome is unknown)."""
        ...
