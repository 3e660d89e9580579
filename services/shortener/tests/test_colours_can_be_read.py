"""Contrast of text and edges in both colour schemes (WCAG 2.2: 4.5 for text, 3 for the edges of controls)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import shortener

SHEET = (Path(shortener.__file__).parent / "static" / "style.css").read_text()
LIGHT, DARK = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", part)) for part in SHEET.split("@media", 2)[:2])

TEXT = [(ink, ground) for ink in ("ink", "soft", "accent", "accent-strong") for ground in ("ground", "card")] + [
    ("accent", "tint"),
    ("soft", "tint"),
    ("wrong", "card"),
    ("wrong", "wrong-tint"),
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
    ("on-wrong", "wrong"),
    ("ink", "tint"),
]
EDGES = [("edge", "card"), ("accent", "card"), ("wrong", "card"), ("bar", "card"), ("edge", "ground")]


def luminance(colour: str) -> float:
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("pair", "least"), [(pair, 4.5) for pair in TEXT] + [(pair, 3.0) for pair in EDGES])
def test_contrast(scheme: dict[str, str], pair: tuple[str, str], least: float):
    assert contrast(scheme[pair[0]], scheme[pair[1]]) >= least


def test_the_measure_itself():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
