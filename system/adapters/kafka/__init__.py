"""Kafka behind the Publisher and Subscription ports, by librdkafka."""

from system.adapters.kafka.by_topic import ByTopic
from system.adapters.kafka.publisher import KafkaPublisher
from system.adapters.kafka.subscription import KafkaSubscription
from system.adapters.kafka.topics import ensure_topics

__all__ = ["ByTopic", "KafkaPublisher", "KafkaSubscription", "ensure_topics"]
