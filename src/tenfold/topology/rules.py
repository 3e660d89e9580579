"""What a value in `tenfold.toml` may be: one small rule for each kind reads it, says what is allowed, and shows it.

A rule is attached to the field that it guards (`Annotated[int, Key(WholeNumber(1, 64), reason)]`), so that the check,
the error message and docs/configuration.md come from one line and cannot disagree.
"""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass, field
from typing import Protocol

from tenfold.core.errors import UsageError
from tenfold.core.redact import Secret
from tenfold.core.units import format_duration, format_size, parse_duration, parse_size

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.I
)
_SERVER_URL = re.compile(r"postgres(ql)?://[^\s\x00-\x1f\x7f/]+(/[^\s\x00-\x1f\x7f]*)?")


class Rule(Protocol):
    """What one value may be."""

    @property
    def allowed(self) -> str:
        """What is allowed, as the end of the sentence "allowed: ..."."""
        ...

    def read(self, found: object) -> object:
        """The value as the spec holds it; raises `ValueError` (or `UsageError`) when it is not allowed."""
        ...

    def show(self, value: object) -> str:
        """A value of the spec as one would write it in TOML."""
        ...


@dataclass(frozen=True)
class Key:
    """A key of tenfold.toml: its rule, why it exists and has the default it has, and how the default is shown."""

    rule: Rule
    reason: str
    default_shown: str = ""

    @property
    def secret(self) -> bool:
        """Whether what is found there must not be shown, not even when it is wrong."""
        return isinstance(self.rule, ServerUrl)


@dataclass(frozen=True)
class WholeNumber:
    """A whole number within bounds, both included."""

    lowest: int
    highest: int
    remark: str = ""

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.lowest} to {self.highest}{self.remark}"

    def read(self, found: object) -> int:
        # TOML's true is a bool, which Python counts as a whole number.
        if isinstance(found, bool) or not isinstance(found, int) or not self.lowest <= found <= self.highest:
            raise ValueError
        return found

    def show(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True)
class YesNo:
    """true or false."""

    allowed: str = "true or false"

    def read(self, found: object) -> bool:
        if not isinstance(found, bool):
            raise ValueError
        return found

    def show(self, value: object) -> str:
        return "true" if value else "false"


@dataclass(frozen=True)
class OneOf:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return " or ".join(f'"{word}"' for word in self.words)

    def read(self, found: object) -> str:
        if not isinstance(found, str) or found not in self.words:
            raise ValueError
        return found

    def show(self, value: object) -> str:
        return f'"{value}"'


@dataclass(frozen=True)
class Text:
    """A text that a pattern matches from end to end; `saying` puts the pattern into words."""

    pattern: str
    saying: str

    @property
    def allowed(self) -> str:
        return self.saying

    def read(self, found: object) -> str:
        if not isinstance(found, str) or re.fullmatch(self.pattern, found) is None:
            raise ValueError
        return found

    def show(self, value: object) -> str:
        return f'"{value}"'


@dataclass(frozen=True)
class Host:
    """An IP address or a host name."""

    allowed: str = 'an IP address or a host name, such as "127.0.0.1", "0.0.0.0", "::1" or "localhost"'

    def read(self, found: object) -> str:
        if not isinstance(found, str):
            raise ValueError
        # Four numbers are an address, and a wrong one must not pass as a host name.
        if ":" in found or re.fullmatch(r"[0-9.]+", found):
            ipaddress.ip_address(found)
        elif _HOST_NAME.fullmatch(found) is None:
            raise ValueError
        return found

    def show(self, value: object) -> str:
        return f'"{value}"'


@dataclass(frozen=True)
class Duration:
    """A duration within bounds (texts as a person writes them); the spec holds seconds."""

    shortest: str
    longest: str

    @property
    def allowed(self) -> str:
        return f'a duration from {self.shortest} to {self.longest}, such as "30s" or "250ms" (a number counts seconds)'

    def read(self, found: object) -> float:
        if not isinstance(found, str | int | float):
            raise ValueError
        seconds = parse_duration(found)
        if not parse_duration(self.shortest) <= seconds <= parse_duration(self.longest):
            raise ValueError
        return seconds

    def show(self, value: object) -> str:
        assert isinstance(value, float)
        return f'"{format_duration(value)}"'


@dataclass(frozen=True)
class Size:
    """A size within bounds (texts as a person writes them); the spec holds bytes."""

    smallest: str
    largest: str

    @property
    def allowed(self) -> str:
        return f'a size from {self.smallest} to {self.largest}, such as "64MB" (a number counts bytes)'

    def read(self, found: object) -> int:
        if not isinstance(found, str | int):
            raise ValueError
        size = parse_size(found)
        if not parse_size(self.smallest) <= size <= parse_size(self.largest):
            raise ValueError
        return size

    def show(self, value: object) -> str:
        assert isinstance(value, int)
        return f'"{format_size(value, exact=True)}"'


@dataclass(frozen=True)
class Plain:
    """A text, a number or true/false: what a service's own setting may be, and what JSON carries without a loss."""

    longest: int = 10_000
    allowed: str = field(default="a text of at most 10000 characters, a number of at most 64 bits, or true/false")

    def read(self, found: object) -> str | int | float | bool:
        match found:
            case bool():
                return found
            case str() if len(found) <= self.longest:
                return found
            case int() if -(2**63) <= found < 2**63:
                return found
            case float() if math.isfinite(found):
                return found
            case _:
                raise ValueError

    def show(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True)
class ServerUrl:
    """The address of a PostgreSQL server, which may hold a password; the spec holds it as a `Secret`."""

    allowed: str = 'a URL such as "postgresql://user:password@host:5432/database?sslmode=require"'

    def read(self, found: object) -> Secret:
        if not isinstance(found, str) or len(found) > 2000 or _SERVER_URL.fullmatch(found) is None:
            raise ValueError
        return Secret(found)

    def show(self, value: object) -> str:
        return str(value)


REFUSALS = (ValueError, UsageError)
"""What a rule raises for a value that is not allowed."""
