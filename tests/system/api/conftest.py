"""The API against a real PostgreSQL and a real Kafka; every answer is held to the OpenAPI document as it passes."""

from __future__ import annotations

import re
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from alembic import command
from alembic.config import Config
from confluent_kafka import Consumer, TopicPartition
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from sqlalchemy import Engine, text

import contract
from system.adapters.kafka import KafkaPublisher, ensure_topics
from system.adapters.postgres import connect
from system.api.app import Api, create_app
from system.outbox import Outbox
from system.settings import Settings

with warnings.catch_warnings():
    # kafka-python reads its own resources in a way that Python 3.11 to 3.12 call deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from harness.stack import EmbeddedStack

_DOCUMENT = "urn:openapi"
DEADLINE_SECONDS = 30


class AnswerChecker:
    """Holds answers to what the OpenAPI document says of their operation and status."""

    def __init__(self) -> None:
        document = contract.openapi()
        resource: Resource[Any] = Resource(contents=document, specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(_DOCUMENT, resource)
        self._document = document
        self._paths = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in document["paths"]]

    def check(self, method: str, path: str, status: int, content_type: str, body: bytes) -> None:
        """Fail unless the document declares this answer, and the body is valid against its schema."""
        template = next((name for pattern, name in self._paths if pattern.fullmatch(path)), None)
        operation = self._document["paths"].get(template, {}).get(method.lower())
        if operation is None:
            assert status in (404, 405), f"{method} {path} is not described, and answered {status}"
            assert content_type == "application/problem+json"
            return
        assert str(status) in operation["responses"], (
            f"{method} {template} is not described to answer {status}: {body!r}"
        )
        place = f"/paths/{template.replace('~', '~0').replace('/', '~1')}/{method.lower()}/responses/{status}"
        answer = operation["responses"][str(status)]
        if "$ref" in answer:
            place = answer["$ref"].removeprefix("#")
            answer = self._document["components"]["responses"][place.rpartition("/")[2]]
        if "content" not in answer:
            assert body == b""
            return
        assert content_type in answer["content"]
        kind = content_type.replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
        place = place.replace("{", "%7B").replace("}", "%7D")
        self.validator(f"{place}/content/{kind}/schema").validate(orjson.loads(body))

    def validator(self, pointer: str) -> Draft202012Validator:
        """A validator of the schema at a JSON pointer of the document."""
        return Draft202012Validator(
            {"$ref": f"{_DOCUMENT}#{pointer}"},
            registry=self._registry,
            format_checker=Draft202012Validator.FORMAT_CHECKER,
        )


CHECKER = AnswerChecker()


