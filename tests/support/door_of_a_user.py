"""A front door from its start to its end, as whoever runs this: `python door_of_a_user.py FOLDER` prints what was seen.

In a process of its own, so that a test of root can run it as an ordinary user.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from front_door import front_door

from tenfold.topology.map import BalancerMap

with front_door(Path(sys.argv[1])) as door:
    door.start("web-1")
    seen = {"who": door.who(), "uid": Path(f"/proc/{door.haproxy()}").stat().st_uid}
    pid = door.house.fact("balancer-1")["pid"]
    os.kill(pid, signal.SIGKILL)
    before = door.haproxy()
    door.ready(other_than=pid)
    seen["taken_over"] = door.haproxy() == before
    door.publish(balancer=BalancerMap(header_timeout_s=11.0))
    seen["reloads"] = door.status()["reloads"]
    before = door.haproxy()
    os.kill(before, signal.SIGKILL)
    door.haproxy(other_than=before)
    seen["again"] = door.who()
    os.kill(door.house.fact("balancer-1")["pid"], signal.SIGSTOP)
    seen["how"] = door.house.client.ask("stop", timeout_s=20.0, node="balancer-1", grace_s=0.3)["how"]
    seen["left"] = door.haproxies()
    print(json.dumps(seen))
