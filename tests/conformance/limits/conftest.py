"""Every test of this folder runs on every database."""

from __future__ import annotations

from pathlib import Path

import pytest
from blocks_lab import PARAMETERS, Opener
from blocks_lab import opener as make


@pytest.fixture(params=PARAMETERS)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens one database as often as a test has processes."""
    return make(request.param, tmp_path)
