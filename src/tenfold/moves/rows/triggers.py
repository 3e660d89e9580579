"""The SQL of captures and fences in both databases: pure text.

A capture logs the primary key of every row that changes, so that a replay can read the row as it is then. A fence
refuses every writer, with the code TF001. Names begin with `tf_capture_` and `tf_fence_`; nothing else is ours.
"""

from __future__ import annotations

from collections.abc import Iterable

from tenfold.moves.rows.kinds import FIRST_US, LAST_US
from tenfold.moves.rows.tables import Moved, listed, quoted

CAPTURE, FENCE = "tf_capture_", "tf_fence_"

FILE_LOG = "CREATE TABLE IF NOT EXISTS tf_log (seq INTEGER PRIMARY KEY, tbl TEXT NOT NULL, pk TEXT NOT NULL) STRICT"
SERVER_LOG = """CREATE TABLE IF NOT EXISTS tf.tf_log (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tbl text NOT NULL, pk text NOT NULL)"""

_OTHERS = "current_setting('tf.mover', true) IS DISTINCT FROM 'on'"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# -- SQLite -----------------------------------------------------------------------------------------------------------


def _file_key(table: Moved, row: str) -> str:
    parts = []
    for name, kind in zip(table.key_names, table.key_kinds, strict=True):
        value = f"{row}.{quoted(name)}"
        # json_array refuses bytes, and rounds floats to 15 digits; quote() does not.
        parts.append({bytes: f"hex({value})", float: f"quote({value})"}.get(kind.storage, value))
    return f"json_array({', '.join(parts)})"


def file_captures(table: Moved) -> dict[str, str]:
    """The triggers on SQLite that log what changes in `table`: name and CREATE."""

    def made(event: str, row: str, when: str = "") -> str:
        return (
            f"CREATE TRIGGER IF NOT EXISTS {{name}} AFTER {event} ON {quoted(table.name)} FOR EACH ROW {when}\n"
            f"BEGIN INSERT INTO tf_log (tbl, pk) VALUES ({_literal(table.name)}, {_file_key(table, row)}); END"
        )

    changed = " OR ".join(f"OLD.{quoted(name)} IS NOT NEW.{quoted(name)}" for name in table.key_names)
    bodies = {
        "insert": made("INSERT", "NEW"),
        "update": made("UPDATE", "NEW"),
        "delete": made("DELETE", "OLD"),
        "rename": made(f"UPDATE OF {listed(table.key_names)}", "OLD", f"WHEN {changed}"),
    }
    return _named(CAPTURE, table, bodies)


def file_fences(table: Moved, epoch: int) -> dict[str, str]:
    """The triggers on SQLite that refuse every writer to `table`: name and CREATE."""
    bodies = {
        event.lower(): f"CREATE TRIGGER IF NOT EXISTS {{name}} BEFORE {event} ON {quoted(table.name)} FOR EACH ROW\n"
        f"BEGIN SELECT RAISE(ABORT, 'TF001 epoch={epoch:d}'); END"
        for event in ("INSERT", "UPDATE", "DELETE")
    }
    return _named(FENCE, table, bodies)


def _named(prefix: str, table: Moved, bodies: dict[str, str]) -> dict[str, str]:
    names = {event: f"{prefix}{event}_{table.name}" for event in bodies}
    return {names[event]: body.replace("{name}", quoted(names[event]), 1) for event, body in bodies.items()}


# -- PostgreSQL -------------------------------------------------------------------------------------------------------

_MICROSECONDS = (
    f"CASE {{0}} WHEN 'infinity' THEN {LAST_US} WHEN '-infinity' THEN {FIRST_US} "
    "ELSE (extract(epoch FROM {0}) * 1000000)::bigint END"
)
_SCALED = {"timestamptz": _MICROSECONDS, "boolean": "({0})::int"}
_WRITTEN = {"bytea": "upper(encode({0}, 'hex'))", "uuid": "upper(replace({0}::text, '-', ''))", "float8": "({0})::text"}


def _server_key(table: Moved, row: str) -> str:
    parts = []
    for name, kind in zip(table.key_names, table.key_kinds, strict=True):
        form = {**_SCALED, **_WRITTEN}.get(kind.pg_type, "{0}")
        if kind.pg_type == "numeric":
            scale = int(getattr(table.table.c[name].type, "scale", 0))
            form = f"({{0}} * {10**scale})::bigint"
        parts.append(form.format(f"{row}.{quoted(name)}"))
    return f"pg_catalog.json_build_array({', '.join(parts)})::text"


def server_fence_function() -> str:
    """The function that refuses; its first argument is the epoch."""
    return """CREATE OR REPLACE FUNCTION tf.tf_refuse() RETURNS trigger LANGUAGE plpgsql AS $tf$
BEGIN
    RAISE EXCEPTION 'TF001 epoch=%', TG_ARGV[0] USING ERRCODE = 'TF001';
END $tf$"""


def server_fence(table: Moved, epoch: int) -> str:
    """The trigger on PostgreSQL that refuses every writer to `table` except the mover."""
    return (
        f"CREATE OR REPLACE TRIGGER {FENCE}all BEFORE INSERT OR UPDATE OR DELETE ON {table.on_server}\n"
        f"FOR EACH ROW WHEN ({_OTHERS}) EXECUTE FUNCTION tf.tf_refuse('{epoch:d}')"
    )


def server_captures(table: Moved) -> Iterable[str]:
    """The function and the trigger on PostgreSQL that log what others than the mover change in `table`.

    The function runs as the owner: the service's role has no right to the log.
    """
    function = f"tf.{quoted(CAPTURE + table.name)}"
    insert = f"INSERT INTO tf.tf_log (tbl, pk) VALUES ({_literal(table.name)}, {{key}});"
    old, new = (insert.replace("{key}", _server_key(table, row)) for row in ("OLD", "NEW"))
    changed = " OR ".join(f"OLD.{quoted(name)} IS DISTINCT FROM NEW.{quoted(name)}" for name in table.key_names)
    yield f"""CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1 AS $tf$
BEGIN
    IF TG_OP = 'DELETE' THEN
        {old}
        RETURN NULL;
    END IF;
    {new}
    IF TG_OP = 'UPDATE' THEN
        IF {changed} THEN
            {old}
        END IF;
    END IF;
    RETURN NULL;
END $tf$"""
    yield (
        f"CREATE OR REPLACE TRIGGER {CAPTURE}all AFTER INSERT OR UPDATE OR DELETE ON {table.on_server}\n"
        f"FOR EACH ROW WHEN ({_OTHERS}) EXECUTE FUNCTION {function}()"
    )


def server_uncapture(table: Moved) -> Iterable[str]:
    """Takes the capture of a table away."""
    yield f"DROP TRIGGER IF EXISTS {CAPTURE}all ON {table.on_server}"
    yield f"DROP FUNCTION IF EXISTS tf.{quoted(CAPTURE + table.name)}()"


def server_unfence(table: Moved) -> str:
    """Takes the fence of a table away."""
    return f"DROP TRIGGER IF EXISTS {FENCE}all ON {table.on_server}"
