"""Nodes as boxes: one box each, one wide box with its parts for a node that stands alone, a field of signs for many.
Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tenfold.dashboard.picture.health import SILENT
from tenfold.dashboard.picture.model import Health, Node, Part, Tier
from tenfold.dashboard.picture.roles import WEB
from tenfold.dashboard.terminal.numbers import bytes_words, count_words, ms_words, rate_words, share_words
from tenfold.dashboard.terminal.pen import HEALTH_STYLE, Pen, beside, padded, width_of

LEAST, ROOMY = 12, 18
"""Columns for the content of a box: at least, and where there is room."""
NAMED = 40
"""Columns for the longest name."""
ROWS = 2
GROUP = 10
FIELD_LINES = 10
"""Lines of signs at most; what is left is counted."""

_WORDS: dict[Health, str] = {
    "well": "well",
    "starting": "starting",
    "leaving": "leaving",
    "ill": "not ready",
    "gone": "gone",
}


_TOLD: tuple[Health, ...] = ("gone", "ill", "starting", "leaving")


@dataclass(frozen=True)
class Block:
    """Lines that are at most `width` columns wide."""

    lines: list[str]
    width: int


def tier_block(pen: Pen, tier: Tier, width: int, *, measured: bool, roomy: bool = True) -> Block:
    """A tier in at most `width` columns: boxes in up to `ROWS` rows, and for more nodes than that a field of signs.

    `measured`: whether there are figures, so that boxes have room for them. `roomy`: whether boxes of nodes that fit
    into one row are wider than they have to be.
    """
    if len(tier.nodes) == 1 and tier.role == WEB and tier.nodes[0].parts:
        wide = parts_block(pen, tier.nodes[0], width, measured=measured)
        if wide is not None:
            return wide
    mixed = len({node.version for node in tier.nodes}) > 1
    content = max(LEAST, *(_least(pen, tier, node, mixed=mixed) for node in tier.nodes))
    content = min(content, width - 4)
    if roomy and measured and len(tier.nodes) * (max(content, ROOMY) + 5) - 1 <= width:
        content = max(content, ROOMY)
    pad = 1 if len(tier.nodes) * (content + 5) - 1 <= width else 0
    across = max((width + 1) // (content + pad + 4), 1)
    if len(tier.nodes) > across * ROWS:
        return field_block(pen, tier, width)
    drawn = [_inside(pen, tier, node, content, measured=measured, mixed=mixed) for node in tier.nodes]
    return _boxes(pen, tier.nodes, drawn, across, content + pad)


def _least(pen: Pen, tier: Tier, node: Node, *, mixed: bool) -> int:
    """Columns that the name of a node takes, with its sign and what stands beside it."""
    beside_it = _beside_name(tier, node, mixed=mixed)
    return width_of(pen.cut(node.name, NAMED)) + 2 + (len(beside_it) + 1 if beside_it else 0)


def _beside_name(tier: Tier, node: Node, *, mixed: bool) -> str:
    """What tells a node from the others of its tier: its version during a deploy, its program during a move."""
    if node.engine:
        return node.engine if node.engine != tier.backend or len({each.engine for each in tier.nodes}) > 1 else ""
    return node.version if mixed else ""


def _boxes(pen: Pen, nodes: Sequence[Node], drawn: Sequence[Sequence[str]], across: int, content: int) -> Block:
    height = max(len(lines) for lines in drawn)
    lines: list[str] = []
    for at in range(0, len(nodes), across):
        some = [
            framed(pen, node, [*inner, *[""] * (height - len(inner))], content + 1)
            for node, inner in zip(nodes[at : at + across], drawn[at : at + across], strict=True)
        ]
        lines += beside(some, [content + 3] * len(some))
    count = min(len(nodes), across)
    return Block(lines, count * (content + 4) - 1)


def framed(pen: Pen, node: Node, inner: Sequence[str], width: int) -> list[str]:
    """A frame around lines: dashed where no clients come, in the colour of its health unless it is well."""
    left_top, right_top, left_low, right_low, along, down = tuple(
        pen.strokes.solid if node.clients else pen.strokes.dashed
    )
    style = "dim" if node.health == "well" else HEALTH_STYLE[node.health]
    side = pen.ink(down, style)
    body = [f"{side}{padded(f' {line}', width)}{side}" for line in inner]
    top = pen.ink(f"{left_top}{along * width}{right_top}", style)
    low = pen.ink(f"{left_low}{along * width}{right_low}", style)
    return [top, *body, low]


def sign(pen: Pen, health: Health) -> str:
    """The sign of a health, in its colour."""
    return pen.ink(pen.strokes.signs[health], HEALTH_STYLE[health])


def _inside(pen: Pen, tier: Tier, node: Node, width: int, *, measured: bool, mixed: bool) -> list[str]:
    """The lines of one box: name, what is special about it, traffic, processor."""
    mark = pen.cut(_beside_name(tier, node, mixed=mixed), width)
    name = pen.cut(node.name, width - 2 - (len(mark) + 1 if mark else 0))
    head = f"{sign(pen, node.health)} {pen.ink(name, 'bold')}"
    lines = [f"{padded(head, width - len(mark))}{pen.ink(mark, 'cyan')}" if mark else head]
    notes = notes_of(node)
    if notes:
        lines.append(pen.ink(pen.cut(", ".join(notes), width), "" if node.health == "well" else "yellow"))
    return lines + (_measures(pen, node, width) if measured else [])


def notes_of(node: Node) -> list[str]:
    """What is special about a node, in a word or two."""
    notes = [_WORDS[node.health]] if node.health != "well" else []
    if node.says == SILENT:
        notes = ["silent"]
    if not node.clients and node.health == "well":
        notes.append("no clients")
    return notes


def _measures(pen: Pen, node: Node, width: int) -> list[str]:
    values = node.values
    words = [rate_words(values["rate"])] if "rate" in values else []
    if values.get("queue"):
        words.append(f"{count_words(values['queue'])} wait")
    if "p99_ms" in values and values.get("rate"):
        words.append(f"{'p99 ' if width >= ROOMY else ''}{ms_words(values['p99_ms'])}")
    if not words and values.get("connections"):
        words = [f"{count_words(values['connections'])} conn."]
    while len(words) > 1 and len("  ".join(words)) > width:
        words.pop()
    if pen.tight:
        return [_in_one_line(node, words, width)]
    lines = [pen.cut("  ".join(words), width)] if words else []
    return lines + cpu_lines(pen, node, width)


def _in_one_line(node: Node, words: Sequence[str], width: int) -> str:
    """The first of the words, and the processor's share."""
    cpu = [f"cpu {share_words(cpu_share(node))}"] if "cpu" in node.values else []
    shown = [*words[:1], *cpu]
    return "  ".join(shown) if len("  ".join(shown)) <= width else "".join(shown[-1:])


