"""Versions of exposures: calibration, quality relative to the season, history, overrules."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MEASURES = ("light", "saturated", "exptime", "residual", "sources", "banding")
TEXTS = {"samp_seq": 16, "target": 64, "inputs": 64, "due": 100}
CALIBRATION = {
    "flatcorr": 16,
    "pflt": 64,
    "dflt": 64,
    "lflt": 64,
    "cal_ver": 64,
    "cal_date": 64,
    "flats": 200,
}


def text(name: str, length: int, default: str = "") -> sa.Column:
    """Return a column of text that is never NULL."""
    return sa.Column(name, sa.String(length), nullable=False, server_default=default)


def upgrade() -> None:
    """Add the columns and tables."""
    with op.batch_alter_table("exposures") as batch:
        for name, length in (TEXTS | CALIBRATION).items():
            batch.add_column(text(name, length))
        batch.add_column(text("product", 8, "flt"))
        for name in MEASURES:
            batch.add_column(sa.Column(name, sa.Double(), nullable=True))
        batch.create_index(batch.f("ix_exposures_due"), ["due"], unique=False)
    # Not in a batch, which would copy the table: other tables refer to its rows.
    op.add_column("blobs", sa.Column("unannounced", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "exposure_history",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("exposure_id", sa.Integer(), nullable=False),
        sa.Column("rootname", sa.String(64), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("md5", sa.String(32), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("probabilities", sa.Text(), nullable=False),
        sa.Column("found", sa.Text(), nullable=False),
        sa.Column("judged_at", sa.String(32), nullable=False),
        sa.Column("replaced_at", sa.String(32), nullable=False),
        sa.Column("why", sa.String(100), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        *(text(name, length) for name, length in CALIBRATION.items()),
        sa.ForeignKeyConstraint(["exposure_id"], ["exposures.id"]),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_exposure_history_exposure_id", "exposure_history", ["exposure_id"], unique=False)
    op.create_table(
        "overrules",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("rootname", sa.String(64), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("who", sa.String(200), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("written", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_overrules_rootname", "overrules", ["rootname"], unique=False)


def downgrade() -> None:
    """Remove the columns and tables."""
    op.drop_table("overrules")
    op.drop_table("exposure_history")
    with op.batch_alter_table("blobs") as batch:
        batch.drop_column("unannounced")
    with op.batch_alter_table("exposures") as batch:
        batch.drop_index(batch.f("ix_exposures_due"))
        for name in (*TEXTS, *CALIBRATION, "product", *MEASURES):
            batch.drop_column(name)
