"""Turns for keys that many write at once: under SERIALIZABLE they would only undo each other."""

from __future__ import annotations

import asyncio
from typing import Any


class Turns:
    """Lets calls of one key go one after another from the first collision until nobody waits any more.

    Calls whose keys collide nowhere never wait: there is no turn until `taken(contended=True)` asks for one.
    """

    def __init__(self) -> None:
        self._locks: dict[Any, tuple[asyncio.Lock, list[int]]] = {}

    async def taken(self, key: Any, *, contended: bool) -> bool:
        """Waits for the key's turn when there is one; True when the caller has it and must give it back with `over`."""
        held = self._locks.get(key)
        if held is None:
            if not contended:
                return False
            held = self._locks[key] = (asyncio.Lock(), [0])
        lock, waiting = held
        waiting[0] += 1
        try:
            await lock.acquire()
        except BaseException:
            self._left(key, waiting)
            raise
        return True

    def over(self, key: Any, taken: bool) -> None:
        """Gives the turn to the next one."""
        if not taken:
            return
        lock, waiting = self._locks[key]
        lock.release()
        self._left(key, waiting)

    def _left(self, key: Any, waiting: list[int]) -> None:
        waiting[0] -= 1
        if not waiting[0]:
            self._locks.pop(key, None)