def cpu_share(node: Node) -> float:
    """How much of the processor that a node can use it uses, 0 to 1."""
    return node.values["cpu"] / (node.values.get("cpu_max") or 1.0)


def cpu_lines(pen: Pen, node: Node, width: int) -> list[str]:
    """How much of the processor that a node can use it uses: a bar and its share; nothing when it is not measured."""
    if "cpu" not in node.values:
        return []
    share = cpu_share(node)
    return [f"cpu {pen.bar(share, min(width - 8, 10))}{share_words(share):>4}"]


# One node with its parts


def parts_block(pen: Pen, node: Node, width: int, *, measured: bool) -> Block | None:
    """A wide box with the parts of a node side by side; None when they do not fit."""
    cells = [_part_lines(pen, node, part, measured=measured) for part in node.parts]
    widths = [max(width_of(line) for line in cell) + 1 for cell in cells]
    inner = sum(widths) + 2 * len(widths)
    if inner + 3 > width:
        return None
    rows = beside(cells, widths, f"{pen.ink(pen.strokes.dashed[5], 'dim')} ")
    notes = "".join(f"  {note}" for note in notes_of(node))
    head = f"{sign(pen, node.health)} {pen.ink(pen.cut(node.name, NAMED), 'bold')}{pen.ink(notes, 'yellow')}"
    inner = max(inner, width_of(head) + 2)
    return Block(framed(pen, node, [head, *rows], inner), inner + 2)


