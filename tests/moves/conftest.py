"""One PostgreSQL server for the tests of this folder; each test has a database of its own in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from moving_rows import Cell, TinyServer, programs, quick_folder, tiny_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[TinyServer]:
    """A running server; the tests are reported as not run where PostgreSQL is missing."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed here (apt install postgresql)")
    with tiny_server() as server:
        yield server


@pytest.fixture
def make_cell(postgres: TinyServer) -> Iterator[Callable[[sa.MetaData], Cell]]:
    """Makes a deployment on step 1 with the tables of a metadata."""
    folder = quick_folder("tf-move-")

    def make(metadata: sa.MetaData) -> Cell:
        cell = Cell(folder, postgres, metadata)
        cell.make_file()
        return cell

    yield make
    shutil.rmtree(folder, ignore_errors=True)
