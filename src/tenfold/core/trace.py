"""The trace that a request belongs to, in the form of W3C Trace Context (https://www.w3.org/TR/trace-context/).

A caller's `traceparent` is taken only when it is exactly what the recommendation says; anything else begins a new
trace, so that two requests are never joined by a mistake.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tenfold.core.randomness import Randomness

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 0x01
_WEYL = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio: odd, so its multiples pass through every 64-bit number before one comes again."""
_MASK = (1 << 64) - 1


class Trace(NamedTuple):
    """One piece of work in a trace. `parent_id` is the caller's span, empty where the trace begins here."""

    trace_id: str
    span_id: str
    sampled: bool = True
    parent_id: str = ""

    @property
    def traceparent(self) -> str:
        """The header for calls that this work makes to other services."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


_made = tuple.__new__
"""Half of what the constructor of a named tuple costs."""


class Caller(NamedTuple):
    """What a `traceparent` says."""

    trace_id: str
    span_id: str
    sampled: bool


def parse_traceparent(text: str) -> Caller | None:
    """What the header says; None for anything that the recommendation does not allow.

    Version 00 is exactly 55 characters of lower-case hexadecimal; a later version may be longer, and its beginning is
    read as version 00's; version ff, an all-zero trace and an all-zero span do not exist.
    """
    found = _FORM.fullmatch(text) if len(text) <= 512 else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    if trace_id == "0" * 32 or span_id == "0" * 16:
        return None
    return Caller(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


class Traces:
    """Makes trace and span ids that differ between processes and requests; cheap enough for every request.

    Random prefixes and a Weyl sequence instead of a draw each time: no id repeats within 2**64, and their low bits
    are spread evenly, as samplers by ratio expect. Neither secret nor unguessable.
    """

    __slots__ = ("_at", "_prefix")

    def __init__(self, randomness: Randomness) -> None:
        self._prefix = f"{randomness.bits(64) | 1:016x}"
        self._at = randomness.bits(64)

    def next(self, caller: Caller | None = None) -> Trace:
        """A new piece of work: in the caller's trace, or in a new one."""
        self._at = at = (self._at + _WEYL) & _MASK
        span_id = f"{at or _WEYL:016x}"
        if caller is None:  # the span's digits are the trace's last ones: both are new
            return _made(Trace, (self._prefix + span_id, span_id, True, ""))
        return Trace(caller.trace_id, span_id, caller.sampled, caller.span_id)
