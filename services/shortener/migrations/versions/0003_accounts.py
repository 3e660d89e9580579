"""accounts"""

import sqlalchemy as sa
from alembic import op

import tenfold

revision = "0003"
down_revision = "0002"
kind = "expand"

BUCKET = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Accounts, their API keys, and the owners that are gone."""
    op.create_table(
        "accounts",
        sa.Column("name", tenfold.Text(32), nullable=False),
        sa.Column("id", tenfold.Text(22), nullable=False),
        sa.Column("password", tenfold.Text(200), nullable=False),
        sa.Column("created", tenfold.UtcDateTime(), nullable=False),
        sa.Column("tf_bucket", BUCKET, nullable=False),
        sa.CheckConstraint('length("name") <= 32', name="ck_accounts_name"),
        sa.CheckConstraint('length("id") <= 22', name="ck_accounts_id"),
        sa.CheckConstraint('length("password") <= 200', name="ck_accounts_password"),
        sa.CheckConstraint("tf_bucket BETWEEN 0 AND 4095", name="ck_accounts_tf_bucket"),
        sa.PrimaryKeyConstraint("name"),
        sqlite_strict=True,
    )
    op.create_table(
        "api_keys",
        sa.Column("owner", tenfold.Text(22), nullable=False),
        sa.Column("id", tenfold.Text(12), nullable=False),
        sa.Column("hash", tenfold.Text(64), nullable=False),
        sa.Column("label", tenfold.Text(60), nullable=False),
        sa.Column("rights", tenfold.Text(60), nullable=False),
        sa.Column("name", tenfold.Text(32), nullable=False),
        sa.Column("created", tenfold.UtcDateTime(), nullable=False),
        sa.Column("used", tenfold.UtcDateTime()),
        sa.Column("tf_bucket", BUCKET, nullable=False),
        sa.CheckConstraint('length("owner") <= 22', name="ck_api_keys_owner"),
        sa.CheckConstraint('length("id") <= 12', name="ck_api_keys_id"),
        sa.CheckConstraint('length("hash") <= 64', name="ck_api_keys_hash"),
        sa.CheckConstraint('length("label") <= 60', name="ck_api_keys_label"),
        sa.CheckConstraint('length("rights") <= 60', name="ck_api_keys_rights"),
        sa.CheckConstraint('length("name") <= 32', name="ck_api_keys_name"),
        sa.CheckConstraint("tf_bucket BETWEEN 0 AND 4095", name="ck_api_keys_tf_bucket"),
        sa.PrimaryKeyConstraint("owner", "id"),
        sqlite_strict=True,
    )
    op.create_table(
        "gone_owners",
        sa.Column("owner", tenfold.Text(22), nullable=False),
        sa.Column("since", tenfold.UtcDateTime(), nullable=False),
        sa.Column("tf_bucket", BUCKET, nullable=False),
        sa.CheckConstraint('length("owner") <= 22', name="ck_gone_owners_owner"),
        sa.CheckConstraint("tf_bucket BETWEEN 0 AND 4095", name="ck_gone_owners_tf_bucket"),
        sa.PrimaryKeyConstraint("owner"),
        sqlite_strict=True,
    )
