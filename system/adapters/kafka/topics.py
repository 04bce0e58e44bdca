"""The topics that the system works with."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]


def ensure_topics(brokers: str, topics: Sequence[str], *, partitions: int, timeout_seconds: float) -> None:
    """Create the topics that are missing, with the broker's default replication.

    Raises:
        KafkaException: the broker cannot be reached, or refuses.
    """
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    present = admin.list_topics(timeout=timeout_seconds).topics
    wanted = [NewTopic(topic, num_partitions=partitions) for topic in topics if topic not in present]
    for future in admin.create_topics(wanted, operation_timeout=timeout_seconds).values() if wanted else ():
        try:
            future.result(timeout_seconds)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
