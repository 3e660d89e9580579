"""postgresql.conf and pg_hba.conf, as text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.engines.postgres.render import (
    RESERVE,
    Listen,
    Machine,
    connections_for,
    pg_hba_conf,
    postgresql_conf,
    sizes,
)
from tenfold.engines.postgres.roles import names_of
from tenfold.topology.pools import carries, most, share
from tenfold.topology.wants import WEB_MAX

MB, GB = 1 << 20, 1 << 30
LISTEN = Listen(20_001, "/run/here")


def settings(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = dict(line.split(" = ", 1) for line in lines)
    assert len(found) == len(lines), "no setting stands twice"
    return found


def bytes_of(value: str) -> int:
    match = re.fullmatch(r"'(\d+)kB'", value)
    assert match, value
    return int(match[1]) * 1024


@pytest.mark.parametrize(
    ("memory", "disk", "buffers", "work", "wal"),
    [
        (512 * MB, 2 * GB, 128 * MB, 4 * MB, 128 * MB),
        (2 * GB, 10 * GB, 512 * MB, 4 * MB, 512 * MB),
        (16 * GB, 100 * GB, 4 * GB, 4 * GB // 148, 1 * GB),
        (256 * GB, 4000 * GB, 8 * GB, 64 * MB, 1 * GB),
    ],
)
def test_sizes_for_usual_machines(memory: int, disk: int, buffers: int, work: int, wal: int) -> None:
    found = sizes(Machine(memory, disk), connections_for(16))
    assert bytes_of(found["shared_buffers"]) == buffers
    assert bytes_of(found["work_mem"]) == work // 1024 * 1024
    assert bytes_of(found["max_wal_size"]) == wal // 1024 * 1024


@given(st.integers(64 * MB, 2048 * GB), st.integers(0, 1 << 50), st.integers(1, 1000))
def test_sizes_stay_within_bounds_on_every_machine(memory: int, disk: int, pool: int) -> None:
    found = {name: bytes_of(value) for name, value in sizes(Machine(memory, disk), connections_for(pool)).items()}
    assert 32 * MB <= found["shared_buffers"] <= 8 * GB
    assert found["shared_buffers"] <= max(memory // 2, 32 * MB)
    assert found["effective_cache_size"] >= found["shared_buffers"]
    assert 4 * MB <= found["work_mem"] <= 64 * MB
    assert 32 * MB <= found["maintenance_work_mem"] <= GB
    assert found["min_wal_size"] < found["max_wal_size"] <= GB


@given(st.integers(1, 1000))
def test_two_generations_of_the_service_and_everybody_else_fit(pool: int) -> None:
    allowed = connections_for(pool)
    # One process that leaves and one that comes, before either knows of the other.
    assert allowed >= 2 * most(pool) + RESERVE
    # As many as can share the pool, and during a deploy as many again.
    for processes in range(1, 2 * min(WEB_MAX, max(1, carries(pool))) + 1):
        assert allowed >= processes * most(share(pool, processes)) + RESERVE
    found = settings(postgresql_conf(Machine(GB, GB), LISTEN, pool))
    assert found["max_connections"] == str(allowed)
    assert allowed <= 8 * max(pool, 16) + RESERVE + 16


def test_what_is_acknowledged_is_on_the_disk() -> None:
    found = settings(postgresql_conf(Machine(GB, 10 * GB), LISTEN, 16))
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        assert found[name] == "on"


@pytest.mark.parametrize(("can", "written"), [(True, "syncfs"), (False, "fsync")])
def test_a_crash_is_repaired_quickly_where_the_kernel_can(can: bool, written: str) -> None:
    found = settings(postgresql_conf(Machine(GB, GB, syncfs=can), LISTEN, 16))
    assert found["recovery_init_sync_method"] == written


def test_it_listens_where_it_is_told_and_nowhere_else() -> None:
    found = settings(postgresql_conf(Machine(GB, GB), LISTEN, 16))
    assert found["listen_addresses"] == "'127.0.0.1'"
    assert found["port"] == "20001"
    assert found["password_encryption"] == "'scram-sha-256'"
    more = Listen(5432, "/run/here", ("10.1.2.3", "127.0.0.1"))
    assert settings(postgresql_conf(Machine(GB, GB), more, 16))["listen_addresses"] == "'10.1.2.3, 127.0.0.1'"


@pytest.mark.parametrize(
    ("folder", "written"),
    [
        ("/run/here", "'\"/run/here\"'"),
        ("/with, comma", "'\"/with, comma\"'"),
        ("/it's", "'\"/it''s\"'"),
        ('/a"b', '\'"/a""b"\''),
        ("/back\\slash", "'\"/back\\\\slash\"'"),
    ],
)
def test_the_socket_folder_may_have_any_name(folder: str, written: str) -> None:
    found = settings(postgresql_conf(Machine(GB, GB), Listen(5432, folder), 16))
    assert found["unix_socket_directories"] == written


def test_the_log_holds_no_statement_and_no_value() -> None:
    found = settings(postgresql_conf(Machine(GB, GB), LISTEN, 16))
    assert found["log_destination"] == "'stderr'"
    assert found["logging_collector"] == "off"
    assert found["log_statement"] == "'none'"
    assert found["log_min_duration_statement"] == "-1"
    assert found["log_min_error_statement"] == "'panic'"
    assert found["log_error_verbosity"] == "'terse'"
    assert found["log_parameter_max_length"] == found["log_parameter_max_length_on_error"] == "0"


def test_everybody_needs_a_password_and_the_superuser_the_socket() -> None:
    rows = [line.split() for line in pg_hba_conf(names_of("my-shop")).splitlines() if not line.startswith("#")]
    assert rows == [
        ["local", "all", "postgres", "scram-sha-256"],
        ["local", '"my_shop"', '"my_shop_owner","my_shop_web"', "scram-sha-256"],
        ["host", "all", "postgres", "all", "reject"],
        ["host", '"my_shop"', '"my_shop_owner","my_shop_web"', "127.0.0.1/32", "scram-sha-256"],
        ["host", '"my_shop"', '"my_shop_owner","my_shop_web"', "::1/128", "scram-sha-256"],
        ["host", "all", "all", "all", "reject"],
    ]
    assert {row[-1] for row in rows} == {"scram-sha-256", "reject"}


def test_private_networks_are_let_in_when_they_are_named() -> None:
    text = pg_hba_conf(names_of("s"), ("10.0.0.0/8",))
    assert "10.0.0.0/8 scram-sha-256" in text
    assert "127.0.0.1" not in text
