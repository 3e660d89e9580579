"""How several processes share one limit: prepaid tokens over one GCRA row. Values in, values out.

A process takes what its callers wait for, and a few tokens more (a lease), which it spends without asking. Tokens that
are out on lease could be spent all at once, much later than they were charged; so that this never adds up to more than
the limit, the row counts what is out, and the bucket never fills higher than the burst less that. A process may spend
its lease only until the end of the span of time after the one in which it was given, and says what it spent when it
takes the next: tokens of a process that died count as out for at most two spans, and nobody has to know which processes
there are.

For any stretch of time of length t of the database's clock, at most burst + t / interval tokens are spent by all
processes together: as many as one process with the whole limit would allow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tenfold.blocks.limits.policy import NS, Terms, converted

SPAN_NS = NS
"""Leases are good for one to two spans."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is stored of a limit's key: its TAT and the clock when that was worked out, under which interval; the span
    in force, the tokens leased in it, and those leased in the span before; when the bucket was last seen full."""

    tat_ns: int
    at_ns: int
    interval_ns: int
    span: int
    out: int = 0
    before: int = 0
    full_ns: int = 0


@dataclass(frozen=True, slots=True)
class Back:
    """What a process gives back: a lease of `granted` tokens from `span`, of which some are `left`; and `spare` tokens
    that were taken for somebody who did not want them, the first of them at `since_ns`."""

    span: int
    granted: int
    left: int
    spare: int = 0
    since_ns: int = 0


NOTHING_BACK = Back(-1, 0, 0)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a process asks for: to give a lease back, tokens for those who wait `now`, and a lease of `more` tokens.

    With less than `need` it takes none. `owed_ns`: the bucket lacks at least this much (a process charged it before it
    shared the limit).
    """

    need: int = 0
    now: int = 0
    more: int = 0
    back: Back = NOTHING_BACK
    owed_ns: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """What a process gets: `tokens` (0 when there are not enough: then in `wait_ns` there may be). Of them `leased` are
    good for `valid_ns` from the moment at which it asked, the others are spent now. `room` is what is left."""

    tokens: int
    leased: int
    room: int
    wait_ns: int
    valid_ns: int
    span: int
    at_ns: int


def lease(row: Row | None, now_ns: int, terms: Terms, ask: Ask) -> tuple[Row, Grant]:
    """The row after a lease was given back and another was taken, and what its process gets."""
    row = row or Row(now_ns, now_ns, terms.interval_ns, now_ns // SPAN_NS)
    row = _settled(_passed(_now(row, now_ns, terms), now_ns), ask.back)
    out_ns = (row.out + row.before) * terms.interval_ns
    tat_ns = max(row.tat_ns, now_ns + out_ns, now_ns + ask.owed_ns)
    room = max(0, terms.tolerance_ns - (tat_ns - now_ns)) // terms.interval_ns
    tokens = min(ask.now + ask.more, room) if room >= ask.need else 0
    leased = max(0, tokens - ask.now)
    wait_ns = 0 if room >= ask.need else tat_ns + ask.need * terms.interval_ns - terms.tolerance_ns - now_ns
    after = replace(row, tat_ns=tat_ns + tokens * terms.interval_ns, out=row.out + leased)
    return after, Grant(tokens, leased, room - tokens, wait_ns, (row.span + 2) * SPAN_NS - now_ns, row.span, now_ns)


def _now(row: Row, now_ns: int, terms: Terms) -> Row:
    """The row by this clock and under these terms."""
    tat_ns, span, full_ns = row.tat_ns, now_ns // SPAN_NS, row.full_ns
    if row.at_ns > now_ns:  # the clock was set back: what was charged stays charged, counted from the new time
        tat_ns -= row.at_ns - now_ns
        full_ns = max(full_ns, row.at_ns)
    if row.interval_ns != terms.interval_ns:
        tat_ns = converted(tat_ns, now_ns, Terms(row.interval_ns, terms.burst), terms)
    if span < row.span - 1:  # set back so far that leases could outlive their span: they count for two whole ones
        return Row(tat_ns, now_ns, terms.interval_ns, span + 1, row.out + row.before, 0, full_ns)
    return Row(tat_ns, now_ns, terms.interval_ns, row.span, row.out, row.before, full_ns)


def _passed(row: Row, now_ns: int) -> Row:
    """The row after the time that has passed: what is out may have been spent at the last moment, so until that moment
    the bucket was not fuller than the burst less that."""
    if now_ns >= (row.span + 1) * SPAN_NS:
        row = _at(row, (row.span + 1) * SPAN_NS)
        row = replace(row, span=row.span + 1, out=0, before=row.out)
    if now_ns >= (row.span + 1) * SPAN_NS:
        row = _at(row, (row.span + 1) * SPAN_NS)
        row = replace(row, span=now_ns // SPAN_NS, before=0)
    return _at(row, now_ns)


def _at(row: Row, time_ns: int) -> Row:
    """The row at a time until which nothing was charged or leased: as full as it may be, if it has become that."""
    full_ns = time_ns + (row.out + row.before) * row.interval_ns
    if row.tat_ns > full_ns:
        return row
    return replace(row, tat_ns=full_ns, full_ns=max(row.full_ns, time_ns))


def _settled(row: Row, back: Back) -> Row:
    """The row without a lease: it is not out any more, and what is left of it comes back. What was not given back in
    time has been counted as spent. Spare tokens come back unless the bucket has been full since: then they have."""
    tat_ns = row.tat_ns
    if back.spare and row.full_ns <= back.since_ns:
        tat_ns -= back.spare * row.interval_ns
    if back.span == row.span:
        return replace(row, tat_ns=tat_ns - back.left * row.interval_ns, out=max(0, row.out - back.granted))
    if back.span == row.span - 1:
        return replace(row, tat_ns=tat_ns - back.left * row.interval_ns, before=max(0, row.before - back.granted))
    return replace(row, tat_ns=tat_ns)
