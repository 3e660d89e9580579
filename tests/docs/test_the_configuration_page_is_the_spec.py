"""docs/configuration.md has a row for every key, as the fields of the spec say, and its example is the defaults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tenfold.core.errors import SpecError
from tenfold.core.units import parse_duration, parse_size
from tenfold.topology.diff import Effect, effect_of
from tenfold.topology.door import ROUTES_MAX, RouteSpec
from tenfold.topology.limits import LIMITS_MAX, LimitSpec
from tenfold.topology.map import map_of
from tenfold.topology.spec import REPEATED, ROUTE, SETTINGS_MAX, TABLES, keys_of, parse_spec
from tenfold.topology.targets import waiting

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
HEAD = "| key | default | allowed | change | why |\n|---|---|---|---|---|\n"
CHANGE = {
    Effect.LIVE: "live",
    Effect.NEW_PROCESSES: "new processes",
    Effect.MOVE: "move",
    Effect.NEW_START: "new start",
}
IN_MAP = {
    "service.name": "service",
    "service.app": "app",
    "database.url": "database.backend",
    "database.pool": "database.server",
    **{f"tls.{key}": "public.tls" for key in keys_of(TABLES["tls"])},
    **{f"route.{key}": "routes" for key in keys_of(RouteSpec)},
    **{f"limit.{key}": "limits" for key in keys_of(LimitSpec)},
}
KINDS = {**TABLES, **{name: kind for name, (kind, _) in REPEATED.items()}}


def rows(table: str) -> str:
    """The rows that the page must have for a table of the spec."""
    lines = []
    for name, (key, info) in keys_of(KINDS[table]).items():
        shown = key.default_shown or ("" if info.required else key.rule.show(info.default))
        default = f"`{shown}`" if shown else "(required)"
        change = CHANGE[effect_of(IN_MAP.get(f"{table}.{info.name}", f"{table}.{info.name}"))]
        lines.append(f"| `{name}` | {default} | {key.rule.allowed} | {change} | {key.reason} |\n")
    return "".join(lines)


def section(table: str) -> str:
    """What the page says below the heading of a table."""
    found = re.search(rf"^## `\[+{table}\]+`.*?\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"docs/configuration.md has no heading ## `[{table}]`"
    return found[1]


@pytest.mark.parametrize("table", KINDS)
def test_every_table_has_exactly_the_rows_of_its_fields(table: str) -> None:
    wanted = HEAD + rows(table)
    assert wanted in section(table), f"docs/configuration.md must have under [{table}]:\n\n{wanted}"
    assert section(table).count("\n|") + section(table).startswith("|") == wanted.count("\n")


def test_every_table_and_no_other_has_a_heading() -> None:
    headings = re.findall(r"^## `(\[+\w+\]+)`", PAGE.read_text(), re.MULTILINE)
    assert headings == [*(f"[{table}]" for table in TABLES), *(f"[[{name}]]" for name in REPEATED), "[settings]"]


def test_settings_and_routes_are_described_with_their_bounds() -> None:
    assert f"at most {SETTINGS_MAX} " in section("settings")
    assert f"at most {ROUTES_MAX}," in section(ROUTE)
    assert f"at most {LIMITS_MAX} " in section("limit")


def examples() -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_shortest_example_and_the_full_one_are_the_same_spec() -> None:
    shortest, full = (parse_spec(text) for text in examples()[:2])
    assert full.database.path == f"data/{shortest.service.name}.db"
    for table in ("public", "web", "cache", "log", "balancer"):
        assert getattr(full, table) == getattr(shortest, table), table
    assert (full.tls.port, full.tls.redirect) == (shortest.tls.port, shortest.tls.redirect)
    assert (full.database.hold_s, full.database.queue) == (shortest.database.hold_s, shortest.database.queue)


def test_the_full_example_names_every_key() -> None:
    full = examples()[1]
    for table, kind in KINDS.items():
        part = full.split((f"[[{table}]]" if table in REPEATED else f"[{table}]") + "\n")[1].split("\n[")[0]
        assert set(re.findall(r"^(\w+) =", part, re.MULTILINE)) == set(keys_of(kind)), table


def test_the_units_are_explained_as_they_are_read() -> None:
    page = PAGE.read_text()
    for text, value in re.findall(r'^\| `"([^"]+)"` \| ([\d.]+) (?:s|bytes) \|$', page, re.MULTILINE):
        read = parse_size(text) if "B" in text else parse_duration(text)
        assert read == float(value), text
    assert len(re.findall(r'^\| `"[^"]+"` \| [\d.]+ (?:s|bytes) \|$', page, re.MULTILINE)) >= 5


def test_the_messages_that_the_page_shows_are_the_messages() -> None:
    shown = re.findall(r"^```text\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)[0].splitlines()
    service = examples()[0]
    found = []
    for wrong in (
        '[web]\nprocesses = "two"\n',
        "[public]\nprot = 80\n",
        '[[route]]\npath = "/photos"\nto = "x:1"\n[[route]]\npath = "/photos/raw"\nto = "x:1"\n',
        "[web]\ndrain_limit = 30 s\n",
    ):
        with pytest.raises(SpecError) as caught:
            parse_spec(service + wrong)
        found.append(caught.value.message)
    assert shown == found


def test_the_sentences_about_what_waits_are_the_sentences() -> None:
    routes = '[[route]]\npath = "/a"\nto = "x:1"\n[[route]]\npath = "/b"\nto = "x:1"\n'
    text = f'{examples()[0]}[web]\nprocesses = 4\n[tls]\ncertificate = "self-signed"\n{routes}'
    shown = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)[0].splitlines()
    content = map_of(parse_spec(text), root="/srv", state="/srv/.tenfold", previous=None)
    assert shown == list(waiting(content))
