"""A process that writes numbered rows through a Writer and prints each number once it is acknowledged.

python writing_process.py DATABASE FIRST COUNT CALLERS
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from pathlib import Path

from tenfold.drivers.sqlite import Writer
from tenfold.drivers.sqlite.writer import Job


async def main(path: Path, first: int, count: int, callers: int) -> None:
    writer = Writer(path, on_fatal=lambda error: os._exit(9))
    await writer.start()
    numbers = iter(range(first, first + count))

    def body_of(number: int) -> object:
        def body(connection: sqlite3.Connection, job: Job) -> None:
            connection.execute("INSERT INTO t (id, batch) VALUES (?, ?)", (number, first))

        return body

    async def caller() -> None:
        for number in numbers:
            await writer.submit(body_of(number))  # type: ignore[arg-type]
            os.write(1, f"{number}\n".encode())

    os.write(1, b"ready\n")
    await asyncio.gather(*[caller() for _ in range(callers)])
    await writer.stop()
    os.write(1, f"done {writer.commits}\n".encode())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *map(int, sys.argv[2:5])))
