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
from harness.subject.placeholders import is_known, spelled, used, with_prefix

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
    image: str | None = None


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
    image: str | None = None
    """The image of its containers; without one its processes run on this machine itself."""


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
    def images(self) -> frozenset[str]:
        """The container images that it runs in; none of a subject whose processes run on this machine itself."""
        found = [role.image for role in self.roles.values()]
        if self.migration is not None:
            found.append(self.migration.image)
        return frozenset(image for image in found if image is not None)

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


def read_description(path: Path, prefix: str = "") -> Description:
    """Read and check a subject file; `prefix` stands for `{prefix}` in it, wherever that is.

    Raises:
        MistakesFound: a line with file, line and column for each mistake.
    """
    document = read_document(path)
    if mistakes := document.mistakes_by(schema()) or list(_further_mistakes(document)):
        raise MistakesFound(mistakes)
    data = _with_prefix(document.data, prefix)
    supports = data.get("supports", {})
    return Description(
        path=path,
        name=data["name"],
        description=data.get("description", ""),
        working_directory=_working_directory(document),
        pass_environment=tuple(data.get("pass_environment", ())),
        environment=MappingProxyType(dict(data.get("environment", {}))),
        migration=_migration(data["migration"], data.get("image")) if "migration" in data else None,
        roles=MappingProxyType(
            {name: _role(name, data["roles"][name], data.get("image")) for name in ROLES if name in data["roles"]}
        ),
        step_types=frozenset(supports.get("step_types", STEP_TYPES)),
        extensions=frozenset(supports.get("extensions", ())),
        binding=Binding.read(data.get("binding", {})),
        known_failures=tuple(KnownFailure(**entry) for entry in data.get("known_failures", ())),
    )


def _with_prefix(value: Any, prefix: str) -> Any:
    """The data with a prefix filled in, which other placeholders wait longer for."""
    if isinstance(value, str):
        return with_prefix(value, prefix)
    if isinstance(value, Mapping):
        return {key: _with_prefix(item, prefix) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_prefix(item, prefix) for item in value]
    return value


def _written(name: str, word: str | None) -> str:
    return f"{{{name}}}" if word is None else f"{{{name}:{word}}}"


def _working_directory(document: Document) -> Path:
    directory: str = document.data.get("working_directory", ".")
    return (document.path.resolve().parent / directory).resolve()


def _migration(data: Mapping[str, Any], image: str | None) -> Command:
    return Command(
        tuple(data["command"]),
        MappingProxyType(dict(data.get("environment", {}))),
        data.get("timeout_seconds", 120),
        data.get("image", image),
    )


def _role(name: RoleName, data: Mapping[str, Any], image: str | None) -> RoleDescription:
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
        image=data.get("image", image),
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
    for place, data in (("migration", document.data.get("migration", {})), *roles.items()):
        where = ("migration",) if place == "migration" else ("roles", place)
        if "image" in data or "image" in document.data:
            for index, text in enumerate(data.get("command", ())):
                if ("python", None) in used(text):
                    yield document.mistake(
                        (*where, "command", index),
                        "{python} is the harness's own interpreter, which an image does not have; name the image's program",
                    )
    started = {key: value for key, value in document.data.items() if key not in ("binding", "known_failures")}
    for place, text in _texts(started, ()):
        for name, word in used(text):
            written = _written(name, word)
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
