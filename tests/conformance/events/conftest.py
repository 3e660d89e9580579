"""Every test of this folder runs on every database."""

from __future__ import annotations

from pathlib import Path

import pytest
from databases import BACKENDS, PARAMETERS
from events_lab import Lab


@pytest.fixture(params=PARAMETERS)
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    return Lab(BACKENDS[request.param](), tmp_path)
