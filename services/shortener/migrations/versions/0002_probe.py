"""probe"""

import sqlalchemy as sa
from alembic import op

import tenfold

revision = "0002"
down_revision = "0001"
kind = "expand"


def upgrade() -> None:
    """The tables of the probe, on which `tenfold prove` works; the service itself does not use them."""
    table(
        "probe_set",
        sa.Column("key", tenfold.Text(64), nullable=False),
        sa.Column("element", tenfold.Text(64), nullable=False),
        sa.CheckConstraint('length("element") <= 64', name="ck_probe_set_element"),
        sa.PrimaryKeyConstraint("key", "element"),
    )
    table(
        "probe_register",
        sa.Column("key", tenfold.Text(64), nullable=False),
        sa.Column("value", tenfold.Text(64), nullable=False),
        sa.Column("version", tenfold.Int64(), nullable=False),
        sa.CheckConstraint('length("value") <= 64', name="ck_probe_register_value"),
        sa.PrimaryKeyConstraint("key"),
    )
    table(
        "probe_counter",
        sa.Column("key", tenfold.Text(64), nullable=False),
        sa.Column("count", tenfold.Int64(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    table(
        "probe_account",
        sa.Column("key", tenfold.Text(64), nullable=False),
        sa.Column("account", tenfold.Int64(), nullable=False),
        sa.Column("balance", tenfold.Int64(), nullable=False),
        sa.PrimaryKeyConstraint("key", "account"),
    )


def table(name: str, *items: sa.schema.SchemaItem) -> None:
    """A table whose rows live where their key says: `tf_bucket` is the hash slot of the key."""
    op.create_table(
        name,
        *items,
        sa.Column("tf_bucket", sa.SmallInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.CheckConstraint('length("key") <= 64', name=f"ck_{name}_key"),
        sa.CheckConstraint("tf_bucket BETWEEN 0 AND 4095", name=f"ck_{name}_tf_bucket"),
        sqlite_strict=True,
    )
