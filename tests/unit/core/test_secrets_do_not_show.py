"""The wrapper shows itself nowhere, and the filter masks what arrives as plain text."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle
from typing import Any

import msgspec
import pytest

from tenfold.core.redact import MASK, Secret, redact

HIDDEN = "hunter2"
SECRET = Secret(HIDDEN)


@pytest.mark.parametrize(
    "shown",
    [
        str(SECRET),
        repr(SECRET),
        f"{SECRET}",
        f"{SECRET!r:>40}",
        "%s %r" % (SECRET, SECRET),  # noqa: UP031 - as logging does it
        repr([SECRET]),
        repr({"a": SECRET}),
        logging.makeLogRecord({"msg": "as %s", "args": (SECRET,)}).getMessage(),
    ],
)
def test_no_way_of_printing_shows_it(shown: str) -> None:
    assert HIDDEN not in shown
    assert MASK in shown


def test_only_reveal_gives_it_away() -> None:
    assert SECRET.reveal() == HIDDEN


@pytest.mark.parametrize("leak", [json.dumps, msgspec.json.encode, "".join, pickle.dumps, copy.deepcopy])
def test_what_wants_a_text_gets_an_error_instead(leak: Any) -> None:
    with pytest.raises(TypeError) as caught:
        leak([SECRET])
    assert HIDDEN not in str(caught.value)


def test_it_compares_and_counts_like_its_text() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("ü") == Secret("ü")
    assert not Secret("")
    assert Secret("x")


NAMES = [
    *("password", "PASSWORD", "db_passwd", "passphrase", "client_secret", "token", "csrf_token", "credentials"),
    *("Cookie", "Set-Cookie", "Authorization", "api_key", "api-key", "apikey", "private_key", "signing-key", "dsn"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_sounds_like_a_secret_hides_its_value(name: str) -> None:
    assert redact({name: HIDDEN, "plain": 1}) == {name: MASK, "plain": 1}
    assert redact({name: {"deep": HIDDEN}}) == {name: MASK}


@pytest.mark.parametrize("name", ["key", "keys", "passenger", "monkey", "path", "compass", "author"])
def test_an_innocent_name_hides_nothing(name: str) -> None:
    assert redact({name: "value"}) == {name: "value"}


def test_a_missing_secret_is_seen_to_be_missing() -> None:
    assert redact({"password": None}) == {"password": None}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql://app:hunter2@db:5432/x", "postgresql://app:***@db:5432/x"),
        ("redis://:hunter2@cache", "redis://:***@cache"),
        ("failed: amqp://u:hunter2@h/ and http://v:hunter2@i", "failed: amqp://u:***@h/ and http://v:***@i"),
        ("https://example.com:8000/a@b", "https://example.com:8000/a@b"),
        ("Authorization: Bearer hunter2.x-y", "Authorization: Bearer ***"),
        ("basic aHVudGVyMg==", "basic ***"),
        ("nothing to see", "nothing to see"),
    ],
)
def test_passwords_inside_texts_are_masked(text: str, clean: str) -> None:
    assert redact(text) == clean


@dataclasses.dataclass
class Point:
    password: str
    x: int


class Shape(msgspec.Struct):
    secret: str
    points: tuple[Point, ...]


def test_everything_nested_is_reached_and_the_result_is_plain() -> None:
    found = redact({"a": [Shape(HIDDEN, (Point(HIDDEN, 1),)), {SECRET}], 5: ({"token": HIDDEN}, b"abc"), SECRET: 1})
    assert found == {
        "a": [{"secret": MASK, "points": [{"password": MASK, "x": 1}]}, [MASK]],
        "5": [{"token": MASK}, "<3 bytes>"],
        MASK: 1,
    }
    assert HIDDEN not in json.dumps(found)


def test_scalars_pass_and_strange_things_become_text() -> None:
    assert redact([None, True, 1, 1.5]) == [None, True, 1, 1.5]
    assert redact(Point) == str(Point)
    assert redact(ValueError("at x://u:hunter2@h")) == "at x://u:***@h"
