"""PostgreSQL's own configuration, as text, sized for the machine it runs on. Pure: figures in, files out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tenfold.engines.postgres.roles import SUPERUSER, Names
from tenfold.topology.pools import most_together
from tenfold.topology.wants import WEB_MAX, WORKERS_MAX

_MB = 1 << 20
_GB = 1 << 30
RESERVE = 20
"""Connections beside the pools of the service: controller, mover, probes, people, and those kept for the superuser."""
SUPERUSER_RESERVED = 5
LOOPBACK = ("127.0.0.1/32", "::1/128")


@dataclass(frozen=True)
class Machine:
    """What the server may use. `memory`: bytes of the machine, or of the container; `disk`: free bytes for its data;
    `syncfs`: whether the kernel syncs a whole file system and reports its errors."""

    memory: int
    disk: int
    syncfs: bool = False


@dataclass(frozen=True)
class Listen:
    """Where it listens: `addresses` are loopback or private ones, `socket` is the folder of its unix socket."""

    port: int
    socket: str
    addresses: tuple[str, ...] = ("127.0.0.1",)


def connections_for(pool: int) -> int:
    """`max_connections` for a service with that `database.pool`.

    What its processes open at most, however many share the pool and while those before and after a deploy overlap,
    and a reserve for everybody else.
    """
    assert pool >= 1, "a service needs a connection"
    return most_together(pool, WEB_MAX + WORKERS_MAX) + RESERVE


def sizes(machine: Machine, connections: int) -> dict[str, str]:
    """The settings that depend on the machine: a quarter of the memory is PostgreSQL's own cache, because the service's
    processes live on the same machine; the log of changes is bounded so that a crash is repaired within seconds."""
    buffers = _within(machine.memory // 4, 32 * _MB, 8 * _GB)
    return {
        "shared_buffers": _size(buffers),
        "effective_cache_size": _size(max(machine.memory // 2, buffers)),
        "work_mem": _size(_within(machine.memory // 4 // connections, 4 * _MB, 64 * _MB)),
        "maintenance_work_mem": _size(_within(machine.memory // 16, 32 * _MB, _GB)),
        "max_wal_size": _size(_within(machine.disk // 20, 128 * _MB, _GB)),
        "min_wal_size": _size(80 * _MB),
    }


def postgresql_conf(machine: Machine, listen: Listen, pool: int) -> str:
    """The whole of postgresql.conf."""
    connections = connections_for(pool)
    groups: dict[str, Mapping[str, str]] = {
        "Where it listens": {
            "listen_addresses": _text(", ".join(listen.addresses)),
            "port": str(listen.port),
            "unix_socket_directories": _text(_one_folder(listen.socket)),
            "unix_socket_permissions": "0700",
            "max_connections": str(connections),
            "superuser_reserved_connections": str(SUPERUSER_RESERVED),
            "password_encryption": "'scram-sha-256'",
        },
        "What it may use": sizes(machine, connections),
        "What is acknowledged is on the disk": {
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "wal_level": "replica",
            "checkpoint_timeout": "'5min'",
            "checkpoint_completion_target": "0.9",
            # After a crash all files are synced before the repair: one by one that took 1 to 3 s on a busy disk.
            "recovery_init_sync_method": "syncfs" if machine.syncfs else "fsync",
            "restart_after_crash": "off",  # the keeper starts it again, and waits between; itself it never waits
        },
        "How it works": {
            "max_pred_locks_per_transaction": "256",
            "max_prepared_transactions": "64",
            "random_page_cost": "1.1",
            "jit": "off",
            "timezone": "'UTC'",
            "log_timezone": "'UTC'",
            "lc_messages": "'C'",
            "tcp_keepalives_idle": "30",
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "3",
        },
        "Its log goes to the keeper, and holds no statement and no value": {
            "log_destination": "'stderr'",
            "logging_collector": "off",
            "log_line_prefix": _text("%m [%p] %q%u@%d "),
            "log_statement": "'none'",
            "log_min_duration_statement": "-1",
            "log_min_error_statement": "'panic'",
            "log_error_verbosity": "'terse'",
            "log_parameter_max_length": "0",
            "log_parameter_max_length_on_error": "0",
        },
    }
    return _head("postgresql.conf") + "".join(_group(title, group) for title, group in groups.items())


def pg_hba_conf(names: Names, networks: Iterable[str] = LOOPBACK) -> str:
    """Who may come in: the two roles from `networks` with SCRAM, the superuser only over the unix socket."""
    roles = f"{_quoted(names.owner)},{_quoted(names.web)}"
    rows = [
        ("local", "all", SUPERUSER, "", "scram-sha-256"),
        ("local", _quoted(names.database), roles, "", "scram-sha-256"),
        ("host", "all", SUPERUSER, "all", "reject"),
        *(("host", _quoted(names.database), roles, network, "scram-sha-256") for network in networks),
        ("host", "all", "all", "all", "reject"),
    ]
    return _head("pg_hba.conf") + "".join(" ".join(word for word in row if word) + "\n" for row in rows)


def _head(name: str) -> str:
    return f"# {name}: written by Tenfold before every start. Settings of your own: ALTER SYSTEM SET, they win.\n"


def _group(title: str, settings: Mapping[str, str]) -> str:
    return f"\n# {title}\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())


def _one_folder(path: str) -> str:
    """The setting is a list of folders; one that holds a comma or a quote is quoted inside it."""
    return '"' + path.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _quoted(name: str) -> str:
    # Quotes also take the meaning from words like all, replication and sameuser.
    return f'"{name}"'


def _size(size: int) -> str:
    return f"'{size // 1024}kB'"


def _within(value: int, least: int, most: int) -> int:
    return max(least, min(value, most))
