"""The tap: every message of the five topics and of their dead letters, as it goes by."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError, KafkaTimeoutError, TopicAlreadyExistsError

from harness.history import Event
from harness.observer.parsing import loads
from harness.observer.scopes import NONCE_HEADER, Orphan, Scope, Scopes
from harness.subject import Binding

log = logging.getLogger(__name__)

PARTITIONS = 6
_POLL_MS = 100
_MOST_RECORDS = 2000
_REQUEST_MS = 5000
_AGAIN_SECONDS = 0.2
_START_SECONDS = 60.0
_LOG_APPEND_TIME = 1

Seen = Callable[[Scope, Event], None]


class KafkaTap:
    """One consumer without a group, on all partitions, from their ends at the start. `seen` hears of each message that
    belongs to a scenario, in the tap's thread."""

    def __init__(self, brokers: str, binding: Binding, scopes: Scopes, seen: Seen) -> None:
        self._brokers = brokers.split(",")
        self._binding = binding
        self._scopes = scopes
        self._seen = seen
        self._short = binding.all_topics()
        self._dead = {topic + binding.dead_letter_suffix: short for topic, short in self._short.items()}
        self._topics = [*self._short, *self._dead]
        self._positions: dict[TopicPartition, int] = {}
        self._moved = threading.Condition()
        self._stop = threading.Event()
        self._admin_lock = threading.Lock()
        self._admin: Any = None
        self._thread = threading.Thread(target=self._run, name="kafka-tap", daemon=True)
        self.broken: BaseException | None = None

    def start(self) -> None:
        """Make the topics that are missing, find the ends, and begin to read."""
        self._make_topics()
        until = time.monotonic() + _START_SECONDS
        # Partitions that were made just now may have no leader yet, for long where the machine is busy.
        while (ends := self._asked_ends()) is None:
            if time.monotonic() > until:
                raise KafkaTimeoutError(f"the ends of the topics were not told within {_START_SECONDS:.0f} s")
            time.sleep(_AGAIN_SECONDS)
        self._positions = ends
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close the clients."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)
        with self._admin_lock:
            self._close_admin()

    def is_alive(self) -> bool:
        """Whether it still reads."""
        return self._thread.is_alive() and self.broken is None

    def positions(self) -> dict[TopicPartition, int]:
        """How far each partition has been read."""
        with self._moved:
            return dict(self._positions)

    def catch_up(self, deadline_seconds: float) -> bool:
        """Wait until everything has been read that is on the topics now; False when that did not come about in time."""
        until = time.monotonic() + deadline_seconds
        ends = self._asked_ends()
        while ends is None:
            if self._stop.wait(_AGAIN_SECONDS) or time.monotonic() > until:
                return False
            ends = self._asked_ends()
        reached = ends
        with self._moved:
            return self._moved.wait_for(
                lambda: all(self._positions.get(part, 0) >= end for part, end in reached.items()),
                max(0.0, until - time.monotonic()),
            )

    def _asked_ends(self) -> dict[TopicPartition, int] | None:
        """The ends of all partitions; None while Kafka does not answer, and then asked anew on another connection."""
        with self._admin_lock:
            try:
                return self._ends()
            except KafkaError as error:
                log.debug("Kafka does not tell the ends of partitions: %r", error)
                self._close_admin()
                return None

    def _make_topics(self) -> None:
        with self._admin_lock:
            admin = self._ask_admin()
            there = set(admin.list_topics())
            missing = [topic for topic in self._topics if topic not in there]
            if not missing:
                return
            # The broker's own clock orders messages of different partitions, which those of their producers do not.
            told = {"message.timestamp.type": "LogAppendTime"}
            wanted = {
                topic: {"num_partitions": PARTITIONS, "replication_factor": -1, "configs": told} for topic in missing
            }
            try:
                admin.create_topics(wanted, wait_for_metadata=True)
            except TopicAlreadyExistsError:
                # The subject was faster with some of them; the others have been made.
                log.debug("some of %s were there already", missing)

    def _ends(self) -> dict[TopicPartition, int]:
        admin = self._ask_admin()
        # Asked anew each time: a partition that was added is not read, and whoever catches up has to know of it.
        described = admin.describe_topics(self._topics)
        parts = [
            TopicPartition(topic["name"], partition["partition_index"])
            for topic in described
            for partition in topic.get("partitions", ())
        ]
        found = admin.list_partition_offsets(dict.fromkeys(parts, OffsetSpec.LATEST), timeout_ms=_REQUEST_MS)
        return {part: info.offset for part, info in found.items()}

    def _ask_admin(self) -> Any:
        if self._admin is None:
            self._admin = KafkaAdminClient(
                bootstrap_servers=self._brokers, request_timeout_ms=_REQUEST_MS, bootstrap_timeout_ms=_REQUEST_MS
            )
        return self._admin

    def _close_admin(self) -> None:
        if self._admin is not None:
            admin, self._admin = self._admin, None
            admin.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._read()
            except KafkaError as error:
                log.warning("the tap lost Kafka and begins anew where it was: %r", error)
                self._stop.wait(_AGAIN_SECONDS)
            except BaseException as error:
                # Whoever asks for a verdict is told that nothing was seen from here on.
                log.exception("the tap is broken")
                self.broken = error
                return

    def _read(self) -> None:
        consumer = KafkaConsumer(
            bootstrap_servers=self._brokers,
            group_id=None,
            enable_auto_commit=False,
            bootstrap_timeout_ms=_REQUEST_MS,
            reconnect_backoff_ms=50,
            reconnect_backoff_max_ms=500,
            auto_offset_reset="earliest",
            # In Python, checking costs more than all else that is done with a message.
            check_crcs=False,
        )
        try:
            consumer.assign(list(self._positions))
            for part, position in self._positions.items():
                consumer.seek(part, position)
            while not self._stop.is_set():
                polled = consumer.poll(timeout_ms=_POLL_MS, max_records=_MOST_RECORDS)
                for record in self._in_order(list(itertools.chain(*polled.values()))):
                    self._take_or_break_off(record)
                with self._moved:
                    self._positions.update({part: records[-1].offset + 1 for part, records in polled.items()})
                    self._moved.notify_all()
        finally:
            consumer.close()

    def _in_order(self, records: list[Any]) -> list[Any]:
        """What was read at once: by the time of appending, then along the way that a run's messages take. Of topics whose
        times are their producers', no such order is known, and each partition has its own."""
        if any(record.timestamp_type != _LOG_APPEND_TIME for record in records):
            return records
        return sorted(records, key=lambda record: (record.timestamp, self._topics.index(record.topic)))

    def _take_or_break_off(self, record: Any) -> None:
        try:
            self._take(record)
        except Exception as error:
            log.exception("a message of %s could not be taken in", record.topic)
            where = f"{record.topic}, partition {record.partition}, offset {record.offset}"
            self._scopes.break_off(f"the message at {where} could not be taken in: {error!r:.300}")

    def _take(self, record: Any) -> None:
        dead_of = self._dead.get(record.topic)
        short = dead_of or self._short[record.topic]
        value = _object(record.value)
        if value is not None:
            value = self._binding.to_contract(short, value)
        key = record.key.decode("utf-8", "backslashreplace") if record.key is not None else None
        headers = {name: (text or b"").decode("utf-8", "backslashreplace") for name, text in record.headers}
        nonce = headers.pop(NONCE_HEADER, None)
        run_id = value.get("run_id") if value is not None else None
        run_id = run_id if isinstance(run_id, str) else key
        if dead_of is None and short == "tasks" and value is not None and isinstance(value.get("task_id"), str):
            self._scopes.note_task(value["task_id"], str(run_id))
        data: dict[str, Any] = {"topic": short if dead_of is None else "dead_letters"}
        if dead_of is not None:
            data["from_topic"] = dead_of
        data |= {"partition": record.partition, "offset": record.offset, "key": key}
        if record.timestamp_type == _LOG_APPEND_TIME:
            data["appended"] = datetime.fromtimestamp(record.timestamp / 1000, UTC).isoformat(timespec="milliseconds")
        if value is not None:
            data["value"] = value
        else:
            data["raw"] = (record.value or b"").decode("utf-8", "backslashreplace")
        data["headers"] = headers
        with self._scopes.lock:
            data["by"] = "harness" if self._scopes.is_ours(nonce, record.topic) else "subject"
            scope = self._scopes.of_message(run_id, nonce, record.value)
            if scope is not None:
                self._seen(scope, scope.writer.add("kafka", "message", run_id, **data))
            elif run_id is not None:
                self._scopes.keep_orphan(Orphan("kafka", "message", run_id, data, self._seen))


def _object(raw: bytes | None) -> dict[str, Any] | None:
    try:
        value = loads(raw or b"")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
