"""visits"""

import sqlalchemy as sa
from alembic import op

import tenfold

revision = "0005"
down_revision = "0004"
kind = "expand"

BUCKET = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Visits of a link by day, and of all times; reports of abuse."""
    op.create_table(
        "visit_days",
        sa.Column("code", tenfold.Text(32), nullable=False),
        sa.Column("day", tenfold.Text(10), nullable=False),
        sa.Column("kind", tenfold.Text(4), nullable=False),
        sa.Column("value", tenfold.Text(100), nullable=False),
        sa.Column("count", tenfold.Int64(), nullable=False),
        sa.Column("tf_bucket", BUCKET, nullable=False),
        sa.CheckConstraint('length("code") <= 32', name="ck_visit_days_code"),
        sa.CheckConstraint('length("day") <= 10', name="ck_visit_days_day"),
        sa.CheckConstraint('length("kind") <= 4', name="ck_visit_days_kind"),
        sa.CheckConstraint('length("value") <= 100', name="ck_visit_days_value"),
        sa.CheckConstraint("tf_bucket BETWEEN 0 AND 4095", name="ck_visit_days_tf_bucket"),
        sa.PrimaryKeyConstraint("code", "day", "kind", "value"),
        sqlite_strict=True,
    )
    op.create_table(
        "visit_totals",
        sa.Column("code", tenfold.Text(32), nullable=False),
        sa.Column("count", tenfold.Int64(), nullable=False),
        sa.Column("last", tenfold.UtcDateTime(), nullable=False),
        sa.Column("tf_bucket", BUCKET, nullable=False),
        sa.CheckConstraint('length("code") <= 32', name="ck_visit_totals_code"),
        sa.CheckConstraint("tf_bucket BETWEEN 0 AND 4095", name="ck_visit_totals_tf_bucket"),
        sa.PrimaryKeyConstraint("code"),
        sqlite_strict=True,
    )
    op.create_table(
        "reports",
        sa.Column("id", tenfold.Uuid(), nullable=False),
        sa.Column("code", tenfold.Text(32), nullable=False),
        sa.Column("reason", tenfold.Text(10), nullable=False),
        sa.Column("text", tenfold.Text(500), nullable=False),
        sa.Column("created", tenfold.UtcDateTime(), nullable=False),
        sa.CheckConstraint('length("code") <= 32', name="ck_reports_code"),
        sa.CheckConstraint('length("reason") <= 10', name="ck_reports_reason"),
        sa.CheckConstraint('length("text") <= 500', name="ck_reports_text"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
    )
