"""Every key with every kind of wrong value, every unknown name, every way of not being TOML."""

from __future__ import annotations

import datetime
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.core.errors import SpecError
from tenfold.core.redact import Secret
from tenfold.topology.door_rules import Addresses, HostName, UrlPath, Weights
from tenfold.topology.limits import KeyParts, Listed, RateRule
from tenfold.topology.rules import Duration, Host, OneOf, ServerUrl, Size, Text, WholeNumber, YesNo
from tenfold.topology.spec import FILE_MAX, REPEATED, TABLES, Spec, keys_of, parse_spec

SERVICE = '[service]\nname = "shop"\napp = "shop.app:app"\n'
KINDS = {**TABLES, **{name: kind for name, (kind, _) in REPEATED.items()}}
KEYS = [(table, name) for table, kind in KINDS.items() for name in keys_of(kind)]


def refusal(text: str | bytes) -> str:
    """The message with which a text is refused."""
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    assert caught.value.hint
    assert caught.value.message.startswith("tenfold.toml: ")
    return caught.value.message.removeprefix("tenfold.toml: ")


def written(table: str, key: str, value: str) -> str:
    """A spec that is right but for one key."""
    values = {"service": {"name": '"shop"', "app": '"shop.app:app"'}}
    needed = {
        "tls": {"certificate": '"self-signed"'},
        "route": {"path": '"/r"', "to": '"x:1"'},
        "limit": {"name": '"l"', "rate": '"1000000/second"'},
    }
    if key == "task":  # and what it cannot do without
        needed["limit"] |= {"over": '"defer"', "routes": '["/a"]', "methods": '["POST"]'}
    values.setdefault(table, needed.get(table, {}))[key] = value
    return "\n".join(
        f"{heading(name)}\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
        for name, keys in values.items()
    )


def heading(table: str) -> str:
    return f"[[{table}]]" if table in REPEATED else f"[{table}]"


def named(table: str, key: str = "") -> str:
    """What a message calls a table, or a key in it; one of several by its number."""
    if not key:
        return f"[[{table}]] 1" if table in REPEATED else f"[{table}]"
    return f"{table} 1: {key}" if table in REPEATED else f"{table}.{key}"


def value_in(spec: Spec, table: str, key: str) -> Any:
    _, info = keys_of(KINDS[table])[key]
    return getattr(getattr(spec, f"{table}s")[0] if table in REPEATED else getattr(spec, table), info.name)


OTHER_TYPES = {
    "text": '"two"',
    "whole": "17",
    "real": "1.5",
    "truth": "true",
    "list": "[1]",
    "table": "{a = 1}",
    "date": "2026-01-01",
    "nan": "nan",
    "inf": "inf",
    "negative": "-1",
}
TAKES: dict[type, set[str]] = {
    WholeNumber: {"whole"},
    YesNo: {"truth"},
    Duration: {"whole", "real"},
    Size: set(),  # 17 bytes are below every lower bound
    OneOf: set(),
    Host: {"text"},
    Text: set(),
    ServerUrl: set(),
    HostName: {"text"},
    UrlPath: set(),
    Addresses: set(),
    Weights: {"list"},
    RateRule: set(),
    KeyParts: set(),
    Listed: set(),
}
ANY_TEXT = {
    ("database", "path"),
    ("service", "name"),
    ("tls", "certificate"),
    ("limit", "name"),
    ("limit", "task"),
    ("sessions", "cookie"),
    ("files", "folder"),
}


@pytest.mark.parametrize(("table", "key"), KEYS)
@pytest.mark.parametrize("other", OTHER_TYPES)
def test_every_key_refuses_every_other_type_and_names_what_it_takes(table: str, key: str, other: str) -> None:
    rule = keys_of(KINDS[table])[key][0].rule
    text = written(table, key, OTHER_TYPES[other])
    taken = TAKES[type(rule)] | ({"text"} if (table, key) in ANY_TEXT else set())
    if table == "sessions" and isinstance(rule, Duration):
        taken = set()  # 17 seconds are below the lower bound
    if (table, key, other) == ("web", "processes", "whole"):
        assert refusal(text) == "database.pool: found 16; allowed with 17 web processes: at least 34."
    elif (table, key, other) == ("workers", "processes", "whole"):
        said = "database.pool: found 16; allowed with 1 web process and 17 of workers: at least 36."
        assert refusal(text) == said
    elif other in taken:
        parse_spec(text)
    else:
        assert refusal(text).endswith(f"; allowed: {rule.allowed}.")
        assert refusal(text).startswith(f"{named(table, key)}: found ")


