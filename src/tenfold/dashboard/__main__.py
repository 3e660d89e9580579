"""The dashboard's process: `python -m tenfold.dashboard --root DIR`, started by a keeper.

It answers on `run/dashboard.sock` (wire.py): `status` says where the page is (`address`). It ends, and is started
again by its keeper, when its settings in the map have changed. Exit code 3 with one JSON line when it cannot start and
somebody has to change something first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

import uvloop

from tenfold.control.place import Place
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.errors import TenfoldError, Unavailable
from tenfold.dashboard.server import Server
from tenfold.hosts import wire

NICE = 5
"""What serves users comes first."""


def main(argv: list[str] | None = None) -> int:
    """Serves until SIGTERM; the exit code."""
    parser = argparse.ArgumentParser(prog="tenfold.dashboard")
    parser.add_argument("--root", type=Path, required=True, help="the folder of tenfold.toml")
    found = parser.parse_args(argv)
    os.umask(0o077)
    os.nice(NICE)
    try:
        server = Server(Place(found.root.resolve()), SYSTEM_CLOCK)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.run())
    except TenfoldError as error:
        print(json.dumps({"error": wire.error_body(error)}), file=sys.stderr, flush=True)
        return 1 if isinstance(error, Unavailable) else 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
