"""Every test of this folder runs on every database; those of the storage port on every store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from blocks_lab import PARAMETERS, Opener, opener

from tenfold.blocks.files import Store
from tenfold.blocks.files.local import LocalStore
from tenfold.core.randomness import SYSTEM_RANDOMNESS

STORES: dict[str, Callable[[Path], Store]] = {
    "local": lambda folder: LocalStore(folder / "files", SYSTEM_RANDOMNESS),
}
"""A new store adds a line."""


@pytest.fixture(params=PARAMETERS)
def open_database(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return opener(request.param, tmp_path)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return STORES[request.param](tmp_path)
