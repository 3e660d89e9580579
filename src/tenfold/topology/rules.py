"""Every key of tenfold.toml: what it takes, its default, its bounds and its reason. The one place where that is said.

`parse_spec` checks by these rules, and docs/configuration.md is written from them, so they cannot drift apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from tenfold.core.errors import UsageError
from tenfold.core.units import (
    DURATION_RULE,
    SIZE_RULE,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
    shown,
)

Kind = Literal["text", "whole", "truth", "duration", "size", "choice"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One key. `default` is as a person would write it; None means that the key is required."""

    section: str
    key: str
    kind: Kind
    default: Any
    about: str
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()
    pattern: str = ""
    allowed_text: str = ""
    live: bool = True
    """Whether running processes take a change over without a restart."""

    @property
    def path(self) -> str:
        """`section.key`."""
        return f"{self.section}.{self.key}"

    @property
    def allowed(self) -> str:
        """What may stand there, in words."""
        match self.kind:
            case "text":
                return self.allowed_text
            case "whole":
                return f"a whole number from {self.low:,.0f} to {self.high:,.0f}"
            case "truth":
                return "true or false"
            case "choice":
                return "one of " + ", ".join(f'"{word}"' for word in self.choices)
            case "duration":
                return f"from {format_duration(self.low)} to {format_duration(self.high)}: {DURATION_RULE}"
            case "size":
                return f"from {format_size(int(self.low))} to {format_size(int(self.high))}: {SIZE_RULE}"

    def read(self, value: Any) -> Any:
        """The value in its own type (seconds, bytes); `ValueError` when it is not allowed."""
        match self.kind:
            case "truth":
                fits = isinstance(value, bool)
            case "whole":
                fits = isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high
            case "choice":
                fits = isinstance(value, str) and value in self.choices
            case "text":
                fits = isinstance(value, str) and re.fullmatch(self.pattern, value, re.ASCII) is not None
            case "duration" | "size":
                value, fits = self._amount(value)
        if not fits:
            raise ValueError(f"found {shown(value)}; allowed: {self.allowed}")
        return value

    def _amount(self, value: Any) -> tuple[Any, bool]:
        try:
            amount = parse_duration(value) if self.kind == "duration" else parse_size(value)
        except UsageError:
            return value, False
        return (amount, True) if self.low <= amount <= self.high else (value, False)


_MB = 1024 * 1024

RULES: tuple[Rule, ...] = (
    Rule(
        "service", "name", "text", None,
        "What the service is called; the same as in Tenfold(...). Names its database file.",
        pattern=r"[a-z][a-z0-9-]{0,30}",
        allowed_text="a-z, 0-9 and -, at most 31 characters, a letter first",
        live=False,
    ),
    Rule(
        "service", "app", "text", None,
        "Where the object is that tf.asgi() returned, found from the folder of tenfold.toml.",
        pattern=r"[A-Za-z_][\w.]{0,200}:[A-Za-z_]\w{0,100}",
        allowed_text='"package.module:attribute", such as "shortener.app:app"',
        live=False,
    ),
    Rule(
        "public", "host", "text", "127.0.0.1",
        "The address that users reach. Loopback until you decide otherwise: 0.0.0.0 (or ::) opens it to the network.",
        pattern=r"[0-9A-Za-z.:%_-]{1,255}",
        allowed_text="an IP address or a host name",
        live=False,
    ),
    Rule(
        "public", "port", "whole", 8000,
        "The public port; 0 takes any free one.",
        low=0, high=65535, live=False,
    ),
    Rule(
        "public", "body_limit", "size", "1MB",
        "Bytes of a request's body; more is answered with 413 before it is read.",
        low=1024, high=1024 * _MB,
    ),
    Rule(
        "web", "processes", "whole", 1,
        "Web processes. More than one needs a load balancer in front of them: step 3.",
        low=1, high=64, live=False,
    ),
    Rule("web", "access_log", "truth", True, "A line per request in logs/<node>.log; costs about a microsecond."),
    Rule(
        "web", "metrics", "choice", "loopback",
        "Who may read /metrics: programs on this machine, everybody, nobody.",
        choices=("loopback", "public", "off"),
    ),
    Rule(
        "web", "drain_limit", "duration", "30s",
        "How long a process that leaves waits for its clients to finish.",
        low=0, high=3600,
    ),
    Rule(
        "web", "keep_alive", "duration", "60s",
        "How long an idle connection is kept. Not above 60 s: a balancer may reuse it just as it closes.",
        low=1, high=60, live=False,
    ),
    Rule(
        "database", "path", "text", "data/<name>.db",
        "The SQLite file, seen from the state folder (.tenfold). A local disk: network file systems lose writes.",
        pattern=r"[^\x00-\x1f]{1,1000}", allowed_text="a path", live=False,
    ),
    Rule(
        "database", "hold", "duration", "25s",
        "How long a write waits for its turn before it is answered with 503; below the usual 30 s of clients.",
        low=0.1, high=600,
    ),
    Rule(
        "database", "queue", "whole", 10_000,
        "Writes that may wait at once in a process; more are answered with 503 at once.",
        low=1, high=1_000_000,
    ),
    Rule("cache", "entries", "whole", 100_000, "Entries in a process's cache, over all functions.", low=1, high=10**9),
    Rule(
        "cache", "bytes", "size", "64MB",
        "Bytes of a process's cache, over all functions.",
        low=64 * 1024, high=1024 * 1024 * _MB,
    ),
    Rule(
        "log", "rotate_size", "size", "16MB",
        "A log file that grows beyond this is put aside.",
        low=64 * 1024, high=10 * 1024 * _MB,
    ),
    Rule("log", "keep", "whole", 5, "Log files put aside per node before the oldest goes.", low=0, high=100),
)  # fmt: skip

SECTIONS = tuple(dict.fromkeys(rule.section for rule in RULES))
SETTINGS = "settings"
"""The section with the service's own settings: any names, scalar values."""
