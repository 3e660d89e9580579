"""Who is who in a database server, as SQL that can be run again. Pure; no password is ever in a statement.

One database a service, with schema `public` for its tables and `tf` for ours. The owner role owns everything and runs
DDL (the controller and the mover); the web role reads and writes rows and can do nothing else. Passwords are set as
SCRAM verifiers, which we compute: the server and its log never see the password itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass

SUPERUSER = "postgres"
ITERATIONS = 4096
SALT_BYTES = 16
SEARCH_PATH = "public, tf"
_RIGHTS = "SELECT, INSERT, UPDATE, DELETE"


@dataclass(frozen=True)
class Names:
    """The database of a service and its roles; `web` is `owner` where no second role can be made."""

    database: str
    owner: str
    web: str


@dataclass(frozen=True)
class Step:
    """One statement; it is not run when `unless` is a query that finds a row."""

    do: str
    unless: str = ""


def names_of(service: str) -> Names:
    """The names that a supervised server uses for a service."""
    base = service.replace("-", "_")
    return Names(base, f"{base}_owner", f"{base}_web")


def names_at(database: str, user: str, *, two_roles: bool) -> Names:
    """The names at a server of the user's: `user` is the owner; the web role is another one where one can be made.

    It is named after the database, because roles belong to the whole server and deployments may share one.
    """
    base = re.sub(r"\W", "_", database, flags=re.ASCII)[:59]
    return Names(database, user, f"{base}_web" if two_roles else user)


def scram_verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """What PostgreSQL stores for a password of visible ASCII (RFC 5802, SCRAM-SHA-256)."""
    assert password.isascii(), "other passwords need SASLprep; ours are hexadecimal"
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(_mac(salted, b"Client Key")).digest()
    server = _mac(salted, b"Server Key")
    return f"SCRAM-SHA-256${iterations}:{_base64(salt)}${_base64(stored)}:{_base64(server)}"


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def identifier(name: str) -> str:
    """The name as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def shown(name: str) -> str:
    """The name as a person types it into psql: quoted only when it must be."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else identifier(name)


def literal(text: str) -> str:
    """The text as a SQL literal (with standard_conforming_strings, the default since 9.1)."""
    return "'" + text.replace("'", "''") + "'"


def role_steps(role: str, verifier: str) -> list[Step]:
    """Makes a role that can log in and nothing else, and sets its password."""
    known = f"SELECT 1 FROM pg_roles WHERE rolname = {literal(role)}"  # noqa: S608 - quoted by us
    return [
        Step(f"CREATE ROLE {identifier(role)} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION", known),
        Step(f"ALTER ROLE {identifier(role)} LOGIN PASSWORD {literal(verifier)}"),
    ]


def search_path_step(role: str, database: str) -> Step:
    """Where a role finds tables that are named without a schema. Only the role itself, or who made it, may say so."""
    return Step(f"ALTER ROLE {identifier(role)} IN DATABASE {identifier(database)} SET search_path = {SEARCH_PATH}")


def server_steps(names: Names, owner_verifier: str, web_verifier: str) -> list[Step]:
    """What the superuser does on a server of ours, in the database `postgres`: roles, the database, who may connect.

    The database sorts and compares text by its bytes, as SQLite does.
    """
    database = identifier(names.database)
    known = f"SELECT 1 FROM pg_database WHERE datname = {literal(names.database)}"  # noqa: S608 - quoted by us
    return [
        *role_steps(names.owner, owner_verifier),
        *role_steps(names.web, web_verifier),
        Step(
            f"CREATE DATABASE {database} OWNER {identifier(names.owner)} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'",
            known,
        ),
        Step(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC"),
        Step("REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC"),
        Step(f"GRANT CONNECT ON DATABASE {database} TO {identifier(names.web)}"),
        search_path_step(names.web, names.database),
    ]


def layout_steps(names: Names) -> list[Step]:
    """What the owner does in the service's database: schemas, and what the web role may do there."""
    database, web = identifier(names.database), identifier(names.web)
    steps = [
        Step("CREATE SCHEMA tf", "SELECT 1 FROM pg_namespace WHERE nspname = 'tf'"),
        search_path_step(names.owner, names.database),
    ]
    if names.web == names.owner:
        return steps
    return [
        *steps,
        Step("REVOKE ALL ON SCHEMA public, tf FROM PUBLIC"),
        Step(f"GRANT CONNECT ON DATABASE {database} TO {web}"),
        Step(f"GRANT USAGE ON SCHEMA public, tf TO {web}"),
        *(
            Step(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT {_RIGHTS} ON TABLES TO {web}")
            for schema in ("public", "tf")
        ),
        Step(_grant_on_own_tables(names)),
    ]


def _grant_on_own_tables(names: Names) -> str:
    """Not `ALL TABLES`: on a server of the user's, extensions keep views in `public` that are not ours to give."""
    return f"""DO $tf$ DECLARE one record; BEGIN
FOR one IN SELECT c.oid::regclass AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname IN ('public', 'tf') AND c.relkind IN ('r', 'p') AND c.relowner = current_user::regrole
LOOP EXECUTE format('GRANT {_RIGHTS} ON TABLE %s TO %I', one.name, {literal(names.web)}); END LOOP; END $tf$"""  # noqa: S608 - quoted by us
