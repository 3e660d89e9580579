"""Which version of the service's code runs: taken when a deployment starts or is changed, chosen for a rollback, and
removed again when nothing needs it. Versions are made on disk by versions.py; this never blocks the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from tenfold.control.place import Place
from tenfold.control.sources import NotCode
from tenfold.control.versions import Version, Versions
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.topology.map import Map
from tenfold.topology.wants import wants_of
from tenfold.topology.working import coded


class Coding:
    """The versions of one deployment, as its controller chooses among them."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self._versions = Versions(place, clock)

    async def for_start(self, previous: Map | None) -> tuple[str, str]:
        """The version that a fresh start runs, and what is to be said about it (or nothing).

        The folder as it is, unless it is that of the newest version: then the one that ran before goes on, so that a
        rollback outlives a restart. A folder that cannot be a version runs as it is, without one.
        """
        try:
            return await asyncio.to_thread(self._for_start, previous), ""
        except NotCode as error:
            return "", f"no version of the code is kept: {error.message}"

    def _for_start(self, previous: Map | None) -> str:
        known = self._versions.list()
        if not known or known[-1].digest != self._versions.digest():
            return self._versions.take().id
        running = wants_of(previous).version if previous else ""
        return running if running in {version.id for version in known} else known[-1].id

    async def of(self, source: Path | None, current: Map) -> tuple[str, bool]:
        """The version with the code of a folder or wheel (None: that of tenfold.toml), and whether it was made now.

        It is the version that runs when that is the same code. Raises `NotCode` for what cannot be a version.
        """
        return await asyncio.to_thread(self._of, source, wants_of(current).version)

    def _of(self, source: Path | None, running: str) -> tuple[str, bool]:
        known = self._known(self._versions.digest(source), running)
        return (known, False) if known else (self._versions.take(source).id, True)

    async def of_folder(self, current: Map) -> tuple[str, bool]:
        """As `of` for the folder; no version (the folder itself) when it cannot be one."""
        try:
            return await self.of(None, current)
        except NotCode:
            return "", False

    async def name_of(self, source: Path | None, current: Map) -> str:
        """The version that `of` would give, without making it."""
        return await asyncio.to_thread(self._name_of, source, wants_of(current).version)

    def _name_of(self, source: Path | None, running: str) -> str:
        known = self._known(self._versions.digest(source), running)
        return known or self._versions.next_name()

    def _known(self, digest: str, running: str) -> str:
        """The version of that content, the one that runs first; empty when there is none."""
        same = [version.id for version in self._versions.list() if version.digest == digest]
        return running if running in same else (same or [""])[-1]

    async def chosen(self, name: str, current: Map) -> str:
        """The version that a rollback leads to: `name`, or what served before the one that runs. Raises TF-VERSION."""
        if name:
            return (await asyncio.to_thread(self._versions.find, name)).id
        return (await asyncio.to_thread(self._versions.before, wants_of(current).version)).id

    async def remove(self, name: str) -> None:
        """Removes a version that nothing runs."""
        await asyncio.to_thread(self._versions.remove, name)

    async def served(self, current: Map) -> None:
        """Clients come to the version of this map: remembered for a rollback. A disk that is full does not stop it."""
        with contextlib.suppress(TenfoldError):
            await asyncio.to_thread(self._versions.note_served, wants_of(current).version)

    async def tidy(self, using: Iterable[str]) -> None:
        """Keeps the last few versions and those in use."""
        await asyncio.to_thread(self._versions.keep_last, using={name for name in using if name})

    async def list(self, current: Map) -> list[dict[str, Any]]:
        """Every version, oldest first, with the nodes that run it (`runs`)."""
        found: tuple[Version, ...] = await asyncio.to_thread(self._versions.list)
        return [
            {
                **msgspec.to_builtins(version),
                "runs": [node.name for node in coded(current) if node.version == version.id],
            }
            for version in found
        ]
