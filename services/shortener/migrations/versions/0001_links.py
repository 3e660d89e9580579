"""links"""

import sqlalchemy as sa
from alembic import op

import tenfold

revision = "0001"
down_revision = None
kind = "expand"


def upgrade() -> None:
    """The table of the links; `tf_bucket` is the hash slot by which Tenfold moves rows between shards."""
    op.create_table(
        "links",
        sa.Column("code", tenfold.Text(32), nullable=False),
        sa.Column("url", tenfold.Text(2048), nullable=False),
        sa.Column("created", tenfold.UtcDateTime(), nullable=False),
        sa.Column("expires", tenfold.UtcDateTime()),
        sa.Column("tf_bucket", sa.SmallInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.CheckConstraint('length("code") <= 32', name="ck_links_code"),
        sa.CheckConstraint('length("url") <= 2048', name="ck_links_url"),
        sa.CheckConstraint("tf_bucket BETWEEN 0 AND 4095", name="ck_links_tf_bucket"),
        sa.PrimaryKeyConstraint("code"),
        sqlite_strict=True,
    )
