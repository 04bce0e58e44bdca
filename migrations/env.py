"""Alembic's entry: the database is the one that the system's settings name."""

from alembic import context
from sqlalchemy import create_engine, pool

from system.settings import Settings
from system.tables import metadata


def migrate() -> None:
    if context.is_offline_mode():
        context.configure(url=Settings.from_environment().database_url, target_metadata=metadata, literal_binds=True)
        with context.begin_transaction():
            context.run_migrations()
        return
    engine = create_engine(Settings.from_environment().database_url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        # Two that migrate at once take turns; the second finds nothing left to do.
        connection.exec_driver_sql("SELECT pg_advisory_lock(hashtext('plumbline-migrations'))")
        context.configure(
            connection=connection, target_metadata=metadata, compare_type=True, compare_server_default=True
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    engine.dispose()


migrate()