BEYOND: list[tuple[str, str, str]] = [
    ("service", "name", '""'),
    ("service", "name", '"Shop"'),
    ("service", "name", '"1shop"'),
    ("service", "name", '"-shop"'),
    ("service", "name", '"shop_x"'),
    ("service", "name", '"shöp"'),
    ("service", "name", '"shop\\n"'),
    ("service", "name", f'"{"s" * 32}"'),
    ("service", "app", '"shop"'),
    ("service", "app", '"shop:"'),
    ("service", "app", '":app"'),
    ("service", "app", '"shop:app.x"'),
    ("service", "app", '"1shop:app"'),
    ("service", "app", '"shop:1app"'),
    ("service", "app", '"shop:app()"'),
    ("service", "app", '"shop/app:app"'),
    ("service", "app", '"shop:app\\n"'),
    ("service", "app", '"shöp:app"'),
    ("workers", "processes", "-1"),
    ("workers", "processes", "65"),
    ("public", "host", '""'),
    ("public", "host", '"a b"'),
    ("public", "host", '"256.1.1.1"'),
    ("public", "host", '"1.2.3"'),
    ("public", "host", '"::g"'),
    ("public", "host", '"http://x"'),
    ("public", "host", '"x:80"'),
    ("public", "host", '"-x"'),
    ("public", "host", f'"{"a" * 64}"'),
    ("public", "port", "-1"),
    ("public", "port", "65536"),
    ("public", "body_limit", "1023"),
    ("public", "body_limit", '"1025MB"'),
    ("public", "body_limit", '"1MBit"'),
    ("web", "processes", "0"),
    ("web", "processes", "65"),
    ("web", "metrics", '"Public"'),
    ("web", "drain_limit", '"3601s"'),
    ("web", "drain_limit", '"30"'),
    ("web", "keep_alive", '"999ms"'),
    ("web", "keep_alive", '"61s"'),
    ("database", "path", '""'),
    ("database", "path", '"a/"'),
    ("database", "path", '"a\\u0000b"'),
    ("database", "path", f'"{"a" * 1025}"'),
    ("database", "hold", '"601s"'),
    ("database", "queue", "0"),
    ("database", "queue", "1000001"),
    ("database", "url", '"mysql://db.example.com/shop"'),
    ("database", "url", '"postgresql://"'),
    ("database", "url", '"postgresql://a b/shop"'),
    ("database", "url", f'"postgresql://{"a" * 2000}"'),
    ("database", "pool", "1"),
    ("database", "pool", "1001"),
    ("cache", "entries", "0"),
    ("cache", "entries", "100000001"),
    ("cache", "bytes", "65535"),
    ("cache", "bytes", '"1025GB"'),
    ("cache", "eviction", '"LRU"'),
    ("sessions", "idle", '"59s"'),
    ("sessions", "idle", '"366d"'),
    ("sessions", "lifetime", '"59s"'),
    ("sessions", "lifetime", '"3651d"'),
    ("sessions", "cookie", '""'),
    ("sessions", "cookie", '"__Host-x"'),
    ("sessions", "cookie", '"a b"'),
    ("sessions", "cookie", f'"{"a" * 49}"'),
    ("sessions", "secure", '"never"'),
    ("files", "folder", '""'),
    ("files", "folder", '"a\\u0000b"'),
    ("files", "quota", '"1023KB"'),
    ("files", "quota", '"1025TB"'),
    ("files", "owner_quota", '"1023B"'),
    ("files", "owner_quota", '"1025TB"'),
    ("log", "rotate_size", "65535"),
    ("log", "rotate_size", '"17GB"'),
    ("log", "keep", "0"),
    ("log", "keep", "1001"),
    ("log", "level", '"loud"'),
    ("metrics", "otlp", '"collector:4318"'),
    ("metrics", "otlp", '"http://user:word@collector/"'),
    ("metrics", "every", '"0s"'),
    ("dashboard", "host", '"a b"'),
    ("dashboard", "port", "-1"),
    ("dashboard", "port", "65536"),
    ("dashboard", "mode", '"on"'),
    ("public", "port", "0x" + "f" * 5000),
    ("balancer", "strategy", '"random"'),
    ("balancer", "weights", "[1, 0]"),
    ("balancer", "weights", "[1, -1]"),
    ("balancer", "weights", "[257]"),
    ("balancer", "weights", "[1, true]"),
    ("balancer", "weights", "[1.0]"),
    ("balancer", "weights", "[[1]]"),
    ("balancer", "weights", str([1] * 65)),
    ("balancer", "server_connections", "0"),
    ("balancer", "server_connections", "100001"),
    ("balancer", "queue", "0"),
    ("balancer", "queue", "1000001"),
    ("balancer", "header_timeout", '"99ms"'),
    ("balancer", "header_timeout", '"301s"'),
    ("balancer", "slow_start", '"601s"'),
    ("tls", "certificate", '""'),
    ("tls", "certificate", '"a/"'),
    ("tls", "certificate", '"a\\nb"'),
    ("tls", "certificate", f'"{"a" * 1025}"'),
    ("tls", "port", "0"),
    ("tls", "port", "65536"),
    ("route", "host", '""'),
    ("route", "host", '"*"'),
    ("route", "host", '"*.example.com"'),
    ("route", "host", '"a b"'),
    ("route", "host", '"a:80"'),
    ("route", "host", '"::1"'),
    ("route", "host", '"1.2.3"'),
    ("route", "host", '"a\\n"'),
    ("route", "path", '""'),
    ("route", "path", '"r"'),
    ("route", "path", '"//"'),
    ("route", "path", '"/a//b"'),
    ("route", "path", '"/a/../b"'),
    ("route", "path", '"/."'),
    ("route", "path", '"/a b"'),
    ("route", "path", '"/a?b"'),
    ("route", "path", '"/%61"'),
    ("route", "path", '"/a\\n"'),
    ("route", "path", '"/\'\\""'),
    ("route", "path", '"/ä"'),
    ("route", "path", f'"/{"a" * 200}"'),
    ("route", "to", '""'),
    ("route", "to", '"x"'),
    ("route", "to", '":1"'),
    ("route", "to", '"x:"'),
    ("route", "to", '"x:0"'),
    ("route", "to", '"x:65536"'),
    ("route", "to", '"x:-1"'),
    ("route", "to", '"x:1 "'),
    ("route", "to", '"x:1\\n"'),
    ("route", "to", '"http://x:1"'),
    ("route", "to", '"::1:1"'),
    ("route", "to", '"[x]:1"'),
    ("route", "to", '"[1.2.3.4]:1"'),
    ("route", "to", '"1.2.3:1"'),
    ("route", "to", '"x:١"'),
    ("route", "to", "[]"),
    ("route", "to", '["x:1", 2]'),
    ("route", "to", '["x:1", "X:01"]'),
    ("route", "to", '["[::1]:1", "[0:0::1]:1"]'),
    ("route", "to", str([f"x:{port}" for port in range(1, 18)])),
    ("route", "check", '""'),
    ("route", "check", '"readyz"'),
    ("route", "check", '"/a b"'),
    ("route", "check", '"/\\r\\nHost: x"'),
    ("route", "check", f'"/{"a" * 200}"'),
    ("limit", "name", '""'),
    ("limit", "name", '"A"'),
    ("limit", "name", '"a\\n"'),
    ("limit", "name", f'"{"a" * 64}"'),
    ("limit", "rate", '""'),
    ("limit", "rate", '"0/second"'),
    ("limit", "rate", '"1000001/second"'),
    ("limit", "rate", '"1/week"'),
    ("limit", "rate", '"1.5/second"'),
    ("limit", "rate", '"-1/second"'),
    ("limit", "rate", '"\u0661/second"'),
    ("limit", "burst", "0"),
    ("limit", "burst", "1000000001"),
    ("limit", "key", '""'),
    ("limit", "key", '"address+address"'),
    ("limit", "key", '"address+"'),
    ("limit", "key", '"cookie"'),
    ("limit", "routes", "[]"),
    ("limit", "routes", '[""]'),
    ("limit", "routes", '["a"]'),
    ("limit", "routes", '["/a*b"]'),
    ("limit", "routes", '["/a b"]'),
    ("limit", "methods", "[]"),
    ("limit", "methods", '["get"]'),
    ("limit", "methods", '["OPTIONS"]'),
    ("limit", "cost", "0"),
    ("limit", "over", '"queue"'),
    ("limit", "task", '""'),
    ("limit", "task", '"a b"'),
    ("limit", "when_away", '"shut"'),
]


