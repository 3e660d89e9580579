"""How many connections HAProxy has to each web server: one that has any cannot be taken out. Pure."""

from __future__ import annotations

from tenfold.engines.haproxy.reconcile import Place

COMMAND = "show servers conn"


def busy_in(answer: str) -> dict[Place, int]:
    """The connections in use and in reserve on each server, from what HAProxy answered to `COMMAND`.

    Lines that cannot be read are left out: what is not known to be idle is not taken out.
    """
    lines = answer.splitlines()
    names = lines[0].removeprefix("# ").split() if lines else []
    found = {}
    for line in lines[1:]:
        row = dict(zip(names, line.split(), strict=False))
        backend, slash, name = row.get("bkname/svname", "").partition("/")
        counts = row.get("used_cur", ""), row.get("idle_cur", "")
        if slash and all(count.isdecimal() for count in counts):
            found[Place(backend, name)] = sum(map(int, counts))
    return found
