"""What may be counted, under which names and labels, and how numbers are added exactly. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Literal

import msgspec

from tenfold.blocks.metrics.sketch import Sketch
from tenfold.core.errors import ContractError

Kind = Literal["count", "sum", "unique", "visits"]

METRICS_MAX = 500
LABELS_MAX = 5
LABEL_SETS = 100
"""Label sets of one metric in one process; what comes beyond is counted under `other`."""
LABEL_CHARACTERS = 64
OTHER = "other"
COUNT_MAX = 10**15
"""The most that one `add` may count."""
DIGITS, PLACES = 24, 12
"""Digits before and after the point of one amount."""
DAYS_MAX = 800
"""Days that can be read, and that are kept."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_DAY_US = 86_400_000_000
_EXACT = Context(
    prec=80, rounding=ROUND_HALF_EVEN, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact, InvalidOperation, Overflow]
)
"""Adds 10**40 amounts of the allowed size without rounding; it raises rather than round."""
_LEAST = Decimal(1).scaleb(-PLACES)


def check_name(name: str) -> str:
    """The name; `ContractError` unless it is one that every exposition format can say."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ContractError(
            f"{str(name)[:80]!r} is not the name of a metric.",
            hint="Use a-z, 0-9 and _, beginning with a letter, at most 63 characters: links_created.",
            code="TF-METRICS-NAME",
        )
    return name


def check_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels' names; `ContractError` for too many, for equal ones, and for names that cannot be said."""
    names = tuple(labels)
    if isinstance(labels, str) or len(names) > LABELS_MAX or len(set(names)) != len(names):
        raise ContractError(
            f"labels={labels!r}: at most {LABELS_MAX} different names are allowed.",
            hint='Write labels=("plan",).',
            code="TF-METRICS-LABELS",
        )
    return tuple(check_name(name) for name in names)


def check_count(n: object) -> int:
    """What a count grows by; `ContractError` unless it is a whole number from 0 to `COUNT_MAX`."""
    if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= COUNT_MAX:
        raise ContractError(
            f"A count grows by a whole number from 0 to {COUNT_MAX:,}, not by a {type(n).__name__} like this.",
            hint="Amounts, and what may shrink, belong into metrics.sum.",
            code="TF-METRICS-VALUE",
        )
    return n


def check_amount(amount: object) -> Decimal:
    """The amount as an exact decimal; `ContractError` for a float, NaN, infinity, and more digits than are kept."""
    if isinstance(amount, str):
        try:
            amount = Decimal(amount[:100])
        except InvalidOperation:
            raise _no_amount(amount) from None
    if isinstance(amount, int) and not isinstance(amount, bool) and abs(amount) < 10**DIGITS:
        return Decimal(amount)
    if not isinstance(amount, Decimal) or not amount.is_finite() or amount.adjusted() >= DIGITS:
        raise _no_amount(amount)
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -PLACES:
        try:
            return _EXACT.quantize(amount, _LEAST)
        except (Inexact, InvalidOperation):
            raise _no_amount(amount) from None
    return amount


def _no_amount(amount: object) -> ContractError:
    return ContractError(
        f"An amount is an int, a Decimal or its text, with at most {DIGITS} digits and {PLACES} places, not a "
        f"{type(amount).__name__} like this.",
        hint='A float rounds: write Decimal("9.90"), or count in the smallest unit (990).',
        code="TF-METRICS-VALUE",
    )


def plus(one: Decimal, other: Decimal) -> Decimal:
    """The sum, exactly."""
    return _EXACT.add(one, other)


def label_key(names: tuple[str, ...], values: Iterable[object]) -> str:
    """The label set as the text of its row: JSON, or nothing without labels."""
    if not names:
        return ""
    return msgspec.json.encode(dict(zip(names, map(label_value, values), strict=True)), order="sorted").decode()


def label_value(value: object) -> str:
    """A label's value as it is kept: at most `LABEL_CHARACTERS`, without control characters; never an error."""
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception:  # noqa: BLE001 - a number of thousands of digits, a __str__ that fails
        text = type(value).__name__
    text = text[:LABEL_CHARACTERS]
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)


def labels_of(key: str) -> Mapping[str, str]:
    """The labels that `label_key` made a text of."""
    return msgspec.json.decode(key, type=dict[str, str]) if key else {}


def day_of(wall_us: int) -> int:
    """The UTC day as a number: days since 1970-01-01."""
    return wall_us // _DAY_US


def until_midnight_s(wall_us: int) -> float:
    """Seconds until the next UTC day begins."""
    return (_DAY_US - wall_us % _DAY_US) / 1e6


def date_of(day: int) -> date:
    """The date of a day's number."""
    return datetime(1970, 1, 1, tzinfo=UTC).date() + timedelta(days=day)


class Part(msgspec.Struct, frozen=True):
    """One row: what one process has counted of one label set on one day."""

    kind: str
    labels: str
    day: int
    value: str
    sketch: bytes | None


def merged(kind: Kind, parts: Iterable[Part]) -> int | Decimal:
    """The number that the parts are together. Parts of another kind are of an earlier metric of that name."""
    of_kind = [part for part in parts if part.kind == kind]
    if kind == "unique":
        return merged_sketch(of_kind).count()
    if kind == "sum":
        total = Decimal(0)
        for part in of_kind:
            total = plus(total, Decimal(part.value))
        return total
    return sum(int(part.value) for part in of_kind)


def merged_sketch(parts: Iterable[Part]) -> Sketch:
    """The union of the parts' sketches; one that was damaged is left out."""
    union = Sketch()
    for part in parts:
        try:
            union.merge(Sketch.load(part.sketch or b""))
        except ValueError:
            continue
    return union


def counts_as_return(last: int | None, today: int, within: int) -> bool:
    """Whether a visitor whose last visit was on the day `last` has come back today."""
    return last is not None and 0 < today - last <= within