@pytest.mark.parametrize(("table", "key", "value"), BEYOND, ids=lambda value: str(value)[:30])
def test_every_bound_is_kept(table: str, key: str, value: str) -> None:
    message = refusal(written(table, key, value))
    assert message.startswith(f"{named(table, key)}: found ")
    assert message.isprintable()
    assert len(message) < 300


AT_THE_BOUND: list[tuple[str, str, str, Any]] = [
    ("service", "name", f'"{"s" * 31}"', "s" * 31),
    ("service", "name", '"a-1"', "a-1"),
    ("service", "app", '"_a.b_2.c:_App"', "_a.b_2.c:_App"),
    ("public", "host", '"0.0.0.0"', "0.0.0.0"),
    ("public", "host", '"::1"', "::1"),
    ("public", "host", '"www.example.com"', "www.example.com"),
    ("public", "port", "0", 0),
    ("public", "port", "65535", 65535),
    ("public", "body_limit", "1024", 1024),
    ("public", "body_limit", '"1GB"', 1024**3),
    ("web", "processes", "1", 1),
    ("workers", "processes", "0", 0),
    ("workers", "processes", "7", 7),
    ("web", "access_log", "false", False),
    ("web", "metrics", '"off"', "off"),
    ("web", "drain_limit", "0", 0.0),
    ("web", "drain_limit", '"1h"', 3600.0),
    ("web", "keep_alive", '"1s"', 1.0),
    ("web", "keep_alive", "60.0", 60.0),
    ("database", "path", '"/var/x.db"', "/var/x.db"),
    ("database", "path", '"größe/x.db"', "größe/x.db"),
    ("database", "hold", '"0s"', 0.0),
    ("database", "hold", '"9m60s"', 600.0),
    ("database", "queue", "1", 1),
    ("database", "queue", "1000000", 1_000_000),
    ("database", "url", '"postgres://db"', Secret("postgres://db")),
    ("database", "url", '"postgresql://me:x@db:5432/shop?a=b"', Secret("postgresql://me:x@db:5432/shop?a=b")),
    ("database", "pool", "2", 2),
    ("database", "pool", "1000", 1000),
    ("cache", "entries", "1", 1),
    ("cache", "entries", "100000000", 100_000_000),
    ("cache", "bytes", '"64KB"', 65536),
    ("cache", "bytes", '"1TB"', 1024**4),
    ("cache", "eviction", '"fifo"', "fifo"),
    ("sessions", "idle", '"1m"', 60.0),
    ("sessions", "idle", '"365d"', 365 * 86400.0),
    ("sessions", "lifetime", '"1m"', 60.0),
    ("sessions", "lifetime", '"3650d"', 3650 * 86400.0),
    ("sessions", "cookie", '"a"', "a"),
    ("sessions", "cookie", f'"{"a" * 48}"', "a" * 48),
    ("sessions", "secure", '"auto"', "auto"),
    ("sessions", "secure", '"always"', "always"),
    ("files", "folder", '"/a b"', "/a b"),
    ("files", "quota", '"1MB"', 1024**2),
    ("files", "quota", '"1024TB"', 1024**5),
    ("files", "owner_quota", '"1KB"', 1024),
    ("files", "owner_quota", '"1024TB"', 1024**5),
    ("log", "rotate_size", '"64KiB"', 65536),
    ("log", "rotate_size", '"16GB"', 16 * 1024**3),
    ("log", "keep", "1", 1),
    ("log", "keep", "1000", 1000),
    ("log", "level", '"debug"', "debug"),
    ("dashboard", "host", '"::"', "::"),
    ("dashboard", "port", "0", 0),
    ("dashboard", "port", "65535", 65535),
    ("dashboard", "mode", '"read-only"', "read-only"),
    ("dashboard", "mode", '"off"', "off"),
    ("metrics", "otlp", '"https://otel.example.com:4318/v1/metrics"', "https://otel.example.com:4318/v1/metrics"),
    ("metrics", "every", '"1s"', 1.0),
    ("metrics", "every", '"1h"', 3600.0),
    ("balancer", "strategy", '"client-address"', "client-address"),
    ("balancer", "weights", "[]", ()),
    ("balancer", "weights", "[1, 256]", (1, 256)),
    ("balancer", "weights", str([256] * 64), (256,) * 64),
    ("balancer", "server_connections", "1", 1),
    ("balancer", "server_connections", "100000", 100_000),
    ("balancer", "queue", "1", 1),
    ("balancer", "queue", "1000000", 1_000_000),
    ("balancer", "compression", "false", False),
    ("balancer", "header_timeout", '"100ms"', 0.1),
    ("balancer", "header_timeout", '"5m"', 300.0),
    ("balancer", "slow_start", "0", 0.0),
    ("balancer", "slow_start", '"10m"', 600.0),
    ("tls", "certificate", '"/etc/größe.pem"', "/etc/größe.pem"),
    ("tls", "port", "1", 1),
    ("tls", "port", "65535", 65535),
    ("tls", "redirect", "true", True),
    ("route", "host", '"Photos.Example.com"', "photos.example.com"),
    ("route", "host", '"10.0.0.1"', "10.0.0.1"),
    ("route", "path", '"/a"', "/a"),
    ("route", "path", '"/a/b-c_d~e.f/"', "/a/b-c_d~e.f"),
    ("route", "path", f'"/{"a" * 199}"', "/" + "a" * 199),
    ("route", "to", '"X:1"', ("x:1",)),
    ("route", "to", '["10.0.0.1:080", "[0:0::1]:65535"]', ("10.0.0.1:80", "[::1]:65535")),
    ("route", "to", str([f"x:{port}" for port in range(1, 17)]), tuple(f"x:{port}" for port in range(1, 17))),
    ("route", "strip", "true", True),
    ("route", "check", '"/"', "/"),
    ("route", "check", '"/health/"', "/health/"),
    ("route", "check", f'"/{"a" * 199}"', "/" + "a" * 199),
    ("limit", "name", f'"{"a" * 63}"', "a" * 63),
    ("limit", "rate", '"1/day"', "1/day"),
    ("limit", "rate", '"1000000/second"', "1000000/second"),
    ("limit", "burst", "1", 1),
    ("limit", "burst", "1000000000", 1_000_000_000),
    ("limit", "key", '"route+user+api-key+address"', ("route", "user", "api-key", "address")),
    ("limit", "routes", '["/", "/a/{b}", "/api/*", "*", "/"]', ("/", "/a/{b}", "/api/*", "*")),
    ("limit", "methods", '["POST", "GET"]', ("POST", "GET")),
    ("limit", "cost", "1000000", 1_000_000),
    ("limit", "over", '"refuse"', "refuse"),
    ("limit", "task", '"mails.send"', "mails.send"),
    ("limit", "shadow", "true", True),
    ("limit", "when_away", '"closed"', "closed"),
]


