"""Sends the numbers of a process to an OpenTelemetry collector, if tenfold.toml names one (`[metrics] otlp`).

One request at a time, with a limit, on the loop (nothing of it blocks); what a collector does not take is not kept: the
numbers are cumulative, so the next request says it all. A collector that is away costs a line in the log when it goes
and one when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from tenfold.core.lifecycle import Background
from tenfold.core.randomness import Randomness

LIMIT_S = 5.0
"""What one request may take."""
LAST_LIMIT_S = 2.0
"""What the last one may take, when the process ends."""
IDLE_S = 15.0
"""How often it is looked whether there is a collector by now."""

log = logging.getLogger("tenfold.serve")

Target = Callable[[], tuple[str, float]]
"""The collector's address, empty without one, and the seconds between two requests."""


class Push(Background):
    """Sends from `start` to `stop`, and once more at its end."""

    def __init__(self, target: Target, render: Callable[[], bytes], randomness: Randomness) -> None:
        super().__init__()
        self._target = target
        self._render = render
        self._randomness = randomness
        self.sent = 0
        self.refused = 0
        self._fails = False

    async def run(self) -> None:
        """Sends, until it is cancelled."""
        part = self._randomness.uniform()  # processes that were started together do not send together
        while True:
            address, every_s = self._target()
            await asyncio.sleep((every_s if address else IDLE_S) * part)
            part = 1.0
            await self.send(LIMIT_S)

    async def stop(self) -> None:
        """Ends, after the last numbers."""
        ran = self.running
        await super().stop()
        if ran and self.sent:  # a collector that was never there is not waited for
            await self.send(LAST_LIMIT_S)

    async def send(self, limit_s: float) -> None:
        """Sends the numbers as they are now, if there is a collector; never fails."""
        address, _ = self._target()
        if not address:
            return
        try:
            await asyncio.to_thread(importlib.import_module, "prometheus_client")  # 40 ms, the first time
            async with asyncio.timeout(limit_s):
                status = await post(address, self._render())
            self._note(address, "" if 200 <= status < 300 else f"it answered {status}")
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            self._note(address, str(error) or type(error).__name__)

    def _note(self, address: str, failure: str) -> None:
        if failure:
            self.refused += 1
        else:
            self.sent += 1
        if bool(failure) != self._fails:
            self._fails = bool(failure)
            if failure:
                log.warning("The numbers cannot be sent to %s: %s.", address, failure)
            else:
                log.info("The numbers are sent to %s again.", address)


async def post(address: str, body: bytes) -> int:
    """Posts JSON; the status of the answer. `OSError` or `ValueError` when there is none."""
    parts = urlsplit(address)
    context = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if context else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context, limit=16_384)
    try:
        head = (
            f"POST {parts.path or '/'} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        writer.write(head.encode("ascii") + body)
        await writer.drain()
        version, status, *_ = (await reader.readuntil(b"\r\n")).split()
        if not version.startswith(b"HTTP/"):
            raise ValueError("it does not speak HTTP")
        return int(status)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
