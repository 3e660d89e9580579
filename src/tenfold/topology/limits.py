"""The limits in tenfold.toml (`[[limit]]`): what may be done how often, and what contradicts itself in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Struct

from tenfold.core.errors import UsageError
from tenfold.core.units import shown
from tenfold.topology.rules import Key, OneOf, Text, WholeNumber, YesNo

LIMITS_MAX = 200
BURST_MAX = 1_000_000_000
LONGEST_NS = 366 * 86_400 * 1_000_000_000
"""How long a full burst may take to come back; more does not fit the arithmetic of 64 bits."""

Over = Literal["refuse", "defer"]
WhenAway = Literal["open", "closed", "local"]

RATE_RULE = 'a rate such as "20/minute": a whole number from 1 to 1000000, then second, minute, hour or day'
PARTS = ("address", "user", "api-key", "route")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
DEFERRABLE = ("POST", "PUT", "PATCH", "DELETE")
NAME = r"[a-z][a-z0-9_.-]{0,62}"
NAME_RULE = 'a lower-case name such as "create": a letter, then at most 62 of a-z 0-9 _ . -'
TASK = r"[A-Za-z_][A-Za-z0-9_.-]{0,199}"
_RATE = re.compile(r"([1-9][0-9]{0,6})/(second|minute|hour|day)", re.ASCII)
_PERIODS_NS = {
    "second": 1_000_000_000,
    "minute": 60 * 1_000_000_000,
    "hour": 3600 * 1_000_000_000,
    "day": 86_400 * 1_000_000_000,
}
_PATTERN = re.compile(r"/[A-Za-z0-9._~!$&'()+,;=:@%/{}-]{0,199}\*?|\*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a period. `interval_ns` is the time in which one comes back, rounded up: never more than was said."""

    count: int
    period: str

    @property
    def interval_ns(self) -> int:
        """Nanoseconds for one."""
        return -(-_PERIODS_NS[self.period] // self.count)

    def __str__(self) -> str:
        return f"{self.count}/{self.period}"


def parse_rate(text: object) -> Rate:
    """The rate in a text such as "20/minute"; `UsageError` for anything else."""
    match = _RATE.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match[1]) > 1_000_000:
        raise UsageError(f"found {shown(text)}; allowed: {RATE_RULE}.")
    return Rate(int(match[1]), match[2])


class LimitMap(msgspec.Struct, frozen=True, omit_defaults=True):
    """One limit as processes see it; `burst` 0 means as many as the rate's number.

    `routes` are the paths that it holds for by itself (none: only where the code asks for it), `methods` the methods
    (none: all but OPTIONS), `key` the parts that tell clients apart, `task` what a request over it becomes.
    """

    name: str
    rate: str
    burst: int = 0
    key: tuple[str, ...] = ("address",)
    routes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    cost: int = 1
    over: Over = "refuse"
    task: str = ""
    shadow: bool = False
    when_away: WhenAway = "local"

    @property
    def full(self) -> int:
        """The burst that is meant."""
        return self.burst or parse_rate(self.rate).count


@dataclass(frozen=True)
class RateRule:
    """A text such as "20/minute"."""

    allowed: str = RATE_RULE

    def read(self, found: object) -> str:
        return str(parse_rate(found))

    def show(self, value: object) -> str:
        return f'"{value}"'


@dataclass(frozen=True)
class KeyParts:
    """What tells clients apart: one part, or several that are joined by `+`."""

    allowed: str = '"address", "user", "api-key" or "route", or several of them such as "user+route"'

    def read(self, found: object) -> tuple[str, ...]:
        parts = tuple(found.split("+")) if isinstance(found, str) else ()
        if not parts or len(set(parts)) < len(parts) or any(part not in PARTS for part in parts):
            raise ValueError
        return parts

    def show(self, value: object) -> str:
        assert isinstance(value, tuple)
        return f'"{"+".join(value)}"'


@dataclass(frozen=True)
class Listed:
    """A list that is not empty, without repetition, of texts that a pattern matches from end to end."""

    pattern: str
    allowed: str

    def read(self, found: object) -> tuple[str, ...]:
        if not isinstance(found, list) or not 0 < len(found) <= 100:
            raise ValueError
        if not all(isinstance(each, str) and re.fullmatch(self.pattern, each) for each in found):
            raise ValueError
        return tuple(dict.fromkeys(found))

    def show(self, value: object) -> str:
        assert isinstance(value, tuple)
        return "[" + ", ".join(f'"{each}"' for each in value) + "]"


class LimitSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[limit]]`: how often somebody may do something."""

    name: Annotated[str, Key(Text(NAME, NAME_RULE), "One of this name in the code is replaced by it.")]
    rate: Annotated[str, Key(RateRule(), "How many come back in a period, evenly spread over it.")]
    burst: Annotated[
        int,
        Key(WholeNumber(1, BURST_MAX), "How many may come at once after a rest.", "as many as the rate says"),
    ] = 0
    key: Annotated[
        tuple[str, ...], Key(KeyParts(), "Who is counted apart; whoever has no user or API key by the address.")
    ] = ("address",)
    routes: Annotated[
        tuple[str, ...],
        Key(
            Listed(_PATTERN.pattern, 'paths such as ["/login", "/api/*"]; * stands for any rest'),
            "Requests that are counted by themselves; others only where the code asks.",
            "none",
        ),
    ] = ()
    methods: Annotated[
        tuple[str, ...],
        Key(
            Listed("|".join(METHODS), "methods such as " + '["POST", "PUT"]'),
            "Of these methods only; GET is HEAD too. A browser's OPTIONS is never counted.",
            "all but OPTIONS",
        ),
    ] = ()
    cost: Annotated[int, Key(WholeNumber(1, BURST_MAX), "What one request counts for.")] = 1
    over: Annotated[
        Over,
        Key(OneOf(("refuse", "defer")), "A request over it gets 429; or becomes a job, and gets 202 with its id."),
    ] = "refuse"
    task: Annotated[
        str,
        Key(Text(TASK, "the name of a task of the service"), 'Which job it becomes with over = "defer".', "none"),
    ] = ""
    shadow: Annotated[bool, Key(YesNo(), "Only counts what it would have refused; to try a limit out.")] = False
    when_away: Annotated[
        WhenAway,
        Key(
            OneOf(("open", "closed", "local")),
            "With several processes, while the database is away: all pass, none, or each process allows its share.",
        ),
    ] = "local"


def limit_map(spec: LimitSpec) -> LimitMap:
    """The same for the map."""
    return LimitMap(**{name: getattr(spec, name) for name in LimitMap.__struct_fields__})


def faults_of_limit(limit: LimitMap) -> Iterator[tuple[str, str]]:
    """What cannot be meant in one limit: a sentence (without its end) and what to do."""
    rate = parse_rate(limit.rate)
    if limit.full < limit.cost:
        yield (
            f'limit "{limit.name}": found cost {limit.cost} and burst {limit.full}, so that nothing could ever pass; '
            f"allowed: a burst of at least {limit.cost}",
            f"Set burst = {limit.cost} or a lower cost.",
        )
    if limit.full * rate.interval_ns > LONGEST_NS:
        yield (
            f'limit "{limit.name}": {limit.full} at {rate} take longer than a year to come back; allowed: at most that',
            "Set a lower burst or a higher rate.",
        )
    yield from _faults_of_over(limit)
    for route in limit.routes:
        if any(segment.count("{") > 1 for segment in route.split("/")):
            yield (
                f'limit "{limit.name}": found route "{route}", where one part of the path has several placeholders, so '
                "that a long path could keep the process busy; allowed: one between two slashes",
                "Name the whole part with one placeholder: /files/{name}.",
            )


def _faults_of_over(limit: LimitMap) -> Iterator[tuple[str, str]]:
    where = f'limit "{limit.name}"'
    if (limit.over == "defer") != bool(limit.task):
        missing = "found no task" if limit.over == "defer" else f'found task = "{limit.task}" and over = "refuse"'
        yield f'{where}: {missing}; allowed: over = "defer" with a task, or neither', "Name both, or neither."
    elif limit.over == "defer" and (not limit.routes or not set(limit.methods or ("GET",)) <= set(DEFERRABLE)):
        yield (
            f"{where}: only requests that write become jobs; allowed: routes, and methods of {', '.join(DEFERRABLE)}",
            'Add routes = [...] and methods = ["POST"].',
        )


def faults_of_limits(limits: Sequence[LimitMap]) -> Iterator[tuple[str, str]]:
    """What contradicts itself in all of them."""
    seen: dict[str, int] = {}
    for number, limit in enumerate(limits, 1):
        if limit.name in seen:
            yield (
                f'limit {number}: limit {seen[limit.name]} has the name "{limit.name}" already; allowed: another name',
                "Give each limit a name of its own, or remove one.",
            )
        seen.setdefault(limit.name, number)
        yield from faults_of_limit(limit)