@pytest.mark.parametrize(("table", "key", "value", "read"), AT_THE_BOUND, ids=lambda value: str(value)[:30])
def test_what_is_just_within_a_bound_is_taken(table: str, key: str, value: str, read: Any) -> None:
    spec = parse_spec(written(table, key, value))
    found = value_in(spec, table, key)
    assert found == read
    assert type(found) is type(read)


def test_both_lists_of_bounds_name_every_key() -> None:
    free = {where for where in KEYS if isinstance(keys_of(KINDS[where[0]])[where[1]][0].rule, YesNo)}
    assert {(table, key) for table, key, _ in BEYOND} == set(KEYS) - free
    assert {(table, key) for table, key, _, _ in AT_THE_BOUND} == set(KEYS)


def test_only_the_service_has_to_be_there_and_the_defaults_are_within_their_own_rules() -> None:
    spec = parse_spec(SERVICE)
    assert spec == Spec(service=spec.service)
    for table, kind in TABLES.items():
        for key, (rule, info) in keys_of(kind).items():
            if not info.required and not rule.default_shown:
                default = getattr(getattr(spec, table), info.name)
                assert rule.rule.read(default) == default, f"{table}.{key}"


@pytest.mark.parametrize("key", ["name", "app"])
def test_a_missing_key_is_named_with_what_belongs_there(key: str) -> None:
    text = "".join(line + "\n" for line in SERVICE.splitlines() if not line.startswith(key))
    rule = keys_of(TABLES["service"])[key][0].rule
    assert refusal(text) == f"service.{key}: found nothing; allowed: {rule.allowed}."


