"""The tiers under each other, with arrows between them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tenfold.dashboard.picture.model import Arrow, Picture, Tier
from tenfold.dashboard.picture.roles import USERS
from tenfold.dashboard.terminal.boxes import Block, tier_block
from tenfold.dashboard.terminal.numbers import count_words, traffic_words
from tenfold.dashboard.terminal.pen import Pen, beside, padded, width_of

GUTTER = 14
"""Columns for the names of the tiers, left of the boxes."""
STEM = 7
"""The column of the arrows, seen from the left edge of the boxes."""

_NAMES = {
    "geodns": "DNS",
    "edge": "edges",
    "balancer": "load balancer",
    "web": "web servers",
    "worker": "workers",
    "queue": "queue",
    "cache": "cache",
    "store": "object store",
    "database": "database",
    "replica": "replicas",
    "shard": "shards",
    "metrics": "metrics",
}
_ALONE = {"web": "web server", "worker": "worker", "edge": "edge", "replica": "replica", "shard": "shard"}


@dataclass(frozen=True)
class Row:
    """One row: a tier, and the one that stands beside it where there is room for both."""

    tier: Tier
    aside: Tier | None = None
    roomy: bool = True

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles in it."""
        return (self.tier.role,) if self.aside is None else (self.tier.role, self.aside.role)


def picture_lines(pen: Pen, picture: Picture, width: int) -> list[str]:
    """The rows of the picture from the users downwards, in at most `width` columns."""
    inner = width - GUTTER - 1
    rows = _rows(pen, picture, inner)
    lines: list[str] = []
    for at, row in enumerate(rows):
        above = rows[at - 1].roles if at else ()
        lines += _gap(pen, picture.arrows, row, above, width)
        lines += _row(pen, picture, row, inner)
    return lines


# Rows


def _rows(pen: Pen, picture: Picture, width: int) -> list[Row]:
    """A tier beside another one goes into its row when both fit there, and gets a row of its own when not."""
    asides = {tier.beside: tier for tier in picture.tiers if tier.beside}
    rows: list[Row] = []
    for tier in picture.tiers:
        if tier.beside:
            continue
        aside = asides.get(tier.role)
        if aside is None:
            rows.append(Row(tier))
        elif _fit(pen, picture, Row(tier, aside), width):
            rows.append(Row(tier, aside))
        elif _fit(pen, picture, Row(tier, aside, roomy=False), width):
            rows.append(Row(tier, aside, roomy=False))
        else:
            rows += [Row(tier), Row(aside)]
    return rows


def _fit(pen: Pen, picture: Picture, row: Row, width: int) -> bool:
    both = (_block(pen, picture, each, width, roomy=row.roomy).width for each in (row.tier, row.aside) if each)
    return sum(both) + len(pen.strokes.aside) + 2 <= width


def _block(pen: Pen, picture: Picture, tier: Tier, width: int, *, roomy: bool) -> Block:
    return tier_block(pen, tier, width, measured=picture.window_s > 0, roomy=roomy)


def _row(pen: Pen, picture: Picture, row: Row, width: int) -> list[str]:
    if row.tier.role == USERS:
        return [" " * (GUTTER + STEM - 1) + pen.ink("users", "bold")]
    block = _block(pen, picture, row.tier, width, roomy=row.roomy)
    lines = block.lines
    if row.aside is not None:
        arrow = ["", pen.ink(pen.strokes.aside, "cyan")]
        other = _block(pen, picture, row.aside, width, roomy=row.roomy)
        lines = beside([lines, arrow, other.lines], [block.width, len(pen.strokes.aside), other.width])
    return _labelled(pen, row, lines)


def _labelled(pen: Pen, row: Row, lines: Sequence[str]) -> list[str]:
    """The boxes with the name of their tier, and its engine, on the left."""
    tier = row.tier
    labels = ["", pen.ink(pen.cut(_named(tier), GUTTER - 1), "bold")]
    if tier.backend:
        labels.append(pen.ink(pen.cut(tier.backend, GUTTER - 1), "dim"))
    if row.aside is not None:
        labels.append(pen.ink(pen.cut(f"and {_named(row.aside)}", GUTTER - 1), "dim"))
    height = max(len(lines), len(labels))
    cells = [(labels[at] if at < len(labels) else "", lines[at] if at < len(lines) else "") for at in range(height)]
    return [f" {padded(label, GUTTER)}{line}".rstrip() for label, line in cells]


def _named(tier: Tier) -> str:
    return (_ALONE if len(tier.nodes) == 1 else _NAMES).get(tier.role) or _NAMES.get(tier.role, tier.role)


# Arrows


def _gap(pen: Pen, arrows: Sequence[Arrow], row: Row, above: Sequence[str], width: int) -> list[str]:
    """The arrows that end in this row; one that comes from further above says where from."""
    ending = [arrow for arrow in arrows if arrow.target in row.roles and arrow.source not in row.roles]
    if not ending:
        return [""] if above else []
    indent = " " * (GUTTER + STEM + 1)
    room = width - len(indent) - 3
    named = len(ending) > 1 or ending[0].source not in above
    told = [arrow for arrow in ending if _words(arrow)]
    stem = pen.ink(pen.strokes.down, "dim")
    lines = [f"{indent}{stem}  {_told(pen, arrow, room, named=named)}".rstrip() for arrow in told]
    held = [arrow for arrow in ending if arrow.gate == "held"]
    if held:
        return [*lines, _gate(pen, held[0], width)]
    head = pen.ink(pen.strokes.head, "dim")
    if pen.tight and lines:
        return [*lines[:-1], lines[-1].replace(stem, head, 1)]
    return [*lines, indent + head]


def _words(arrow: Arrow) -> list[str]:
    """What is said of an arrow, what matters most at the end last: it is cut from before the end."""
    words = traffic_words(arrow.traffic)
    if arrow.waiting and arrow.gate != "held":
        words.append(f"{count_words(arrow.waiting)} wait")
    if arrow.kind == "replication":
        words.append("copies")
    return words


def _told(pen: Pen, arrow: Arrow, room: int, *, named: bool) -> str:
    """What flows, in `room` columns; `named`: with who sends it. Failures are red and never left out."""
    source = f"{_NAMES.get(arrow.source, arrow.source)}: " if named else ""
    label = pen.cut(source + (f"{arrow.kind} " if arrow.kind in ("jobs", "lookups") else ""), room)
    words = _words(arrow)
    while len(words) > 1 and width_of(label + "   ".join(words)) > room:
        words.pop(-2)
    words[-1] = pen.cut(words[-1], max(room - width_of(label + "   ".join(words[:-1])), 0))
    inked = [pen.ink(word, "bold red") if word.endswith("fail") else word for word in words]
    return pen.ink(label, "dim") + "   ".join(inked)


def _gate(pen: Pen, arrow: Arrow, width: int) -> str:
    """The closed gate across the arrow, and who waits there."""
    bar = pen.strokes.gate
    waits = f": {count_words(arrow.waiting)} writes wait" if arrow.waiting else ": writes wait here"
    indent = " " * (GUTTER + STEM + 1 - len(bar) // 2)
    return indent + pen.ink(pen.cut(f"{bar}  gate held{waits}", width - len(indent)), "bold yellow")
