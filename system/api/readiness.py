"""What has to answer for requests to be carried out: the database, with its tables, and Kafka."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from system.api.database import Database

OK = "ok"
_KAFKA_TIMEOUT_SECONDS = 1.5

Check = Callable[[], str]
"""Says `OK`, or why not."""


def database_check(database: Database) -> Check:
    """Ask the database whether it has the tables."""

    def ask(connection: Connection) -> str:
        connection.execute(text("SET statement_timeout = '2s'"))
        try:
            found = connection.execute(text("SELECT to_regclass('workflow_runs') IS NOT NULL")).scalar_one()
        finally:
            connection.execute(text("RESET statement_timeout"))
        return OK if found else "the database lacks the tables; run: alembic upgrade head"

    def check() -> str:
        try:
            return database.read(ask)
        except SQLAlchemyError as error:
            cause = str(getattr(error, "orig", None) or type(error).__name__).strip().splitlines()
            return f"the database does not answer: {cause[0] if cause else type(error).__name__}"

    return check


def kafka_check(brokers: str) -> Check:
    """Ask Kafka for its brokers."""
    client = AdminClient({"bootstrap.servers": brokers, "log_level": 0, "reconnect.backoff.max.ms": 1000})

    def check() -> str:
        try:
            client.list_topics(timeout=_KAFKA_TIMEOUT_SECONDS)
        except KafkaException as error:
            return f"Kafka does not answer at {brokers}: {error.args[0].str()}"
        return OK

    return check