def test_an_empty_file_lacks_the_service() -> None:
    assert refusal("").startswith("service.name: found nothing; allowed: ")


@pytest.mark.parametrize(("table", "key"), [(table, key) for table, key in KEYS if len(key) > 2])
def test_a_near_miss_is_answered_with_the_right_key(table: str, key: str) -> None:
    for miss in {key[:-1] + "x", key + "s", key[1] + key[0] + key[2:], key.upper(), key.replace("_", "-") + "x"}:
        if miss not in keys_of(KINDS[table]):
            said = f'unknown key "{miss}" in {named(table)}; did you mean "{key}"?'
            assert refusal(written(table, miss, "1")) == said


@pytest.mark.parametrize("table", KINDS)
def test_a_far_miss_is_answered_with_all_keys(table: str) -> None:
    keys = ", ".join(keys_of(KINDS[table]))
    assert refusal(written(table, "zzzzzz", "1")) == f'unknown key "zzzzzz" in {named(table)}; allowed: {keys}.'


@pytest.mark.parametrize("table", [*KINDS, "settings"])
def test_a_misspelt_table_is_answered_with_the_right_one(table: str) -> None:
    miss = table[:-1]
    assert refusal(f"{SERVICE}[{miss}]\n") == f'unknown table "{miss}"; did you mean "{table}"?'


