"""The lab that the cache suite runs in, once for each backend."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cache_backends import BACKENDS
from cache_lab import Lab


@pytest.fixture(params=BACKENDS)
def lab(request: pytest.FixtureRequest) -> Callable[..., Lab]:
    return lambda **options: Lab(BACKENDS[request.param], **options)
