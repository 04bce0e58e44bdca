"""Messages that the harness publishes, each known again by its nonce."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from harness.observer import NONCE_HEADER, Scope, Scopes
from harness.runner.errors import SetUpBroke
from harness.subject import Binding

_MAX_BYTES = 16 * 1024 * 1024
_ACKNOWLEDGED_SECONDS = 30.0


class Publisher:
    """One producer for a bench; may be used from several threads."""

    def __init__(self, brokers: str, binding: Binding, scopes: Scopes) -> None:
        self._brokers = brokers
        self._binding = binding
        self._scopes = scopes
        self._lock = threading.Lock()
        self._producer: Any = None

    def publish(self, scope: Scope, topic: str, key: str | None, value: Mapping[str, Any]) -> None:
        """Publish a message in the contract's fields on one of its topics (short name); returns once the broker has it.

        Raises:
            SetUpBroke: the broker did not take it.
        """
        translated = self._binding.to_subject(topic, value)
        self.publish_raw(scope, topic, key, json.dumps(translated, ensure_ascii=True).encode(), {})

    def publish_raw(
        self, scope: Scope, topic: str, key: str | None, value: bytes | None, headers: Mapping[str, str]
    ) -> None:
        """Publish any bytes. Raises :class:`SetUpBroke` when the broker did not take them."""
        self._acknowledged(topic, self._send(scope, topic, key, value, headers))

    def publish_all(self, messages: Iterable[tuple[Scope, str, str | None, Mapping[str, Any]]]) -> None:
        """Publish messages (scope, topic, key, value) in the contract's fields, all at once; returns once the broker has
        them. Raises :class:`SetUpBroke`."""
        sent = []
        for scope, topic, key, value in messages:
            raw = json.dumps(self._binding.to_subject(topic, value), ensure_ascii=True).encode()
            sent.append((topic, self._send(scope, topic, key, raw, {})))
        for topic, future in sent:
            self._acknowledged(topic, future)

    def _send(self, scope: Scope, topic: str, key: str | None, value: bytes | None, headers: Mapping[str, str]) -> Any:
        name = self._binding.topic(topic)
        nonce = uuid.uuid4().hex
        self._scopes.add_publication(scope, nonce, name, value)
        told = [*((header, text.encode("utf-8", "surrogatepass")) for header, text in headers.items())]
        try:
            return self._started().send(
                name,
                key=key.encode("utf-8", "surrogatepass") if key is not None else None,
                value=value,
                headers=[*told, (NONCE_HEADER, nonce.encode())],
            )
        except KafkaError as error:
            raise SetUpBroke(f"a message could not be published on {name}: {error!r}") from error

    def _acknowledged(self, topic: str, future: Any) -> None:
        try:
            future.get(timeout=_ACKNOWLEDGED_SECONDS)
        except KafkaError as error:
            name = self._binding.topic(topic)
            raise SetUpBroke(f"a message could not be published on {name}: {error!r}") from error

    def close(self) -> None:
        """Close the producer."""
        with self._lock:
            if self._producer is not None:
                self._producer.close(timeout=5)
                self._producer = None

    def _started(self) -> Any:
        with self._lock:
            if self._producer is None:
                self._producer = KafkaProducer(
                    bootstrap_servers=self._brokers.split(","),
                    acks="all",
                    linger_ms=0,
                    retries=50,
                    max_request_size=_MAX_BYTES,
                    reconnect_backoff_max_ms=500,
                )
            return self._producer
