from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Column, Computed, ForeignKey, Identity, Index, MetaData, Table, UniqueConstraint
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.schema import CreateTable

from tenfold.blocks.database import Database, home, home_of, replicated, sharded_by
from tenfold.blocks.database.tables import check
from tenfold.blocks.database.types import Bool, Bytes, Choice, Decimal, Float, Int64, Json, Text, Uuid
from tenfold.core.errors import ContractError


def key() -> Column[Any]:
    return Column("k", Text(10), primary_key=True)


def parent(database: Database, where: Any = None) -> Table:
    return database.table("parent", key(), Column("v", Int64(), unique=where is None), home=where or home())


BY_K = sharded_by("k")
BROKEN: list[tuple[str, str, list[Any], Any]] = [
    ("TF-TABLE-1", r"type String\(\), which is not portable.*Text, Int64", [key(), Column("x", sa.String())], home()),
    ("TF-TABLE-1", "not portable", [key(), Column("x", sa.DateTime(timezone=True))], home()),
    ("TF-TABLE-2", "'id' is AUTOINCREMENT.*tf.ids", [Column("id", Int64(), autoincrement=True)], home()),
    ("TF-TABLE-2", "is computed", [key(), Column("x", Int64(), Computed("1"))], home()),
    ("TF-TABLE-2", "is computed", [Column("x", Int64(), Identity(), primary_key=True)], home()),
    ("TF-TABLE-3", "has no primary key", [Column("x", Int64())], home()),
    ("TF-TABLE-4", "tf_bucket is ours", [key(), Column("tf_bucket", Int64())], home()),
    ("TF-TABLE-4", "another name in Python", [key(), Column("x", Int64(), key="y")], home()),
    ("TF-TABLE-5", r"UNIQUE\(x\) does not contain the key 'k'", [key(), Column("x", Int64(), unique=True)], BY_K),
    ("TF-TABLE-5", "UNIQUE", [key(), Column("x", Int64()), UniqueConstraint("x")], BY_K),
    ("TF-TABLE-5", "UNIQUE", [key(), Column("x", Int64()), Index("i", "x", unique=True)], BY_K),
    ("TF-TABLE-6", r"would cross shards \(sharded_by\('k'\) to home\(\)", [Column("k", Text(10), ForeignKey("parent.k"),
        primary_key=True)], BY_K),
    ("TF-TABLE-6", r"replicated\(\) to home", [Column("k", Text(10), ForeignKey("parent.k"),
        primary_key=True)], replicated()),
    ("TF-TABLE-6", "not declared", [key(), Column("x", Int64(), ForeignKey("later.id"))], home()),
    ("TF-TABLE-7", "deferrable", [key(), Column("x", Text(10), ForeignKey("parent.k", deferrable=True))], home()),
    ("TF-TABLE-7", "at COMMIT", [key(), Column("x", Text(10), ForeignKey("parent.k", initially="DEFERRED"))], home()),
    ("TF-TABLE-8", "'nope' does not exist", [key()], sharded_by("nope")),
    ("TF-TABLE-8", "A key is Text, Int64 or Uuid", [Column("k", Float(), primary_key=True)], BY_K),
    ("TF-TABLE-8", "has an onupdate", [Column("k", Text(9), primary_key=True, onupdate="x")], BY_K),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "message", "columns", "where"), BROKEN, ids=[f"{row[0]} {at}" for at, row in enumerate(BROKEN)]
)
def test_a_broken_rule_is_named(code: str, message: str, columns: list[Any], where: Any) -> None:
    database = Database(MetaData())
    parent(database)
    with pytest.raises(ContractError, match=rf"{code}: Table 'child': .*{message}") as caught:
        database.table("child", *columns, home=where)
    assert caught.value.hint
    assert "child" not in database.metadata.tables


@pytest.mark.parametrize("name", ["Links", "tf_links", "1st", "", "a" * 52, "with space", "naïve"])
def test_names_are_plain(name: str) -> None:
    with pytest.raises(ContractError, match=r"TF-TABLE-4: .*the name is not allowed"):
        Database(MetaData()).table(name, key(), home=home())


def test_a_table_is_declared_once() -> None:
    database = Database(MetaData())
    parent(database)
    with pytest.raises(ContractError, match=r"TF-TABLE-4: .*declared twice"):
        parent(database)


@pytest.mark.parametrize(
    "make",
    [lambda: Text(0), lambda: Text("9"), lambda: Text(10**9), lambda: Bytes(0), lambda: Decimal(19, 2),
     lambda: Decimal(5, 6),      Choice, lambda: Choice(1), lambda: Choice(""), lambda: Json(0)],
)  # fmt: skip
def test_types_have_bounds(make: Any) -> None:
    with pytest.raises(ContractError, match="TF-TABLE-1"):
        make()


def test_references_that_stay_together_are_allowed() -> None:
    for there, here in ((home(), home()), (replicated(), BY_K), (sharded_by("k"), sharded_by("k"))):
        database = Database(MetaData())
        parent(database, there)
        child = database.table("child", Column("k", Text(10), ForeignKey("parent.k"), primary_key=True), home=here)
        assert home_of(child) == here


def test_a_sharded_table_gets_a_checked_bucket_and_is_strict() -> None:
    table = Database(MetaData()).table(
        "links", Column("code", Text(16)), Column("id", Uuid(), primary_key=True), Column("on", Bool()),
        home=sharded_by("code"),
    )  # fmt: skip
    ddl = str(CreateTable(table).compile(dialect=SQLiteDialect_pysqlite()))
    assert "tf_bucket INTEGER NOT NULL" in ddl
    assert "CHECK (tf_bucket BETWEEN 0 AND 4095)" in ddl
    assert 'CHECK (length("code") <= 16)' in ddl
    assert "code TEXT NOT NULL" in ddl
    assert ddl.rstrip().endswith("STRICT")


def test_a_plain_sqlalchemy_table_stays_at_home_under_the_same_rules() -> None:
    metadata = MetaData()
    assert home_of(Table("plain", metadata, Column("id", Int64(), primary_key=True))) == home()
    check(metadata.tables["plain"])
    with pytest.raises(ContractError, match="TF-TABLE-1"):
        check(Table("foreign", metadata, Column("id", sa.Integer(), primary_key=True)))
    assert str(home()) == "home()"
    assert str(sharded_by("x")) == "sharded_by('x')"
