"""the keys of a run are found by it"""

from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index('ix_execution_keys_run_id', 'execution_keys', ['run_id'])


def downgrade() -> None:
    op.drop_index('ix_execution_keys_run_id', table_name='execution_keys')
