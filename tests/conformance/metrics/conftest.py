"""Every test of this folder runs on every backend."""

from __future__ import annotations

import pytest
from databases import BACKENDS, PARAMETERS, Kit


@pytest.fixture(params=PARAMETERS)
def kit(request: pytest.FixtureRequest) -> Kit:
    return BACKENDS[request.param]()
