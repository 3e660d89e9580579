"""What the dashboard shows of logs and errors carries no secret: not by its value, by its name, or in an address."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenfold.core.secrets import Secrets
from tenfold.dashboard.redacting import Redactor


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets(tmp_path / "secrets")


def test_a_secret_of_the_deployment_is_masked_wherever_it_stands(secrets: Secrets) -> None:
    door, redactor = secrets.ensure("door"), Redactor(secrets.folder)
    for text in (f"x {door} y", f'"{door}"', f"a{door}b", f"{door}{door}"):
        assert door not in redactor.text(text)
    assert redactor.text("nothing to see") == "nothing to see"


def test_a_secret_that_is_made_later_is_known_at_once(secrets: Secrets) -> None:
    redactor = Redactor(secrets.folder)
    assert redactor.text("hello") == "hello"
    made = secrets.ensure("database-web")
    assert made not in redactor.text(f"login with {made}")


def test_every_key_of_a_ring_is_masked_and_its_times_are_not(secrets: Secrets) -> None:
    secrets.save("session-keys", f"1700000000 {'ab' * 32}\n1690000000 {'cd' * 32}")
    redactor = Redactor(secrets.folder)
    said = redactor.text(f"1700000000 {'cd' * 32} {'ab' * 32}")
    assert said == "1700000000 *** ***"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:hunter2@db/shop", "postgresql://me:***@db/shop"),
        ("authorization: Bearer abc.def", "authorization: *** ***"),
        ("password=hunter2 user=me", "password=*** user=me"),
        ('{"api_key": "hunter 2", "n": 1}', '{"api_key": ***, "n": 1}'),
        ("the token is old", "the token is old"),
        ("GET /links 200 3.2ms", "GET /links 200 3.2ms"),
    ],
)
def test_what_is_named_or_addressed_like_a_secret_is_masked(tmp_path: Path, text: str, shown: str) -> None:
    said = Redactor(tmp_path).text(text)
    assert "hunter" not in said
    assert "abc.def" not in said
    if "authorization" not in text:
        assert said == shown


def test_a_secret_in_the_facts_of_a_move_is_masked_however_deep(secrets: Secrets) -> None:
    door = secrets.ensure("door")
    move = {
        "id": "m-1",
        "reason": f"It said {door}.",
        "stages": [{"says": (door, "well")}],
        "held_ms": 1.5,
        "open": True,
    }
    told = Redactor(secrets.folder).facts(move)
    assert door not in str(told)
    assert told == {**move, "reason": "It said ***.", "stages": [{"says": ["***", "well"]}]}
    assert Redactor(secrets.folder).facts(None) is None
