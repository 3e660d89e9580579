"""Every sentence that people read, by its key, in the catalogs beside this file.

A catalog is a TOML file named after its language; its texts are `str.format` templates. All catalogs have the same keys
with the same placeholders. Templates contain no text of their own; both is tested.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

_QUALITY = re.compile(r"\s*([a-z]{1,8})(?:-[a-z0-9-]{1,30})?\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?\Z")


class Words:
    """One language: `words("home.title")`, `words("visits", 3)`."""

    def __init__(self, language: str, texts: Mapping[str, str]) -> None:
        self.language = language
        self.texts = texts

    def __call__(self, key: str, /, count: int | None = None, **values: Any) -> str:
        """The text under `key`, filled with `values`.

        With a `count`, the one under `key.one` or `key.other`; the text calls it `{count}`.
        """
        if count is not None:
            key = f"{key}.{'one' if count == 1 else 'other'}"
            values["count"] = count
        return self.texts[key].format(**values) if values else self.texts[key].replace("{{", "{").replace("}}", "}")

    def has(self, key: str) -> bool:
        """Whether there is a text under `key`."""
        return key in self.texts

    def moment(self, moment: datetime) -> str:
        """A moment in UTC, to the minute, as people write it."""
        at = moment.astimezone(UTC)
        return self("date.moment", day=self.day(at), hour=f"{at:%H}", minute=f"{at:%M}")

    def day(self, moment: date) -> str:
        """The day of a moment, as people write it."""
        return self("date.day", year=moment.year, month=self(f"date.month.{moment.month}"), day=moment.day)

    def short_day(self, moment: date) -> str:
        """The day without its year, for an axis."""
        return self("date.short", month=self(f"date.short_month.{moment.month}"), day=moment.day)


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, str):
            yield before + name, value
        else:
            yield from _flat(value, f"{before}{name}.")


def _read(file: Path) -> Words:
    return Words(file.stem, dict(_flat(tomllib.loads(file.read_text("utf-8")))))


CATALOGS = {file.stem: _read(file) for file in sorted(Path(__file__).parent.glob("*.toml"))}
ENGLISH = CATALOGS["en"]


def chosen(wish: str, accepted: str) -> Words:
    """The language that a visitor chose (`wish`), else the first known one of an Accept-Language, else English."""
    if wish in CATALOGS:
        return CATALOGS[wish]
    ranked: list[tuple[float, str]] = []
    for part in accepted.lower().split(",")[:20]:
        found = _QUALITY.match(part)
        if found and found[1] in CATALOGS:
            ranked.append((-float(found[2] or 1), found[1]))
    ranked.sort(key=lambda pair: pair[0])  # stable: of equal wishes the first
    return CATALOGS[ranked[0][1]] if ranked and ranked[0][0] < 0 else ENGLISH
