"""The API as a process: its parts put together, served, and ended in order."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from types import FrameType

import click
from confluent_kafka import KafkaException
from sqlalchemy.exc import SQLAlchemyError

from system.adapters.kafka import KafkaPublisher, ensure_topics
from system.adapters.postgres import connect
from system.api.app import Api, create_app
from system.api.server import HttpServer
from system.garbage import collect_seldom
from system.outbox import Outbox, OutboxError
from system.settings import Settings

log = logging.getLogger(__name__)

# The outbox's thread holds its lock on one connection and works on another.
_OUTBOX_CONNECTIONS = 2
_TOPICS_TIMEOUT_SECONDS = 2.0
_WATCH_SECONDS = 1.0
_JOIN_SECONDS = 2.0
# Of the time to stop in, how much goes to answering requests; the rest goes to handing messages to Kafka.
_SHARE_OF_REQUESTS = 0.6


def serve(settings: Settings) -> None:
    """Serve the REST API until SIGTERM or SIGINT. Neither the database nor Kafka need be there when it starts."""
    log.info("Starting API Service")
    pool_size = max(1, settings.database_pool_size - _OUTBOX_CONNECTIONS)
    engine = connect(settings.database_url, pool_size=pool_size, application_name="plumbline-api", autocommit=True)
    outbox_engine = connect(
        settings.database_url, pool_size=_OUTBOX_CONNECTIONS, application_name="plumbline-api-outbox", by_key=True
    )
    publisher = KafkaPublisher(
        settings.kafka_brokers, client_id="plumbline-api", max_message_bytes=settings.kafka_max_message_bytes
    )
    outbox = Outbox(outbox_engine, publisher, takeover_ms=settings.outbox_takeover_ms)
    api = create_app(settings, engine, outbox)
    server = _listen(settings, api)

    def asked_to_stop(number: int, _: FrameType | None) -> None:
        log.info("%s: ending what has begun", signal.Signals(number).name)
        server.stop()

    signal.signal(signal.SIGTERM, asked_to_stop)
    signal.signal(signal.SIGINT, asked_to_stop)
    stop = threading.Event()
    background = outbox.run_in_background(stop)
    threading.Thread(target=_watch, args=(background, server, stop), name="watch", daemon=True).start()
    threading.Thread(target=_create_topics, args=(settings, stop), name="topics", daemon=True).start()
    collect_seldom()
    log.info("API listening on http://%s:%d", settings.api_host, server.port)
    server.run(settings.shutdown_timeout_seconds * _SHARE_OF_REQUESTS)
    failed = not background.is_alive()
    api.prober.close()
    if unsent := publisher.flush(settings.shutdown_timeout_seconds * (1 - _SHARE_OF_REQUESTS)):
        log.warning("%d messages are not with Kafka yet; they stay in the outbox for whoever comes next", unsent)
    stop.set()
    background.join(_JOIN_SECONDS)
    _release(outbox)
    engine.dispose()
    outbox_engine.dispose()
    log.info("API stopped")
    if failed:
        sys.exit(1)


def _listen(settings: Settings, api: Api) -> HttpServer:
    try:
        return HttpServer(
            api.app,
            host=settings.api_host,
            port=settings.api_port,
            threads=settings.api_threads,
            max_body_bytes=settings.api_max_body_bytes,
        )
    except (OSError, ValueError) as error:
        click.echo(
            f"cannot listen on {settings.api_host}:{settings.api_port}: {error}; "
            "end whoever listens there, or set API_HOST and API_PORT",
            err=True,
        )
        sys.exit(2)


def _release(outbox: Outbox) -> None:
    try:
        outbox.settle()
    except (SQLAlchemyError, OutboxError) as error:
        log.warning("sent messages stay in the outbox, and will be sent once more: %s", error)
    outbox.release()


def _watch(background: threading.Thread, server: HttpServer, stop: threading.Event) -> None:
    """Without the outbox's thread runs would be accepted and never published: the process must end and start anew."""
    while not stop.wait(_WATCH_SECONDS):
        if not background.is_alive():
            log.error("the thread of the outbox has died; the API stops, so that it is started anew")
            server.stop()
            return


def _create_topics(settings: Settings, stop: threading.Event) -> None:
    topics = (settings.kafka_execution_topic, settings.kafka_cancellation_topic)
    told = False
    while not stop.is_set():
        try:
            ensure_topics(
                settings.kafka_brokers,
                topics,
                partitions=settings.kafka_partitions,
                timeout_seconds=_TOPICS_TIMEOUT_SECONDS,
            )
            return
        except KafkaException as error:
            if not told:
                log.warning("the topics cannot be looked after until Kafka answers: %s", error.args[0].str())
                told = True
            stop.wait(_WATCH_SECONDS)
