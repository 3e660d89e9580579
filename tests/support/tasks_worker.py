"""A worker process of its own: `python tasks_worker.py FILE`. Its jobs say when they begin and end."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tasks_lab import Process

from tenfold.blocks.database import DatabaseConfig, Transaction


def declared(process: Process) -> None:
    """Tasks that this process and the one that enqueues share."""

    @process.tasks.task("slow")
    async def slow(n: int, hold: str) -> None:
        """Lasts for as long as there is a file of that path."""
        print("began", n, os.getpid(), flush=True)
        while Path(hold).exists():
            await asyncio.sleep(0.02)

        async def body(tx: Transaction) -> None:
            await process.count(tx, "k")
            await process.tasks.complete(tx)

        await process.within("k", body)
        print("ended", n, os.getpid(), flush=True)


async def main(path: Path) -> None:
    """Works until it is killed."""
    process = Process()
    declared(process)
    await process.open(DatabaseConfig(path, "bank"))
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
