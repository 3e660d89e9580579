"""A process of its own that draws snowflakes: `python draw_ids.py DATABASE OUTPUT COUNT SEED`.

Its clock steps back and forth. Half way it is replaced by a new program (exec), as abruptly as by a kill: nothing is
given back. Refusals are answered as a client would: it asks again; a clock that is far back is set right, as NTP does.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from array import array
from pathlib import Path

from own_tables import opened

from tenfold.blocks.database import Database
from tenfold.blocks.ids import Ids
from tenfold.core.clock import SystemClock
from tenfold.core.errors import Unavailable
from tenfold.core.randomness import SYSTEM_RANDOMNESS

STEPS_S = (-3600.0, -2.0, -0.4, -0.1, 0.1, 0.4, 2.0, 120.0)
TTL_S = 1.0


class SteppedClock(SystemClock):
    """The machine's clock plus a step."""

    step_us = 0

    def wall_us(self) -> int:
        return super().wall_us() + self.step_us


async def live(database: Database, output: Path, count: int, draw: random.Random) -> None:
    """Draws `count` ids and writes them down; the node is not given back."""
    clock = SteppedClock()
    ids = Ids(database, clock, SYSTEM_RANDOMNESS, lease_ttl_s=TTL_S)
    await ids.start()
    made, refused = array("Q"), 0
    while len(made) < count:
        try:
            made.append(ids.snowflake())
        except Unavailable as error:
            refused += 1
            if error.code == "TF-IDS-CLOCK":
                clock.step_us = max(0, clock.step_us) + round(error.retry_after_s * 1e6)
            await asyncio.sleep(0.001)
        if len(made) % 5_000 == 0:
            clock.step_us += round(draw.choice(STEPS_S) * 1e6)
            await asyncio.sleep(0)  # renewals get their turn
    assert refused > 0, "no step of the clock was ever noticed"
    output.write_bytes(made.tobytes())


async def main(path: Path, output: str, count: int, seed: int, life: int) -> None:
    """One life; after the first one the process is replaced while everything is still open."""
    async with opened(path) as database:
        await live(database, Path(f"{output}-{life}.life"), count // 2, random.Random(2 * seed + life))
        if life == 0:
            os.execv(sys.executable, [sys.executable, *sys.argv, "1"])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:5]), life=len(sys.argv) - 5))