class CheckingClient(FlaskClient):
    """Flask's client; every answer passes the AnswerChecker."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        answer = super().open(*args, **kwargs)
        CHECKER.check(
            answer.request.method,
            answer.request.path.removesuffix("/") or "/",
            answer.status_code,
            answer.headers.get("Content-Type", ""),
            answer.data,
        )
        return answer


@dataclass(frozen=True)
class Served:
    """The application in this process, with what it stands on."""

    settings: Settings
    engine: Engine
    outbox: Outbox
    publisher: KafkaPublisher
    api: Api

    def client(self) -> CheckingClient:
        """A client whose answers are checked."""
        client = self.api.app.test_client()
        assert isinstance(client, CheckingClient)
        return client

    def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """Rows of a query, or nothing for a statement without rows."""
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []


@pytest.fixture(scope="session")
def stack() -> Iterator[EmbeddedStack]:
    with EmbeddedStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def settings(stack: EmbeddedStack) -> Settings:
    settings = Settings.from_environment(
        {"DATABASE_URL": stack.database_url, "KAFKA_BROKERS": stack.kafka_brokers, "OUTBOX_TAKEOVER_MS": "1000"}
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DATABASE_URL", stack.database_url)
        command.upgrade(Config(str(Path(__file__).parents[3] / "alembic.ini")), "head")
    topics = (settings.kafka_execution_topic, settings.kafka_cancellation_topic)
    ensure_topics(settings.kafka_brokers, topics, partitions=3, timeout_seconds=DEADLINE_SECONDS)
    return settings


@contextmanager
def serving(settings: Settings) -> Iterator[Served]:
    """An application of its own, as another API process would be."""
    engine = connect(settings.database_url, pool_size=8, application_name="test-api", autocommit=True)
    outbox_engine = connect(settings.database_url, pool_size=2, application_name="test-outbox")
    publisher = KafkaPublisher(settings.kafka_brokers, client_id="test-api", max_message_bytes=1_000_000)
    outbox = Outbox(outbox_engine, publisher, takeover_ms=settings.outbox_takeover_ms)
    api = create_app(settings, engine, outbox)
    api.app.test_client_class = CheckingClient
    stop = threading.Event()
    background = outbox.run_in_background(stop, sweep_interval_seconds=0.2)
    try:
        yield Served(settings, engine, outbox, publisher, api)
    finally:
        publisher.flush(5)
        stop.set()
        background.join(10)
        outbox.release()
        api.prober.close()
        engine.dispose()
        outbox_engine.dispose()


@pytest.fixture(scope="session")
def served(settings: Settings) -> Iterator[Served]:
    with serving(settings) as served:
        yield served


@pytest.fixture
def another(settings: Settings) -> Iterator[Served]:
    """A second API process, as far as the database and Kafka can tell."""
    with serving(settings) as served:
        yield served


@pytest.fixture
def client(served: Served) -> CheckingClient:
    return served.client()


@pytest.fixture
def plain(served: Served) -> FlaskClient:
    """A client whose answers are not checked, for those that no description promises."""
    return FlaskClient(served.api.app, served.api.app.response_class)


@pytest.fixture
def checker() -> AnswerChecker:
    return CHECKER


@pytest.fixture
def definition() -> Callable[..., dict[str, Any]]:
    """Makes definitions with names of their own: agent steps one after another."""

    def make(*steps: str, name: str | None = None) -> dict[str, Any]:
        chain = steps or ("greet",)
        following = [*chain[1:], None]
        return {
            "name": name or f"greeting-{uuid.uuid4()}",
            "start_step": chain[0],
            "steps": {
                step: {"id": step, "type": "agent", "agent_name": "echo-agent", "next_step": after, "input_mapping": {}}
                for step, after in zip(chain, following, strict=True)
            },
        }

    return make


@pytest.fixture
def workflow(client: CheckingClient, definition: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """A definition of two steps that has been created."""
    answer = client.post("/api/v1/workflows", json=definition("greet", "part"))
    assert answer.status_code == 201
    created: dict[str, Any] = answer.json
    return created


@pytest.fixture
def execute(client: CheckingClient, workflow: dict[str, Any]) -> Callable[..., str]:
    """Starts a run of `workflow` and gives its run_id."""

    def start(**input_data: Any) -> str:
        answer = client.post(f"/api/v1/workflows/{workflow['id']}/execute", json={"input_data": input_data})
        assert answer.status_code == 202, answer.data
        run_id: str = answer.json["run_id"]
        return run_id

    return start


@pytest.fixture
def messages_of(settings: Settings) -> Callable[[str, str, int], list[dict[str, Any]]]:
    """Reads a topic from its beginning until so many messages of a run have been found."""

    def read(topic: str, run_id: str, count: int) -> list[dict[str, Any]]:
        consumer = Consumer(
            {
                "bootstrap.servers": settings.kafka_brokers,
                "group.id": f"test-{uuid.uuid4()}",
                "enable.auto.commit": False,
            }
        )
        try:
            partitions = consumer.list_topics(topic, timeout=DEADLINE_SECONDS).topics[topic].partitions
            consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
            found: list[dict[str, Any]] = []
            deadline = time.monotonic() + DEADLINE_SECONDS
            while len(found) < count:
                assert time.monotonic() < deadline, f"{len(found)} of {count} messages of {run_id} on {topic}"
                message = consumer.poll(0.2)
                if message is not None and message.error() is None and message.key() == run_id.encode():
                    found.append(orjson.loads(message.value()))
            return found
        finally:
            consumer.close()

    return read
