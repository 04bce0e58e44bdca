"""The execution consumer as a process."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading

from confluent_kafka import KafkaException
from tenacity import (
    RetryError,
    Retrying,
    before_sleep_log,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential,
)

from system.adapters.clock import SystemClock
from system.adapters.kafka import ByTopic, KafkaPublisher, KafkaSubscription, ensure_topics
from system.adapters.membership import join_group
from system.adapters.postgres import connect
from system.consumer.executor import Executor
from system.consumer.folding import Limits
from system.consumer.loop import ConsumerLoop, LoopSettings
from system.consumer.store import ConsumerStore
from system.dead_letters import topic_of
from system.garbage import collect_seldom
from system.heartbeat import Heartbeat
from system.outbox import Outbox
from system.ports import Publisher
from system.settings import Settings

log = logging.getLogger(__name__)

# Without the database there is nothing to do anyway; the slot is worth waiting for.
_DATABASE_PATIENCE_SECONDS = 60.0
# Half of all messages tell of what has happened already. No run waits for them, and together they cost Kafka a fraction.
_UPDATES_LINGER_MS = 5.0


def serve(settings: Settings) -> None:
    """Run one execution consumer until SIGTERM or SIGINT."""
    log.info("Starting Execution Consumer Service")
    stop = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stop.set())
    log.info("Initializing Kafka consumer")
    read = (settings.kafka_execution_topic, settings.kafka_cancellation_topic, settings.kafka_results_topic)
    if not _ensure_topics(settings, read, stop):
        log.info("Execution Consumer Service stopped before Kafka answered")
        return
    name = f"execution-consumer-{socket.gethostname()}-{os.getpid()}"
    engine = connect(settings.database_url, pool_size=4, application_name=name, by_key=True)
    publisher = _publisher(settings, name)
    heartbeat = Heartbeat(settings.heartbeat_file)

    def join(instance_id: str | None) -> KafkaSubscription:
        return KafkaSubscription(
            settings.kafka_brokers,
            group_id=settings.kafka_group_id,
            topics=read,
            client_id=name,
            session_timeout_ms=settings.kafka_session_timeout_ms,
            max_message_bytes=settings.kafka_max_message_bytes,
            instance_id=instance_id,
            on_polled=heartbeat.beat,
        )

    subscription = join_group(engine, settings.kafka_group_id, join, patience_seconds=_DATABASE_PATIENCE_SECONDS)
    log.info("Kafka consumer initialized successfully")
    outbox = Outbox(engine, publisher, takeover_ms=settings.outbox_takeover_ms)
    store = ConsumerStore(engine, outbox, runs_have_deadlines=settings.run_timeout_seconds > 0)
    clock = SystemClock()
    limits = Limits(
        settings.kafka_tasks_topic,
        settings.kafka_monitoring_topic,
        settings.kafka_max_message_bytes,
        settings.run_timeout_seconds,
    )
    executor = Executor(store, outbox, publisher, clock, limits, most_cached_runs=settings.consumer_cached_runs)
    loop_settings = LoopSettings(
        *read,
        batch_size=settings.consumer_batch_size,
        task_redelivery_seconds=settings.task_redelivery_seconds,
        shutdown_timeout_seconds=settings.shutdown_timeout_seconds,
    )
    loop = ConsumerLoop(subscription, publisher, engine, outbox, store, executor, clock, loop_settings)
    collect_seldom()
    log.info("Starting ExecutionConsumer main loop")
    loop.run(stop)
    engine.dispose()
    log.info("Execution Consumer Service stopped")


def _publisher(settings: Settings, client_id: str) -> Publisher:
    def one(linger_ms: float) -> KafkaPublisher:
        return KafkaPublisher(
            settings.kafka_brokers,
            client_id=client_id,
            max_message_bytes=settings.kafka_max_message_bytes,
            linger_ms=linger_ms,
        )

    return ByTopic(one(0.0), {settings.kafka_monitoring_topic: one(_UPDATES_LINGER_MS)})


def _ensure_topics(settings: Settings, read: tuple[str, ...], stop: threading.Event) -> bool:
    """Create what topics are missing, as soon as Kafka answers; False when told to stop before it did."""
    written = (settings.kafka_tasks_topic, settings.kafka_monitoring_topic)
    topics = (*read, *written, *(topic_of(topic) for topic in read))
    attempts = Retrying(
        retry=retry_if_exception_type(KafkaException),
        wait=wait_exponential(multiplier=0.2, max=5),
        stop=stop_when_event_set(stop),
        sleep=sleep_using_event(stop),
        before_sleep=before_sleep_log(log, logging.WARNING),
    )
    try:
        attempts(ensure_topics, settings.kafka_brokers, topics, partitions=settings.kafka_partitions, timeout_seconds=5)
    except RetryError:
        return False
    return True
