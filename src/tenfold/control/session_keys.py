"""The keys that sign sessions' cookies: made when a deployment comes up, and followed by a new one now and then.

The web processes look at the file by themselves, so nothing restarts. An old key stays until no cookie that it signed
can be valid any more.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from tenfold.control.place import Place
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.core.keyring import KeyRing
from tenfold.core.lifecycle import Background
from tenfold.core.randomness import SYSTEM_RANDOMNESS, Randomness
from tenfold.core.secrets import SESSION_KEYS
from tenfold.topology.sessions import LIFETIME_S

ROTATE_AFTER_S = 30 * 86_400
"""How long one key signs."""
LOOK_EVERY_S = 3600.0

log = logging.getLogger("tenfold.control")


class SessionKeys(Background):
    """Sees to the ring of one deployment for as long as its controller runs."""

    def __init__(self, place: Place, clock: Clock, randomness: Randomness = SYSTEM_RANDOMNESS) -> None:
        super().__init__()
        self._place = place
        self._clock = clock
        self._ring = KeyRing(place.state / "secrets" / SESSION_KEYS, clock, randomness)

    async def run(self) -> None:
        """Looks every hour; what cannot be done is said, and tried again."""
        while True:
            try:
                await asyncio.to_thread(self.see_to_it)
            except TenfoldError as error:
                log.warning("The keys of the sessions: %s", error)
            await asyncio.sleep(LOOK_EVERY_S)

    def see_to_it(self) -> bool:
        """Makes the ring, or puts a new key in front when the one there has signed for long enough; whether it did.

        A clock that was wrong when a key was made does not keep it for ever.
        """
        age_s = self._clock.wall_us() / 1e6 - self._ring.ensure()[0].made_s
        if abs(age_s) < ROTATE_AFTER_S:
            return False
        self._ring.rotate(self._lifetime_s())
        return True

    def _lifetime_s(self) -> float:
        with suppress(TenfoldError):
            current = self._place.read_map()
            if current is not None:
                return current.sessions.lifetime_s
        return LIFETIME_S
