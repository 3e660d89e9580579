"""Every test of this folder runs on every backend."""

from __future__ import annotations

from pathlib import Path

import pytest
from blocks_lab import PARAMETERS, Opener, opener


@pytest.fixture(params=PARAMETERS)
def open_database(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return opener(request.param, tmp_path)