@pytest.mark.parametrize("table", [*TABLES, "settings"])
@pytest.mark.parametrize("value", ["3", '"x"', "[1]", "true"])
def test_a_table_must_be_a_table(table: str, value: str) -> None:
    text = f"{table} = {value}\n" + (SERVICE if table != "service" else "")
    assert refusal(text).startswith(f"{table}: found ")
    assert refusal(text).endswith(f"; allowed: a table [{table}].")


def test_a_list_of_tables_is_not_a_table() -> None:
    assert refusal(f"{SERVICE}[[web]]\nprocesses = 1\n") == "web: found a list; allowed: a table [web]."


def test_a_key_above_all_tables_is_told_where_it_belongs() -> None:
    ports = "[public] or [dashboard] or [tls]"
    for key, homes in (("processes", "[web] or [workers]"), ("port", ports), ("strip", "[[route]]")):
        said = f'unknown key "{key}" at the top of the file; it belongs under {homes}.'
        assert refusal(f"{key} = 1\n" + SERVICE) == said
    unknown = 'unknown key "zzz" at the top of the file; every key belongs under'
    assert refusal("zzz = 1\n" + SERVICE).startswith(unknown)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[service]\nname = shop\n", "line 2, column 8: not valid TOML: "),
        ("[service\n", "line 1, column 9: not valid TOML: "),
        ("\n\n[service]\nname = \n", "line 4, column 8: not valid TOML: "),
        ('[service]\nname = "x"\nname = "y"\n', "line 3, column 11: not valid TOML: "),
        ("[web]\n[web]\n", "line 2, column 5: not valid TOML: "),
        ('a = """never\nended', "line 2, at its end: not valid TOML: "),
        ("a", "line 1, at its end: not valid TOML: "),
        ("a = 1 b = 2", "line 1, column 7: not valid TOML: "),
        (b"[service]\nname = '\xff'\n", "line 2: found the byte 0xff; allowed: TOML in UTF-8."),
        ("[service]\nname = '\xe9'\n".encode("latin-1"), "line 2: found the byte 0xe9; allowed: TOML in UTF-8."),
        ("a = '\x00'", "line 1, column 6: not valid TOML: "),
        ("a = " + "9" * 5000, "not valid TOML: Exceeds the limit"),
        ("a = " + "[" * 100_000, "the lists or tables in it are nested too deeply."),
        ("#" * (FILE_MAX + 1), "found 1,000,001 characters; allowed: at most 1,000,000."),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_not_toml_is_refused_with_its_line(text: str | bytes, place: str) -> None:
    assert refusal(text).startswith(place)


