"""Whether processes that were just launched are ready: asked from outside, by HTTP, in the log, or of Kafka."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import requests
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from harness.subject.description import HttpReady, KafkaGroupReady, LogReady, Ready
from harness.subject.errors import NotReady, ProcessDied
from harness.subject.process import RoleProcess

_POLL_SECONDS = 0.05
_HTTP_SECONDS = 3.0
_KAFKA_TIMEOUT_MS = 5000


class Watch(Protocol):
    """Begun before processes are launched; asked, after it, until they are ready."""

    def why_not(self) -> str | None:
        """What is still lacking, in words; None when all are ready."""

    def close(self) -> None:
        """Let go what it holds."""


def watch(
    ready: Ready, processes: Sequence[RoleProcess], urls: Sequence[str], brokers: str, expected_members: int
) -> Watch:
    """A watch over processes that are about to be launched.

    ``urls`` are those of an `HttpReady`, filled, one for each process; ``expected_members`` is how many members a
    group must have at least, with the processes of the role that run already.
    """
    match ready:
        case HttpReady():
            return _HttpWatch(urls)
        case LogReady():
            return _LogWatch(processes, ready.text)
        case KafkaGroupReady():
            return _GroupWatch(brokers, ready.group, len(processes), expected_members)


def wait_until_ready(processes: Sequence[RoleProcess], watching: Watch, timeout_seconds: float) -> None:
    """Wait for all processes.

    Raises:
        ProcessDied: one of them has ended; with the end of its log.
        NotReady: at the deadline; with what is lacking and the ends of the logs.
    """
    deadline = time.monotonic() + timeout_seconds
    while (lacking := watching.why_not()) is not None:
        for process in processes:
            if process.has_died:
                raise ProcessDied(process.name, process.exit_code, process.log_path, process.log_tail())
        if time.monotonic() > deadline:
            tails = "\n".join(f"The end of {one.name}'s log ({one.log_path}):\n{one.log_tail()}" for one in processes)
            names = ", ".join(one.name for one in processes)
            raise NotReady(f"{names} not ready within {timeout_seconds:.0f} s: {lacking}.\n{tails}")
        time.sleep(_POLL_SECONDS)


class _HttpWatch:
    def __init__(self, urls: Sequence[str]) -> None:
        self._left = list(urls)

    def why_not(self) -> str | None:
        while self._left:
            url = self._left[0]
            try:
                status = requests.get(url, timeout=_HTTP_SECONDS, allow_redirects=False).status_code
            except requests.RequestException as error:
                return f"GET {url}: {type(error).__name__}"
            if status != 200:
                return f"GET {url} answers {status}"
            self._left.pop(0)
        return None

    def close(self) -> None:
        """Nothing is held."""


class _LogWatch:
    def __init__(self, processes: Sequence[RoleProcess], text: str) -> None:
        self._processes = processes
        self._text = text

    def why_not(self) -> str | None:
        for process in self._processes:
            if not any(self._text in line for line in process.log().splitlines()):
                return f"no line of {process.name}'s log holds {self._text!r}"
        return None

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class _Group:
    state: str
    partitions: dict[str, Counter[str]]
    """Of each member: how many partitions of each topic it has."""

    def is_settled(self) -> bool:
        """Stable, with partitions assigned: to every member, or to so many that no member has two of one topic."""
        spare = any(not topics for topics in self.partitions.values())
        heaped = any(count > 1 for topics in self.partitions.values() for count in topics.values())
        return self.state == "Stable" and any(self.partitions.values()) and not (spare and heaped)


class _GroupWatch:
    """Waits for as many new members as there are new processes: those of processes that were killed stay for a while."""

    def __init__(self, brokers: str, group: str, new_members: int, expected_members: int) -> None:
        self._brokers = brokers
        self._group = group
        self._new_members = new_members
        self._expected_members = expected_members
        self._admin: Any = None
        seen = self._ask()
        self._before = frozenset(seen.partitions) if seen is not None else frozenset()

    def why_not(self) -> str | None:
        group = self._ask()
        if group is None:
            return f"Kafka does not tell of the group {self._group!r}"
        new = set(group.partitions) - self._before
        if len(new) < self._new_members or len(group.partitions) < self._expected_members:
            return f"the group {self._group!r} has {len(new)} new members, not {self._new_members}"
        if not group.is_settled():
            return f"the group {self._group!r} is {group.state}, its partitions are not all assigned"
        return None

    def close(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    def _ask(self) -> _Group | None:
        try:
            if self._admin is None:
                self._admin = KafkaAdminClient(
                    bootstrap_servers=self._brokers.split(","),
                    request_timeout_ms=_KAFKA_TIMEOUT_MS,
                    bootstrap_timeout_ms=_KAFKA_TIMEOUT_MS,
                )
            found = self._admin.describe_groups([self._group])[self._group]
        except KafkaError:
            # Away, or just electing a coordinator: asked again, on a connection of its own.
            with contextlib.suppress(KafkaError):
                self.close()
            self._admin = None
            return None
        members = {member["member_id"]: _assigned(member) for member in found["members"]}
        return _Group(found["group_state"], members)


def _assigned(member: dict[str, Any]) -> Counter[str]:
    assignment = member.get("member_assignment") or {}
    count: Callable[[Any], int] = len
    return Counter({part["topic"]: count(part["partitions"]) for part in assignment.get("assigned_partitions", ())})
