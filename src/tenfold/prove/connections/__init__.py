"""Clients of every kind of connection beside the load: what a front door must not break.

The load asks many small things, each answered in a few milliseconds. What a change of doors or a killed server breaks
is the rest: connections that are fresh, busy or idle, bodies that come slowly, answers that take their time,
WebSockets, event streams. Each kind has a few clients, which do one thing after the other over raw sockets and send
nothing twice; every request, message and end of a connection is an operation of the history, judged by the rule of its
kind.

`Visitors` runs them all. The seam for more: a line in `http.KINDS`, or a client as in `websocket` and `events`.
"""

from __future__ import annotations

from tenfold.prove.connections.ground import Ground
from tenfold.prove.connections.http import COUNTING, KINDS
from tenfold.prove.connections.visitors import STREAMS, Visitors

__all__ = ["COUNTING", "KINDS", "NAMES", "STREAMS", "Ground", "Visitors"]

NAMES = (*(kind.name for kind in KINDS), *STREAMS)
"""What the operations of each kind are called in the history (their workload)."""
