"""links of accounts"""

import sqlalchemy as sa
from alembic import op

import tenfold

revision = "0004"
down_revision = "0003"
kind = "expand"

BUCKET = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Owners, ends by visits, quarantine and deletion of links; the list of an owner's links."""
    add_text("owner", 22)
    op.add_column("links", sa.Column("max_visits", tenfold.Int64()))
    op.add_column("links", sa.Column("spent", tenfold.UtcDateTime()))
    op.add_column("links", sa.Column("quarantined", tenfold.UtcDateTime()))
    add_text("quarantine_reason", 500)
    op.add_column("links", sa.Column("deleted", tenfold.UtcDateTime()))
    op.create_table(
        "owned_links",
        sa.Column("owner", tenfold.Text(22), nullable=False),
        sa.Column("code", tenfold.Text(32), nullable=False),
        sa.Column("url", tenfold.Text(2048), nullable=False),
        sa.Column("created", tenfold.UtcDateTime(), nullable=False),
        sa.Column("expires", tenfold.UtcDateTime()),
        sa.Column("max_visits", tenfold.Int64()),
        sa.Column("spent", tenfold.UtcDateTime()),
        sa.Column("quarantined", tenfold.UtcDateTime()),
        sa.Column("tf_bucket", BUCKET, nullable=False),
        sa.CheckConstraint('length("owner") <= 22', name="ck_owned_links_owner"),
        sa.CheckConstraint('length("code") <= 32', name="ck_owned_links_code"),
        sa.CheckConstraint('length("url") <= 2048', name="ck_owned_links_url"),
        sa.CheckConstraint("tf_bucket BETWEEN 0 AND 4095", name="ck_owned_links_tf_bucket"),
        sa.PrimaryKeyConstraint("owner", "code"),
        sqlite_strict=True,
    )
    op.create_index("ix_owned_links_newest", "owned_links", ["owner", "created", "code"])


def add_text(name: str, length: int) -> None:
    """Adds a column with its CHECK in one statement: another way SQLite would copy the whole table."""
    kind = tenfold.Text(length).compile(op.get_bind().dialect)
    check = f'CONSTRAINT ck_links_{name} CHECK (length("{name}") <= {length})'
    op.execute(f"ALTER TABLE links ADD COLUMN {name} {kind} {check}")
