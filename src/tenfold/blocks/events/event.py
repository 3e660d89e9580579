"""One event, and how its data is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from tenfold.blocks.database.own.events import DATA_LIMIT, TOPIC_LIMIT
from tenfold.blocks.events.policy import SLOT, is_name
from tenfold.core.errors import ContractError, InvalidRequest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_unpack = msgspec.json.Decoder(list[tuple[int, Any]]).decode


@dataclass(frozen=True, slots=True)
class Event:
    """What happened: `topic`, when (`at`, by the clock of the process that told it) and `data`, as JSON gives it back.

    `seq` is its number: unique, and higher than that of any event whose transaction had committed before its own began.
    """

    seq: int
    topic: str
    at: datetime
    data: Any

    @property
    def at_us(self) -> int:
        """`at` in microseconds since 1970."""
        return (self.at - _EPOCH) // _US


def event(row: Any) -> Event:
    """The event in a row that has one, with its own number."""
    return Event(row.seq, row.topic, _moment(row.at_us), _decode(row.data))


def events(row: Any) -> list[Event]:
    """The events in a row of the log."""
    first = row.seq * SLOT
    if row.events == 1:
        return [Event(first, row.topic, _moment(row.at_us), _decode(row.data))]
    packed = enumerate(_unpack(row.data), first)
    return [Event(number, row.topic, _moment(at_us), data) for number, (at_us, data) in packed]


def packed(events: Iterable[tuple[int, str]]) -> str:
    """The data of a row for several events: their microseconds and JSON texts."""
    return f"[{','.join([f'[{at_us},{data}]' for at_us, data in events])}]"


def _moment(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)


def written(topic: str, data: Any) -> str:
    """The data as JSON; `ContractError` when it has no such form, `InvalidRequest` when it is too long."""
    try:
        encoded = _encode(data)
        text = encoded.decode()
    except (TypeError, ValueError, RecursionError, OverflowError, msgspec.MsgspecError) as error:
        raise ContractError(
            f"The data of an event of {topic!r} has no JSON form: {error}.",
            hint="Give it plain values, lists, dicts with text keys, dataclasses or msgspec Structs.",
            code="TF-EVENTS-DATA",
        ) from error
    if len(encoded) > DATA_LIMIT:
        raise InvalidRequest(
            f"The data of an event of {topic!r} has {len(encoded):,} bytes; allowed: {DATA_LIMIT:,}.",
            hint="Keep it in a table, and tell its key.",
            code="TF-EVENTS-SIZE",
            status=413,
        )
    return text


def check_topic(topic: object) -> None:
    """`ContractError` for what cannot be a topic."""
    if not is_name(topic, TOPIC_LIMIT):
        raise ContractError(
            f"{topic!r} is not a topic.",
            hint=f"A topic is words of a-z, 0-9 and _ with dots or hyphens between them, at most {TOPIC_LIMIT} "
            "characters, such as `link.created`.",
            code="TF-EVENTS-TOPIC",
        )
