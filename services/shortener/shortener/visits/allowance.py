"""Links that may be visited so often only.

The visits are counted behind the redirect, so the count that the database has is a little late: by the 100 ms that they
are kept, the time a batch takes, and the 10 ms in which other processes hear that the link is spent. Each process
therefore also counts what it gave since it loaded the link. So a single process gives no visit too many until it loads
the link anew within that time; every other process may give what it has not heard of.
"""

from __future__ import annotations

from collections import OrderedDict

from shortener.links.table import Link

REMEMBERED = 10_000
"""Links whose visits are counted here at a time; of the one not visited for longest the count begins anew."""

_given: OrderedDict[str, tuple[Link, int]] = OrderedDict()


def take_visit(link: Link) -> bool:
    """Whether one more visit of a link with `max_visits` may be given; counts it."""
    assert link.max_visits is not None, "other links may be visited for ever"
    loaded, given = _given.get(link.code, (link, 0))
    if loaded is not link:  # loaded anew: what was given before is in its count by now
        given = 0
    if link.visits + given >= link.max_visits:
        return False
    _given[link.code] = (link, given + 1)
    _given.move_to_end(link.code)
    if len(_given) > REMEMBERED:
        _given.popitem(last=False)
    return True
