"""Roles, database, schemas and grants as SQL; passwords as verifiers."""

from __future__ import annotations

import pytest

from tenfold.engines.postgres.roles import (
    Names,
    identifier,
    layout_steps,
    literal,
    names_at,
    names_of,
    role_steps,
    scram_verifier,
    server_steps,
    shown,
)

NAMES = names_of("my-shop")


def test_names_follow_from_the_service() -> None:
    assert names_of("my-shop") == Names("my_shop", "my_shop_owner", "my_shop_web")


@pytest.mark.parametrize(
    ("database", "web"),
    [("shop", "shop_web"), ("Shop-1", "Shop_1_web"), ("a" * 63, "a" * 59 + "_web"), ("$tf$'; --", "_tf_______web")],
)
def test_at_a_server_of_the_users_the_web_role_is_named_after_the_database(database: str, web: str) -> None:
    assert names_at(database, "me", two_roles=True) == Names(database, "me", web)
    assert names_at(database, "me", two_roles=False) == Names(database, "me", "me")
    assert len(web) <= 63


def test_a_verifier_is_the_one_of_the_rfc() -> None:
    """RFC 7677, section 3: the same password, salt and iterations."""
    salt = bytes.fromhex("5b6d99689d12358eeca04b141236fa81")
    verifier = scram_verifier("pencil", salt)
    assert verifier.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    assert verifier.endswith(
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_every_statement_can_be_run_again() -> None:
    for step in server_steps(NAMES, "V1", "V2") + layout_steps(NAMES):
        assert not step.do.startswith("CREATE") or step.unless, step


def test_verifiers_stand_in_two_statements_and_no_password_anywhere() -> None:
    steps = server_steps(NAMES, "SCRAM-OWNER", "SCRAM-WEB")
    holding = [step.do for step in steps if "SCRAM" in step.do]
    assert holding == [
        "ALTER ROLE \"my_shop_owner\" LOGIN PASSWORD 'SCRAM-OWNER'",
        "ALTER ROLE \"my_shop_web\" LOGIN PASSWORD 'SCRAM-WEB'",
    ]


def test_no_role_may_make_roles_databases_or_copies() -> None:
    for step in role_steps("r", "V"):
        if step.do.startswith("CREATE ROLE"):
            assert step.do == 'CREATE ROLE "r" NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION'


def test_the_web_role_gets_rows_and_nothing_else() -> None:
    grants = [step.do for step in server_steps(NAMES, "1", "2") + layout_steps(NAMES) if "my_shop_web" in step.do]
    text = "\n".join(grants)
    for word in ("TRUNCATE", "CREATE ON", "ALL ON", "REFERENCES", "TRIGGER", "TEMP"):
        assert word not in text
    assert "GRANT USAGE ON SCHEMA public, tf" in text
    assert text.count("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE") == 3  # in two defaults, and on what is there


def test_with_one_role_there_is_nothing_to_grant() -> None:
    one = names_at("d", "me", two_roles=False)
    assert not any("GRANT" in step.do or "REVOKE" in step.do for step in layout_steps(one))


@pytest.mark.parametrize(
    ("name", "quoted", "typed"),
    [("shop", '"shop"', "shop"), ("My Shop", '"My Shop"', '"My Shop"'), ('a"b', '"a""b"', '"a""b"')],
)
def test_names_are_quoted(name: str, quoted: str, typed: str) -> None:
    assert identifier(name) == quoted
    assert shown(name) == typed


def test_text_is_quoted() -> None:
    assert literal("it's") == "'it''s'"
    assert "O''Neill" in role_steps("O'Neill", "V")[0].unless
