"""The one reader of the environment on the system's side.

Every setting is a field of :class:`Settings`; its metadata carry the name in the environment, what is allowed and
what it is for. `docs/settings.md` and `.env.example` are held to these fields by a test.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any
from urllib.parse import SplitResult, urlsplit

_DATABASE_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg2")


class SettingError(ValueError):
    """A value in the environment that cannot be used; says the name, what is allowed and what was found."""


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("a text that is not empty")
    return value.strip()


def _database_url(value: str) -> str:
    parts = _split(value.strip())
    if parts is None or parts.scheme not in _DATABASE_SCHEMES or not parts.path.strip("/"):
        raise ValueError("postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    return "postgresql+psycopg2" + value.strip()[len(parts.scheme) :]


def _split(url: str) -> SplitResult | None:
    """The parts of a URL, None when its host or port cannot be one."""
    try:
        parts = urlsplit(url)
        return None if parts.port == 0 else parts
    except ValueError:
        return None


def _brokers(value: str) -> str:
    for broker in value.split(","):
        host, _, port = broker.strip().rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError("HOST:PORT[,HOST:PORT ...]")
    return ",".join(broker.strip() for broker in value.split(","))


def _http_url(value: str) -> str:
    parts = _split(value.strip())
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an http:// or https:// URL")
    return value.strip().rstrip("/")


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            number = lowest - 1
        if not lowest <= number <= highest:
            raise ValueError(f"a whole number from {lowest} to {highest}")
        return number

    return read


def _one_of(*words: str, fold: Callable[[str], str]) -> Callable[[str], str]:
    def read(value: str) -> str:
        if fold(value.strip()) not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return fold(value.strip())

    return read


def _setting(name: str, read: Callable[[str], Any], default: Any, about: str, *, is_secret: bool = False) -> Any:
    """A field of Settings. `read` raises ValueError with what is allowed, as its message; an empty text never is."""
    metadata = {"name": name, "read": read, "about": about, "is_secret": is_secret}
    return field(default=default, repr=not is_secret, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a process of the system is told by its environment. Units stand last in a name."""

    database_url: str = _setting(
        "DATABASE_URL",
        _database_url,
        "postgresql+psycopg2://workflow_user:workflow_password@localhost:5432/workflow_db",
        "Where PostgreSQL is, with user, password and database.",
        is_secret=True,
    )
    database_pool_size: int = _setting(
        "DATABASE_POOL_SIZE", _whole(1, 200), 10, "Connections that one API process holds at most."
    )
    kafka_brokers: str = _setting("KAFKA_BROKERS", _brokers, "localhost:9092", "Where Kafka is.")
    kafka_group_id: str = _setting(
        "KAFKA_GROUP_ID", _text, "workflow-execution-consumer", "Consumer group of the execution consumers."
    )
    kafka_bridge_group_id: str = _setting(
        "KAFKA_BRIDGE_GROUP_ID", _text, "workflow-http-bridge", "Consumer group of the bridges."
    )
    kafka_execution_topic: str = _setting(
        "KAFKA_EXECUTION_TOPIC", _text, "workflow.execution.requests", "Topic of execution requests."
    )
    kafka_cancellation_topic: str = _setting(
        "KAFKA_CANCELLATION_TOPIC", _text, "workflow.cancellation.requests", "Topic of cancellation requests."
    )
    kafka_tasks_topic: str = _setting(
        "KAFKA_TASKS_TOPIC", _text, "orchestrator.tasks.http", "Topic of agent tasks, executor to bridge."
    )
    kafka_results_topic: str = _setting(
        "KAFKA_RESULTS_TOPIC", _text, "results.topic", "Topic of agent results, bridge to executor."
    )
    kafka_monitoring_topic: str = _setting(
        "KAFKA_MONITORING_TOPIC", _text, "workflow.monitoring.updates", "Topic of monitoring updates."
    )
    kafka_partitions: int = _setting(
        "KAFKA_PARTITIONS",
        _whole(1, 1000),
        6,
        "Partitions of a topic that a process finds missing and creates; the most consumers that can share the work.",
    )
    kafka_session_timeout_ms: int = _setting(
        "KAFKA_SESSION_TIMEOUT_MS",
        _whole(1000, 300_000),
        6000,
        "Silence after which Kafka gives a dead consumer's partitions to others; bounds the take-over time.",
    )
    kafka_max_message_bytes: int = _setting(
        "KAFKA_MAX_MESSAGE_BYTES",
        _whole(10_000, 100_000_000),
        1_000_000,
        "Largest message that is published; a task above it fails its step. Not above the broker's own limit.",
    )
    agent_registry_url: str | None = _setting(
        "AGENT_REGISTRY_URL",
        _http_url,
        None,
        "Where the bridge looks agents up over REST (`/api/v1/agents`); without it, in the database.",
        is_secret=True,
    )
    agent_registry_cache_ms: int = _setting(
        "AGENT_REGISTRY_CACHE_MS", _whole(0, 600_000), 2000, "How long the bridge believes an agent's record."
    )
    log_level: str = _setting(
        "LOG_LEVEL",
        _one_of("DEBUG", "INFO", "WARNING", "ERROR", fold=str.upper),
        "INFO",
        "Least level that is logged.",
    )
    log_format: str = _setting(
        "LOG_FORMAT", _one_of("text", "json", fold=str.lower), "text", "Log lines for people or for machines."
    )
    heartbeat_file: str | None = _setting(
        "HEARTBEAT_FILE",
        _text,
        None,
        "File that a consumer or bridge touches as long as it goes on; `python -m system healthy` looks at its age.",
    )
    api_host: str = _setting("API_HOST", _text, "127.0.0.1", "Address that the API listens on.")
    api_port: int = _setting("API_PORT", _whole(1, 65535), 8000, "Port that the API listens on.")
    api_threads: int = _setting("API_THREADS", _whole(1, 256), 4, "Requests that the API works on at once.")
    api_max_body_bytes: int = _setting(
        "API_MAX_BODY_BYTES", _whole(1000, 100_000_000), 900_000, "Largest request body; above it 413."
    )
    api_max_depth: int = _setting("API_MAX_DEPTH", _whole(4, 500), 64, "Deepest nesting of a JSON body; above it 400.")
    consumer_batch_size: int = _setting(
        "CONSUMER_BATCH_SIZE",
        _whole(1, 10_000),
        500,
        "Messages that the execution consumer takes in one transaction.",
    )
    consumer_cached_runs: int = _setting(
        "CONSUMER_CACHED_RUNS",
        _whole(0, 1_000_000),
        5000,
        "Running runs whose state the execution consumer keeps in memory.",
    )
    run_timeout_seconds: int = _setting(
        "RUN_TIMEOUT_SECONDS", _whole(0, 31_536_000), 0, "Deadline of a run from its start; 0 is none."
    )
    task_redelivery_seconds: int = _setting(
        "TASK_REDELIVERY_SECONDS",
        _whole(0, 31_536_000),
        900,
        "Age at which a task without a result is published again under the same task_id; 0 is never.",
    )
    outbox_takeover_ms: int = _setting(
        "OUTBOX_TAKEOVER_MS",
        _whole(100, 600_000),
        15_000,
        "Age at which messages left behind by a process that is alive but silent are published by another.",
    )
    bridge_max_in_flight: int = _setting(
        "BRIDGE_MAX_IN_FLIGHT",
        _whole(1, 1_000_000),
        20_000,
        "Tasks that one bridge holds at once, waiting or in a call; above it, it stops fetching.",
    )
    bridge_agent_concurrency: int = _setting(
        "BRIDGE_AGENT_CONCURRENCY", _whole(1, 10_000), 64, "Calls that one bridge makes to one agent at once."
    )
    shutdown_timeout_seconds: int = _setting(
        "SHUTDOWN_TIMEOUT_SECONDS",
        _whole(1, 600),
        8,
        "How long a process goes on after SIGTERM to end what it has begun.",
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read and check every setting; an empty value counts as not given.

        Raises:
            SettingError: one line per value that cannot be used, with its name and what is allowed.
        """
        given = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        mistakes = []
        for entry in fields(cls):
            found = given.get(entry.metadata["name"], "")
            if not found.strip():
                continue
            try:
                values[entry.name] = entry.metadata["read"](found)
            except ValueError as allowed:
                shown = "(not shown: it may hold a password)" if entry.metadata["is_secret"] else repr(found)
                mistakes.append(f"{entry.metadata['name']} must be {allowed}; found {shown}")
        if mistakes:
            raise SettingError("\n".join(mistakes))
        return cls(**values)


def documented(entry: Field[Any]) -> tuple[str, str, str, str]:
    """(name in the environment, default as text, what is allowed, what it is for) of a field of Settings."""
    default = "" if entry.default in (None, MISSING) else str(entry.default)
    try:
        entry.metadata["read"]("")
    except ValueError as refusal:
        allowed = str(refusal)
    else:
        raise AssertionError(f"{entry.name} takes an empty text, which must count as not given")
    name, about = entry.metadata["name"], entry.metadata["about"]
    return name, default.replace("postgresql+psycopg2", "postgresql"), allowed, about


def as_markdown() -> str:
    """The page of the documentation."""
    lines = [
        "# Settings",
        "",
        "Every process of the reference reads these from its environment when it starts. An empty value counts as not",
        "given. A value that cannot be used stops the start with exit code 2, its name and what is allowed.",
        "",
        "This page is written by `python -m system settings --markdown`, and `.env.example` by `--env-example`; a test",
        "holds both to the code.",
        "",
        "| name | default | allowed | what for |",
        "| --- | --- | --- | --- |",
    ]
    for entry in fields(Settings):
        name, default, allowed, about = (part.replace("|", "\\|") for part in documented(entry))
        lines.append(f"| `{name}` | {f'`{default}`' if default else 'none'} | {allowed} | {about} |")
    return "\n".join(lines) + "\n"


def as_env_example() -> str:
    """A file that names every setting with its default, to be copied and changed."""
    blocks = ["# Copy this file and change what is not the default; docs/settings.md says more.\n"]
    for entry in fields(Settings):
        name, default, allowed, about = documented(entry)
        blocks.append(f"# {about} Allowed: {allowed}.\n{'' if default else '# '}{name}={default}\n")
    return "\n".join(blocks)
