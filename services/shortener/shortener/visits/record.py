"""A visit, told in the redirect: nothing is written there, so that a busy link stays as fast as a quiet one.

`record` keeps it in memory for up to 100 ms; a process that is killed then loses it, and the count is short by it.
"""

from __future__ import annotations

from shortener.model import tf
from shortener.visits.kinds import device_of, referrer_of

VISITED = "link.visited"


def record_visit(code: str, referrer: str | None, agent: str | None) -> None:
    """Tells that a link was followed, with what its visitor's headers said."""
    tf.events.record(VISITED, {"code": code, "from": referrer_of(referrer), "with": device_of(agent)})
