"""The bridge as a process: puts its parts together, runs them until a signal, and ends them in order."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import Any

import aiohttp
import uvloop
from confluent_kafka import KafkaException
from sqlalchemy import Engine
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from system import dead_letters
from system.adapters.kafka import KafkaPublisher, KafkaSubscription, ensure_topics
from system.adapters.membership import join_group
from system.adapters.postgres import connect
from system.bridge.calls import Caller
from system.bridge.dispatch import Dispatcher
from system.bridge.intake import Intake, Told
from system.bridge.redelivery import AppliedResults
from system.bridge.registry import DatabaseSource, Registry, RestSource, Source
from system.garbage import collect_seldom
from system.heartbeat import Heartbeat
from system.ports import Subscription
from system.settings import Settings

log = logging.getLogger(__name__)

_TOPICS_TIMEOUT_SECONDS = 4.0
# How long redelivered tasks wait for a database that is away: as long as it takes it to restart when agents are looked
# up there too, so that nothing could be called anyway; else hardly.
_PATIENCE_SECONDS = 30.0
_PATIENCE_WITHOUT_DATABASE_SECONDS = 3.0
# How long a start waits for a database that is away, to have its identity in the group from it.
_SLOT_PATIENCE_SECONDS = 3.0
# The parts of the shutdown time kept for Kafka after the calls have ended.
_FLUSH_SHARE = 0.15
_LEAVE_SHARE = 0.15


def serve(settings: Settings) -> None:
    """Run the bridge until SIGTERM or SIGINT; exits with 1 when a part of it broke."""
    log.info("Starting HTTP Bridge Service")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(_Bridge(settings).run())
    sys.exit(code)


class _Bridge:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopped = asyncio.Event()
        self._broken: BaseException | None = None

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unhandled)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        settings = self._settings
        engine = connect(settings.database_url, pool_size=3, application_name="workflow-http-bridge", by_key=True)
        publisher = KafkaPublisher(
            settings.kafka_brokers,
            client_id="workflow-http-bridge",
            max_message_bytes=settings.kafka_max_message_bytes,
        )
        async with (
            Caller(max_answer_bytes=settings.kafka_max_message_bytes) as caller,
            aiohttp.ClientSession() as session,
        ):
            source: Source = DatabaseSource(engine)
            if settings.agent_registry_url is not None:
                source = RestSource(settings.agent_registry_url, session)
            registry = Registry(source, cache_ms=settings.agent_registry_cache_ms, clock=loop.time)
            by_rest = settings.agent_registry_url is not None
            patience = _PATIENCE_WITHOUT_DATABASE_SECONDS if by_rest else _PATIENCE_SECONDS
            dispatcher = Dispatcher(
                publisher=publisher,
                lookup=registry,
                caller=caller,
                applied=AppliedResults(engine, patience_seconds=patience),
                results_topic=settings.kafka_results_topic,
                agent_concurrency=settings.bridge_agent_concurrency,
                max_message_bytes=settings.kafka_max_message_bytes,
                on_broken=self._break,
            )
            if await self._prepare_topics():
                intake = Intake(
                    dispatcher,
                    loop,
                    self._break,
                    limit=settings.bridge_max_in_flight,
                    join=lambda assigned, revoked: _join(settings, engine, assigned, revoked),
                )
                log.info("Bridge consumer initialized successfully")
                collect_seldom()
                intake.start()
                log.info("Starting bridge main loop")
                await self._stopped.wait()
                await self._shut_down(dispatcher, intake, publisher)
            await registry.close()
        engine.dispose()
        if self._broken is not None:
            log.error("the bridge broke", exc_info=self._broken)
            return 1
        log.info("bridge stopped")
        return 0

    def _break(self, error: BaseException) -> None:
        if self._broken is None:
            self._broken = error
        self._stopped.set()

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What a callback of the loop raised: messages may have been dropped half-way, so that only a new process, which
        reads them again, is safe."""
        loop.default_exception_handler(context)
        if "handle" in context and isinstance(context.get("exception"), Exception):
            self._break(context["exception"])

    async def _prepare_topics(self) -> bool:
        """Create what is missing, waiting for Kafka for as long as it takes; False when told to stop meanwhile."""
        settings = self._settings
        topics = [
            settings.kafka_tasks_topic,
            settings.kafka_results_topic,
            dead_letters.topic_of(settings.kafka_tasks_topic),
        ]

        async def prepare() -> None:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(KafkaException),
                wait=wait_random_exponential(multiplier=0.2, max=3.0),
                before_sleep=_log_waiting,
            ):
                with attempt:
                    await asyncio.to_thread(
                        ensure_topics,
                        settings.kafka_brokers,
                        topics,
                        partitions=settings.kafka_partitions,
                        timeout_seconds=_TOPICS_TIMEOUT_SECONDS,
                    )

        preparing = asyncio.ensure_future(prepare())
        stopping = asyncio.ensure_future(self._stopped.wait())
        await asyncio.wait((preparing, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not preparing.done():
            preparing.cancel()
            return False
        await preparing
        return True

    async def _shut_down(self, dispatcher: Dispatcher, intake: Intake, publisher: KafkaPublisher) -> None:
        log.info("stopping: finishing calls in flight")
        seconds = float(self._settings.shutdown_timeout_seconds)
        intake.stop_reading()
        left = await dispatcher.drain(seconds * (1 - _FLUSH_SHARE - _LEAVE_SHARE))
        await asyncio.to_thread(publisher.flush, seconds * _FLUSH_SHARE)
        await asyncio.to_thread(intake.leave, seconds * _LEAVE_SHARE)
        if left:
            log.info("%d tasks were not finished and are left for the next bridge", left)


def _join(settings: Settings, engine: Engine, on_assigned: Told, on_revoked: Told) -> Subscription:
    """Become a member of the bridges' group, with an identity from the database if that answers."""

    heartbeat = Heartbeat(settings.heartbeat_file)

    def join(instance_id: str | None) -> KafkaSubscription:
        return KafkaSubscription(
            settings.kafka_brokers,
            group_id=settings.kafka_bridge_group_id,
            topics=[settings.kafka_tasks_topic],
            client_id="workflow-http-bridge",
            session_timeout_ms=settings.kafka_session_timeout_ms,
            max_message_bytes=settings.kafka_max_message_bytes,
            instance_id=instance_id,
            on_assigned=on_assigned,
            on_revoked=on_revoked,
            on_polled=heartbeat.beat,
        )

    return join_group(engine, settings.kafka_bridge_group_id, join, patience_seconds=_SLOT_PATIENCE_SECONDS)


def _log_waiting(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    log.warning("waiting for Kafka (try %d): %s", state.attempt_number, error)
