"""Numbers of the blocks as families of samples, for every form of export.

A block's `stats()` returns a frozen dataclass; each number in it is a family `tenfold_<block>_<field>`. A field is a
counter (it only grows while the process lives) unless it says otherwise:

    held: int = field(metadata=GAUGE)                            # tenfold.core.gauge: goes up and down
    lines: dict[str, int] = field(metadata={"label": "level"})   # a sample for each key

A `Spread` is a histogram. A mapping to dataclasses, and a tuple of dataclasses with a `name`, give a sample for each
member. Texts are left out.
Pure, and nothing here is imported that a process without readers would pay for.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from tenfold.blocks.metrics import Number
from tenfold.core.spread import Spread

SAMPLES_MAX = 2000
"""Samples of one block; a dict that grows with users must not fill the collector."""

_DEPTH = 3
_WORD = re.compile(r"[^a-zA-Z0-9_]+")

log = logging.getLogger("tenfold.serve")

Labels = tuple[tuple[str, str], ...]
Kind = Literal["counter", "gauge", "histogram"]


class Sample(NamedTuple):
    """One number; of a histogram `value` is the sum, and `spread` what it is the sum of."""

    labels: Labels
    value: float
    spread: Spread | None = None


class Family(NamedTuple):
    """Numbers of one name; a counter's name does not end with `_total`, its samples do."""

    name: str
    kind: Kind
    text: str
    samples: tuple[Sample, ...]
    unit: str = ""


class _Found(NamedTuple):
    name: str
    kind: Kind
    sample: Sample


def gathered(collectors: Mapping[str, Callable[[], object]]) -> list[Family]:
    """The families of all collectors. One that fails costs its own numbers only, and says so in the log."""
    families: list[Family] = []
    for block, collect in collectors.items():
        try:
            found = collect()
            families += of_numbers(found) if isinstance(found, list) else of_stats(block, found)
        except Exception:  # the page is for finding out what is wrong: it comes whatever is
            log.exception("The numbers of %s could not be collected.", block)
    return families


def of_stats(block: str, stats: object) -> list[Family]:
    """The families of one block's statistics, in the order of its fields."""
    by_name: dict[tuple[str, Kind], list[_Found]] = {}
    for number, found in enumerate(_walk(f"tenfold_{block}", stats, (), _DEPTH)):
        if number >= SAMPLES_MAX:
            break
        by_name.setdefault((found.name, found.kind), []).append(found)
    return [
        Family(name, kind, _text(block, name), tuple(each.sample for each in found))
        for (name, kind), found in by_name.items()
    ]


def _walk(name: str, stats: object, labels: Labels, depth: int) -> Iterator[_Found]:
    if depth == 0 or isinstance(stats, type) or not dataclasses.is_dataclass(stats):
        return
    for field in dataclasses.fields(stats):
        yield from _field(f"{name}_{_spelled(field.name)}", field, getattr(stats, field.name), labels, depth)


def _field(name: str, field: Any, value: object, labels: Labels, depth: int) -> Iterator[_Found]:
    kind: Any = field.metadata.get("kind", "counter")
    if isinstance(value, Spread):
        yield _Found(name, "histogram", Sample(labels, value.sum_s, value))
    elif isinstance(value, bool):
        yield _Found(name, "gauge", Sample(labels, float(value)))
    elif isinstance(value, int | float | Decimal):
        yield _Found(name, kind, Sample(labels, float(value)))
    elif isinstance(value, Mapping):
        label = _label_name(field)
        for key, item in value.items():
            yield from _member(name, kind, item, (*labels, (label, _shown(key))), depth)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _member(name, kind, item, (*labels, ("name", str(getattr(item, "name", "")))), depth)
    else:
        yield from _walk(name, value, labels, depth - 1)


def _member(name: str, kind: Any, item: object, labels: Labels, depth: int) -> Iterator[_Found]:
    if isinstance(item, int | float | Decimal):
        yield _Found(name, kind, Sample(labels, float(item)))
    elif isinstance(item, Mapping):
        for key, value in item.items():
            if isinstance(value, int | float | Decimal):
                yield _Found(name, kind, Sample((*labels, ("of", _shown(key))), float(value)))
    else:
        yield from _walk(name, item, labels, depth - 1)


def of_numbers(numbers: Iterable[Number]) -> list[Family]:
    """What a service counts, as `tenfold_service_<name>`: apart from what the blocks say of themselves.

    Unique counts are gauges: they begin anew each day.
    """
    by_name: dict[str, list[Number]] = {}
    for number in numbers:
        by_name.setdefault(number.name, []).append(number)
    return [_business(name, found) for name, found in by_name.items()]


def _business(name: str, found: list[Number]) -> Family:
    first = found[0]
    # A sum may shrink (a refund), which a counter must not.
    kind: Literal["counter", "gauge"] = "counter" if first.kind in ("count", "visits") else "gauge"
    suffix = {"count": "", "sum": "_sum", "unique": "_today"}.get(first.kind, "")
    text = first.text or f"What the service counts as {name}."
    samples = tuple(Sample(each.labels, float(each.value)) for each in found)
    return Family(f"tenfold_service_{name}{suffix}", kind, text, samples, first.unit)


def _spelled(name: str) -> str:
    """A field's name with the unit written out, as Prometheus wants it, and without the ending that counters get."""
    return f"{name[:-2]}_seconds" if name.endswith("_s") else name.removesuffix("_total")


def _label_name(field: Any) -> str:
    return str(field.metadata.get("label") or field.name.removeprefix("by_"))


def _shown(key: object) -> str:
    text = " ".join(map(str, key)) if isinstance(key, tuple) else str(key)
    return text[:128]


def _text(block: str, name: str) -> str:
    words = _WORD.sub(" ", name.removeprefix(f"tenfold_{block}_")).replace("_", " ")
    return f"The {block} block: {words}; docs/blocks/{block}.md."