def _part_lines(pen: Pen, node: Node, part: Part, *, measured: bool) -> list[str]:
    title = "SQLite" if part.kind == "database" else part.kind
    waits = part.gate == "held"
    lines = [pen.ink(title, "cyan" if part.health == "well" else "yellow")]
    if waits:
        lines.append(pen.ink(f"{pen.strokes.gate} WAITS", "bold yellow"))
    if not measured:
        return lines
    lines += _part_figures(part)[: 2 if pen.tight else None]
    return lines + (cpu_lines(pen, node, LEAST) if part.kind == "app" and not pen.tight else [])


def _part_figures(part: Part) -> list[str]:
    values, traffic = part.values, part.traffic
    found = [rate_words(traffic.rate)] if traffic is not None else []
    if traffic is not None and traffic.p99_ms is not None and traffic.rate:
        found.append(f"p99 {ms_words(traffic.p99_ms)}")
    if "cache_hits" in values:
        found.append(f"{share_words(values['cache_hits'])} hits")
    if "cache_bytes" in values:
        found.append(bytes_words(values["cache_bytes"]))
    if values.get("held"):
        found.append(f"{count_words(values['held'])} held")
    if "queue" in values:
        found.append(f"{count_words(values['queue'])} wait")
    return found


# Many nodes


def field_block(pen: Pen, tier: Tier, width: int) -> Block:
    """A sign for every node, in groups of ten, with what they do together and the names of those that are not well."""
    most = width - 4
    lines = [*_field(pen, tier.nodes, most), pen.cut(", ".join(_together(tier)), most)]
    for health in _TOLD:
        told = _named(tier.nodes, health)
        lines += [pen.ink(line, HEALTH_STYLE[health]) for line in pen.wrapped(told, most)[:2] if line]
    inner = max(width_of(line) for line in lines) + 1
    return Block(framed(pen, Node(tier.role, tier.role, "well"), lines, inner + 1), inner + 3)


def _field(pen: Pen, nodes: Sequence[Node], width: int) -> list[str]:
    groups = max((width + 1) // (GROUP + 1), 1)
    most = groups * GROUP * FIELD_LINES
    signs = [sign(pen, node.health) for node in nodes[:most]]
    tens = ["".join(signs[at : at + GROUP]) for at in range(0, len(signs), GROUP)]
    lines = [" ".join(tens[at : at + groups]) for at in range(0, len(tens), groups)]
    return lines + ([f"and {len(nodes) - most} more"] if len(nodes) > most else [])


def _together(tier: Tier) -> list[str]:
    """What the nodes of a tier do together."""
    nodes = tier.nodes
    found = [f"{nodes[0].name} to {nodes[-1].name}", f"{sum(node.health == 'well' for node in nodes)} well"]
    rates = [node.values["rate"] for node in nodes if "rate" in node.values]
    cpu = [cpu_share(node) for node in nodes if "cpu" in node.values]
    if rates:
        found.append(rate_words(sum(rates)))
    if cpu:
        found.append(f"cpu {share_words(sum(cpu) / len(cpu))}, at most {share_words(max(cpu))}")
    return found


def _named(nodes: Sequence[Node], health: Health) -> str:
    """The nodes of that health by name: the first eight, and how many more; empty when there are none."""
    found = [node.name for node in nodes if node.health == health]
    more = [f"{len(found) - 8} more"] if len(found) > 8 else []
    return f"{_WORDS[health]}: {', '.join([*found[:8], *more])}" if found else ""