def test_the_named_line_is_the_one_that_is_wrong() -> None:
    lines = SERVICE.splitlines() + ["# filler"] * 40
    for at in range(len(lines) + 1):
        text = "\n".join([*lines[:at], "= wrong", *lines[at:]])
        assert refusal(text).startswith(f"line {at + 1}, column 1: not valid TOML: ")


def test_windows_line_ends_and_a_byte_order_mark_are_taken() -> None:
    windows = b"\xef\xbb\xbf" + SERVICE.replace("\n", "\r\n").encode()
    assert parse_spec(windows) == parse_spec(SERVICE)


def test_the_source_begins_every_message() -> None:
    with pytest.raises(SpecError, match=r"^TF-SPEC: /srv/shop/tenfold\.toml: "):
        parse_spec("", "/srv/shop/tenfold.toml")


def test_no_message_carries_what_a_terminal_would_act_on() -> None:
    hostile = "\\u001b[31m\\u202e\\n"
    for text in (
        f'"{hostile}" = 1\n{SERVICE}',
        f'["{hostile}"]\n{SERVICE}',
        f'{SERVICE}[web]\n"{hostile}" = 1\n',
        f'{SERVICE}[web]\nmetrics = "{hostile}"\n',
        f'{SERVICE}[settings]\n"{hostile}" = 1\n',
    ):
        assert refusal(text).isprintable()


@given(st.text() | st.binary())
def test_nothing_but_a_spec_error_comes_out_of_any_text(text: str | bytes) -> None:
    with pytest.raises(SpecError):
        parse_spec(text)


TOML_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.just(datetime.date(2026, 1, 1))
    | st.sampled_from(["1h", "64MB", "off", "127.0.0.1", math.inf]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@given(st.sampled_from(KEYS), TOML_VALUES)
def test_a_rule_refuses_or_gives_what_the_spec_can_hold(where: tuple[str, str], value: Any) -> None:
    table, key = where
    rule, info = keys_of(KINDS[table])[key]
    try:
        read = rule.rule.read(value)
    except (ValueError, SpecError.__mro__[1]):
        return
    assert msgspec.convert(read, info.type) == read


@pytest.mark.parametrize("url", ["postgresql://me:hunter2@db /shop", "mysql://me:hunter2@db/shop", "me:hunter2@db"])
def test_the_address_of_a_database_server_is_never_shown(url: str) -> None:
    said = refusal(written("database", "url", f'"{url}"'))
    assert said.startswith("database.url: found something else; allowed: a URL such as ")
    assert "hunter2" not in said


def test_a_spec_does_not_show_the_password_in_it() -> None:
    spec = parse_spec(written("database", "url", '"postgresql://me:hunter2@db/shop"'))
    assert "hunter2" not in repr(spec)
    assert spec.database.url is not None
    assert spec.database.url.reveal() == "postgresql://me:hunter2@db/shop"
