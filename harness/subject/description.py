"""What a subject file says, checked: `read_subject` gives its parts as values."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, cast, get_args

from harness.document import Document, Mistake, MistakesFound, did_you_mean, read_document
from harness.places import SUBJECTS_DIRECTORY
from harness.subject.binding import Binding
from harness.subject.placeholders import is_known, spelled, used

RoleName = Literal["api", "consumer", "bridge"]
ROLES: Final[tuple[RoleName, ...]] = get_args(RoleName)
STEP_TYPES: Final = ("agent", "parallel", "conditional", "loop", "fork_join")
SCHEMA_PATH: Final = SUBJECTS_DIRECTORY / "subject.schema.json"
_API_URL: Final = "http://127.0.0.1:{port:api}"


@dataclass(frozen=True)
class HttpReady:
    """Ready when a GET of the URL answers 200."""

    url: str
    timeout_seconds: float


@dataclass(frozen=True)
class LogReady:
    """Ready when a line of its log holds the text."""

    text: str
    timeout_seconds: float


@dataclass(frozen=True)
class KafkaGroupReady:
    """Ready when it is a member of the consumer group and partitions are assigned."""

    group: str
    timeout_seconds: float


Ready = HttpReady | LogReady | KafkaGroupReady


@dataclass(frozen=True)
class Command:
    """A program that runs to its end."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    timeout_seconds: float


@dataclass(frozen=True)
class RoleDescription:
    """How the processes of a role are started, known to be ready, and stopped. Texts have their placeholders."""

    name: RoleName
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    processes: int
    url: str
    ready: Ready
    stop_signal: signal.Signals
    stop_timeout_seconds: float


@dataclass(frozen=True)
class KnownFailure:
    """Scenarios, by id or pattern, that the subject is known to fail, and why."""

    scenario: str
    reason: str


@dataclass(frozen=True)
class Description:
    """All that a subject file says."""

    path: Path
    name: str
    description: str
    working_directory: Path
    pass_environment: tuple[str, ...]
    environment: Mapping[str, str]
    migration: Command | None
    roles: Mapping[RoleName, RoleDescription]
    step_types: frozenset[str] = field(default_factory=lambda: frozenset(STEP_TYPES))
    extensions: frozenset[str] = frozenset()
    binding: Binding = field(default_factory=Binding)
    known_failures: tuple[KnownFailure, ...] = ()

    @property
    def groups(self) -> Mapping[str, str]:
        """Role → its consumer group, for the roles whose group is known."""
        told: dict[str, str] = {
            name: of.ready.group for name, of in self.roles.items() if isinstance(of.ready, KafkaGroupReady)
        }
        return {**told, **self.binding.groups}


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema of subject files."""
    return cast(dict[str, Any], json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))


def read_description(path: Path) -> Description:
    """Read and check a subject file.

    Raises:
        MistakesFound: a line with file, line and column for each mistake.
    """
    document = read_document(path)
    if mistakes := document.mistakes_by(schema()) or list(_further_mistakes(document)):
        raise MistakesFound(mistakes)
    data = document.data
    supports = data.get("supports", {})
    return Description(
        path=path,
        name=data["name"],
        description=data.get("description", ""),
        working_directory=_working_directory(document),
        pass_environment=tuple(data.get("pass_environment", ())),
        environment=MappingProxyType(dict(data.get("environment", {}))),
        migration=_migration(data["migration"]) if "migration" in data else None,
        roles=MappingProxyType({name: _role(name, data["roles"][name]) for name in ROLES if name in data["roles"]}),
        step_types=frozenset(supports.get("step_types", STEP_TYPES)),
        extensions=frozenset(supports.get("extensions", ())),
        binding=Binding.read(data.get("binding", {})),
        known_failures=tuple(KnownFailure(**entry) for entry in data.get("known_failures", ())),
    )


def _working_directory(document: Document) -> Path:
    directory: str = document.data.get("working_directory", ".")
    return (document.path.resolve().parent / directory).resolve()


def _migration(data: Mapping[str, Any]) -> Command:
    return Command(
        tuple(data["command"]), MappingProxyType(dict(data.get("environment", {}))), data.get("timeout_seconds", 120)
    )


def _role(name: RoleName, data: Mapping[str, Any]) -> RoleDescription:
    stop = data.get("stop", {})
    return RoleDescription(
        name=name,
        arguments=tuple(data["command"]),
        environment=MappingProxyType(dict(data.get("environment", {}))),
        processes=data.get("processes", 1),
        url=data.get("url", _API_URL).rstrip("/"),
        ready=_ready(data["ready"]),
        stop_signal=signal.Signals[stop.get("signal", "SIGTERM")],
        stop_timeout_seconds=stop.get("timeout_seconds", 15),
    )


def _ready(data: Mapping[str, Any]) -> Ready:
    timeout_seconds = data.get("timeout_seconds", 60)
    if "http" in data:
        return HttpReady(data["http"], timeout_seconds)
    if "log" in data:
        return LogReady(data["log"], timeout_seconds)
    return KafkaGroupReady(data["kafka_group"], timeout_seconds)


def _further_mistakes(document: Document) -> Iterator[Mistake]:
    """What the schema cannot say."""
    directory = _working_directory(document)
    if not directory.is_dir():
        yield document.mistake(("working_directory",), f"there is no folder {directory}")
    roles = document.data["roles"]
    for role, description in roles.items():
        if role != "api" and "url" in description:
            yield document.mistake(("roles", role, "url"), "only the role 'api' has a URL", at_key=True)
    started = {key: value for key, value in document.data.items() if key not in ("binding", "known_failures")}
    for place, text in _texts(started, ()):
        for name, word in used(text):
            written = f"{{{name}}}" if word is None else f"{{{name}:{word}}}"
            if not is_known(name, word):
                known = spelled()
                yield document.mistake(
                    place,
                    f"unknown placeholder {written}; expected one of {', '.join(known)}{did_you_mean(written, known)} "
                    f"(a text {written} is written {{{written}}})",
                )
            elif (name == "api_url" or (name, word) == ("port", "api")) and "api" not in roles:
                yield document.mistake(place, f"{written} is used, but the subject has no role 'api'")


def _texts(value: Any, place: tuple[str | int, ...]) -> Iterator[tuple[Sequence[str | int], str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*place, index))
