"""A process that publishes and delivers events, and may end itself as SIGKILL does, after what a handler committed.

python events_process.py CONFIG(JSON) NAME FIRST COUNT KILL_AFTER

It publishes events number FIRST to FIRST + COUNT, and counts each event that it is given in the table `counts`. After
KILL_AFTER batches (0: never) it dies between the handler's last commit and the move of the position.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
from events_lab import Node

from tenfold.blocks import events
from tenfold.blocks.database import DatabaseConfig
from tenfold.blocks.database.backend import ServerConfig
from tenfold.blocks.events import policy, runner


class Told(msgspec.Struct):
    """Where the database is."""

    path: str
    server: dict[str, Any] | None


def told(config: DatabaseConfig) -> str:
    """The first argument."""
    server = config.server
    fields = None if server is None else {name: getattr(server, name) for name in ServerConfig.__dataclass_fields__}
    return msgspec.json.encode(Told(str(config.path), fields)).decode()


def config_of(text: str) -> DatabaseConfig:
    """What `told` was given."""
    found = msgspec.json.decode(text, type=Told)
    server = None if found.server is None else ServerConfig(**found.server)
    return DatabaseConfig(Path(found.path), "bank", backend="sqlite" if server is None else "postgres", server=server)


async def main(config: DatabaseConfig, name: str, first: int, count: int, kill_after: int) -> None:
    policy.LEASE_S, runner.BEAT_S = 0.6, 0.2
    events.BEAT_S = 0.2
    node = Node()
    batches = 0

    async def counts(batch: list[Any]) -> None:
        nonlocal batches
        for event in batch:
            await node.count(event.data["code"])
        batches += 1
        if batches == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    node.events.subscriber("link.made", name="counter", batch=7)(counts)
    await node.open(config)
    os.write(1, b"ready\n")
    for n in range(first, first + count):
        await node.publish(f"{name}{n}")
        os.write(1, f"{name}{n}\n".encode())
        await asyncio.sleep(0.002)
    os.write(1, b"done\n")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(config_of(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:6])))
