"""Doing what was planned: Tenfold's own tables first, then the service's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from tenfold.blocks.database.schema import CURRENT_VERSION
from tenfold.control.migrations.facts import Difference, told
from tenfold.control.migrations.planning import Plan
from tenfold.control.migrations.revisions import Revisions
from tenfold.control.migrations.store import Store


def perform(plan: Plan, metadata: sa.MetaData, revisions: Revisions, store: Store, now_us: Callable[[], int]) -> None:
    """Applies `plan`. Each revision is one transaction; an error names the revision and those before it stay."""
    store.apply_own(now_us())
    assert store.own_version() >= CURRENT_VERSION, "our own schema is in place before the service's"
    if plan.stamp:
        revisions.stamp(store, list(plan.stamp), now_us())
    revisions.apply(store, plan.apply, now_us)
    if plan.create:
        _create(plan.create, metadata, revisions.component, store, now_us())


def _create(missing: Sequence[Difference], metadata: sa.MetaData, component: str, store: Store, now_us: int) -> None:
    digest = hashlib.sha256(told(list(missing), len(missing)).encode()).hexdigest()

    def create(connection: sa.Connection) -> None:
        metadata.create_all(connection)
        for table in metadata.sorted_tables:
            for index in table.indexes:
                index.create(connection, checkfirst=True)
        store.record(connection, component, f"tables-{digest[:12]}", "expand", now_us)

    store.transact(create)
