"""Which observation belongs to which scenario: by run, by agent, or by what the scenario published itself."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.history import Event, HistoryWriter, Source

NONCE_HEADER = "plumbline-nonce"
"""Header of every message that the harness publishes: its own word, by which the message is known again."""

_MOST_ORPHANS = 20_000
_MOST_TASKS = 500_000


@dataclass
class Scope:
    """What one scenario owns of all that can be seen: its runs, its agents (name in the world → in the scenario)."""

    writer: HistoryWriter
    runs: dict[str, str | None] = field(default_factory=dict)
    """run_id → alias, or None for a run that the scenario has no name for."""

    agents: dict[str, str] = field(default_factory=dict)
    nonces: dict[str, str] = field(default_factory=dict)
    """Nonce → the subject's topic that the message went to."""

    raw_values: dict[bytes, None] = field(default_factory=dict)
    is_reading: bool = False
    """While several rows of one reading are being written down: what can be judged is the state after the last of them."""

    is_followed: bool = True
    """Whether its rows are polled and snapshots of them taken; else they are read only when somebody asks for it."""

    committed: dict[tuple[str, int], dict[str, int]] = field(default_factory=dict)
    """(topic, partition) of its messages → the offset of each group that its history tells of."""

    broken: str | None = None
    """Why not everything was seen for this scope, so that nothing can be said about the subject."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """An observation of a run that nobody owns yet: an API publishes its request before its answer is read."""

    source: Source
    kind: str
    run: str
    data: Mapping[str, Any]
    then: Callable[[Scope, Event], None] | None


class Scopes:
    """The scenarios under way. Safe to use from several threads."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._open: dict[int, Scope] = {}
        self._of_run: dict[str, Scope] = {}
        self._of_agent: dict[str, Scope] = {}
        self._of_nonce: dict[str, Scope] = {}
        self._of_raw: dict[bytes, Scope] = {}
        self._orphans: deque[Orphan] = deque(maxlen=_MOST_ORPHANS)
        self._run_of_task: OrderedDict[str, str] = OrderedDict()

    def open(self, writer: HistoryWriter, *, is_followed: bool = True) -> Scope:
        """A new scope, whose observations go into this writer."""
        with self.lock:
            scope = Scope(writer, is_followed=is_followed)
            self._open[id(scope)] = scope
            return scope

    def close(self, scope: Scope) -> None:
        """Observe nothing more for this scope."""
        with self.lock:
            self._open.pop(id(scope), None)
            for table, keys in (
                (self._of_run, scope.runs),
                (self._of_agent, scope.agents),
                (self._of_nonce, scope.nonces),
            ):
                for key in keys:
                    table.pop(key, None)
            for raw in scope.raw_values:
                self._of_raw.pop(raw, None)

    def open_scopes(self) -> list[Scope]:
        """The scopes under way."""
        with self.lock:
            return list(self._open.values())

    def add_run(self, scope: Scope, run_id: str, alias: str | None, **told: Any) -> None:
        """A run belongs to the scope from now on. With `told`, its `run` event is written; then what was seen of it
        before comes after it, in the order in which it was seen."""
        with self.lock:
            if told:
                scope.writer.add("harness", "run", run_id, alias=alias, **told)
            if self._of_run.get(run_id) is scope:
                scope.runs[run_id] = alias or scope.runs[run_id]
                return
            scope.runs[run_id] = alias
            self._of_run[run_id] = scope
            waiting = [orphan for orphan in self._orphans if orphan.run == run_id]
            for orphan in waiting:
                event = scope.writer.add(orphan.source, orphan.kind, run_id, **orphan.data)
                if orphan.then is not None:
                    orphan.then(scope, event)
            if waiting:
                left = [orphan for orphan in self._orphans if orphan.run != run_id]
                self._orphans = deque(left, maxlen=_MOST_ORPHANS)

    def add_agent(self, scope: Scope, world_name: str, name: str) -> None:
        """An agent of the world belongs to the scope."""
        with self.lock:
            scope.agents[world_name] = name
            self._of_agent[world_name] = scope

    def add_publication(self, scope: Scope, nonce: str, topic: str, raw: bytes | None) -> None:
        """A message that is about to be published is the scope's, and so is whatever is set aside with its value."""
        with self.lock:
            scope.nonces[nonce] = topic
            self._of_nonce[nonce] = scope
            if raw:
                scope.raw_values[raw] = None
                self._of_raw[raw] = scope

    def of_message(self, run_id: str | None, nonce: str | None, raw: bytes | None) -> Scope | None:
        """Whose a message is: of its run, else of whoever published it, or the value that it carries."""
        with self.lock:
            scope = self._of_run.get(run_id) if run_id is not None else None
            if scope is None and nonce is not None:
                scope = self._of_nonce.get(nonce)
            if scope is None and raw:
                scope = self._of_raw.get(raw)
            return scope

    def is_ours(self, nonce: str | None, topic: str) -> bool:
        """Whether the harness published the message that bears this nonce on this topic."""
        with self.lock:
            scope = self._of_nonce.get(nonce) if nonce is not None else None
            return scope is not None and nonce is not None and scope.nonces.get(nonce) == topic

    def of_agent(self, world_name: str) -> Scope | None:
        """Whose an agent is."""
        with self.lock:
            return self._of_agent.get(world_name)

    def keep_orphan(self, orphan: Orphan) -> None:
        """Keep an observation for whoever comes to own its run."""
        with self.lock:
            self._orphans.append(orphan)

    def note_task(self, task_id: str, run_id: str) -> None:
        """Remember of which run a task is."""
        with self.lock:
            self._run_of_task[task_id] = run_id
            if len(self._run_of_task) > _MOST_TASKS:
                self._run_of_task.popitem(last=False)

    def run_of_task(self, task_id: Any, scope: Scope) -> str | None:
        """Of which run a task is; the only one of the scope when the task was not seen yet."""
        with self.lock:
            if isinstance(task_id, str) and task_id in self._run_of_task:
                return self._run_of_task[task_id]
            return next(iter(scope.runs)) if len(scope.runs) == 1 else None

    def break_off(self, reason: str, scope: Scope | None = None) -> None:
        """Not everything was seen for a scope, or for all that are under way."""
        for one in self.open_scopes() if scope is None else [scope]:
            one.broken = one.broken or reason

    def tell_all(self, source: Source, kind: str, **data: Any) -> None:
        """Write an event that is nobody's in particular into every history under way."""
        for scope in self.open_scopes():
            scope.writer.add(source, kind, **data)

    def tell_committed(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Write a group's offset into those histories that are followed and have messages of that partition, unless they have it:
        what changes all the time would be most of the others' events."""
        for scope in self.open_scopes():
            told = scope.committed.get((topic, partition)) if scope.is_followed else None
            if told is not None and told.get(group) != offset:
                told[group] = offset
                scope.writer.add("kafka", "committed", group=group, topic=topic, partition=partition, offset=offset)
