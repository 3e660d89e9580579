"""The dashboard's process, as the controller sees to it: started once the service runs, ended where it is not wanted.

It stands in nobody's way: one that cannot start is a line in its log and in `tenfold status`, and fails nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict

from tenfold.control.crew import CHANGES_STAGE, Crew, is_kept
from tenfold.control.place import Place
from tenfold.hosts.records import Launch
from tenfold.topology.map import Map

NODE = "dashboard"
SWITCH = "TENFOLD_DASHBOARD"
"""In the environment of `tenfold up`: `off` switches it off until the next start, whatever tenfold.toml says."""
_GRACE_S = 3.0


def is_wanted(current: Map, environment: Mapping[str, str]) -> bool:
    """Whether a deployment with this map has a dashboard. Pure."""
    return current.dashboard.mode != "off" and environment.get(SWITCH, "").lower() != "off"


async def see_to_page(place: Place, crew: Crew, current: Map) -> None:
    """Starts the dashboard when it is wanted and does not run, ends it when it is not. Other settings of its own it
    notices by itself."""
    fact = await crew.facts(NODE)
    runs = fact is not None and is_kept(fact)
    wanted = is_wanted(current, os.environ)
    if wanted and not runs:
        await crew.ask("spawn", **asdict(page_launch(place)))
    elif runs and not wanted:
        await crew.stop(NODE, _GRACE_S)


def page_launch(place: Place) -> Launch:
    """How the keeper starts it."""
    return Launch(
        node=NODE,
        argv=(sys.executable, "-P", "-m", "tenfold.dashboard", "--root", str(place.root)),
        cwd=str(place.root),
        socket=True,
        grace_s=_GRACE_S,
        stage=CHANGES_STAGE,
    )
