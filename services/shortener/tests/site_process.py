"""`python site_process.py STATE PORT SETTINGS`: the service on a real port, with its state in a folder of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import uvicorn

from tenfold.testing import running

SERVICE = Path(__file__).parents[1]


async def serve(state: Path, port: int, settings: dict[str, object]) -> None:
    """Serves until a signal ends it."""
    sys.path.insert(0, str(SERVICE))
    from shortener.app import app  # noqa: PLC0415 - importable only now

    config = uvicorn.Config(app, port=port, lifespan="off", log_level="warning", loop="uvloop", http="httptools")
    async with running(app, state, root=SERVICE, settings=settings):
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])))
