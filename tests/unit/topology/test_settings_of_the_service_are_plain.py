"""`[settings]` is the service's own: free names, plain values, within bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tenfold.core.errors import SpecError
from tenfold.topology.spec import SETTINGS_MAX, parse_spec

SERVICE = '[service]\nname = "shop"\napp = "shop.app:app"\n'


def refusal(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    assert caught.value.hint
    return caught.value.message.removeprefix("tenfold.toml: ")


GOOD_SETTINGS: dict[str, Any] = {
    "redirect_status": 302,
    "on": True,
    "off": False,
    "share": 0.5,
    "name": "grüße",
    "empty": "",
    "Dash-ed_1": -1,
    "most": 2**63 - 1,
    "least": -(2**63),
    "long": "x" * 10_000,
    "real": 1.0,
}
BAD_SETTINGS = ["[1]", "{a = 1}", "nan", "-inf", str(2**63), "2026-01-01", "12:00:00", '"' + "x" * 10_001 + '"']


def test_settings_keep_their_values_and_types() -> None:
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in GOOD_SETTINGS.items())
    found = parse_spec(f"{SERVICE}[settings]\n{lines}").settings
    assert found == GOOD_SETTINGS
    assert [type(value) for value in found.values()] == [type(value) for value in GOOD_SETTINGS.values()]


@pytest.mark.parametrize("value", BAD_SETTINGS, ids=lambda value: value[:20])
def test_a_setting_is_a_plain_value(value: str) -> None:
    message = refusal(f"{SERVICE}[settings]\nlimit = {value}\n")
    assert message.startswith("settings.limit: found ")
    assert message.endswith(
        "; allowed: a text of at most 10000 characters, a number of at most 64 bits, or true/false."
    )


@pytest.mark.parametrize("name", ["", "a b", "1a", "a.b", "ä", "x" * 65, "a\\n"])
def test_a_setting_has_a_plain_name(name: str) -> None:
    assert refusal(f'{SERVICE}[settings]\n"{name}" = 1\n').startswith('settings: found the key "')


def test_settings_are_bounded() -> None:
    lines = "".join(f"s{number} = 1\n" for number in range(SETTINGS_MAX + 1))
    assert refusal(f"{SERVICE}[settings]\n{lines}") == "settings: found 1001 keys; allowed: at most 1000."
