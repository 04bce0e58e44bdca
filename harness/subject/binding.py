"""How a subject that differs from the contract in names is read and spoken to: topics, fields, rows, paths, groups.

A binding translates at the edge: histories, scenarios and checkers know the contract's names alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

TOPICS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "requests": "workflow.execution.requests",
        "cancellations": "workflow.cancellation.requests",
        "tasks": "orchestrator.tasks.http",
        "results": "results.topic",
        "updates": "workflow.monitoring.updates",
    }
)
"""The contract's topics by the short names that histories and scenarios use."""

RUN_COLUMNS: Final = (
    "run_id",
    "workflow_id",
    "workflow_name",
    "workflow_definition_id",
    "status",
    "input_data",
    "error_message",
    "triggered_by",
    "created_at",
    "updated_at",
    "started_at",
    "completed_at",
    "cancelled_at",
    "cancelled_by",
)
"""The columns of a run's row that go into histories; `started_at` where the subject has it."""

STEP_COLUMNS: Final = (
    "id",
    "run_id",
    "step_id",
    "step_name",
    "agent_name",
    "status",
    "input_data",
    "output_data",
    "error_message",
    "started_at",
    "completed_at",
    "parent_step_id",
    "branch_name",
    "join_policy",
)
"""The columns of a step's row that go into histories."""

_RUNS_SQL: Final = "SELECT * FROM workflow_runs"
_STEPS_SQL: Final = "SELECT * FROM step_executions"
_WORD = re.compile(r"\{([a-z_]+)\}")
_READ = re.compile(r"\b(?:from|join)\s+([\w.\"]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Binding:
    """`topics`: short name → the subject's topic. `fields`: short name of a topic → the contract's field → the subject's.
    `runs_sql`, `steps_sql`: queries that give rows in the contract's columns. `paths`: a path of the contract, such as
    ``/workflows/{id}/execute``, → the subject's. `groups`: role → its consumer group.
    `writes`: ``accept``, ``cancel`` and ``retry``, the statements with which the harness stands in for an API."""

    topics: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    runs_sql: str = _RUNS_SQL
    steps_sql: str = _STEPS_SQL
    paths: Mapping[str, str] = field(default_factory=dict)
    path_prefix: str = "/api/v1"
    groups: Mapping[str, str] = field(default_factory=dict)
    writes: Mapping[str, str] = field(default_factory=dict)
    dead_letter_suffix: str = ".dlq"

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Binding:
        """A binding as it stands in a subject file that fits the schema."""
        rows = data.get("rows", {})
        return cls(
            topics=MappingProxyType(dict(data.get("topics", {}))),
            fields=MappingProxyType({topic: dict(names) for topic, names in data.get("fields", {}).items()}),
            runs_sql=rows.get("runs", _RUNS_SQL),
            steps_sql=rows.get("steps", _STEPS_SQL),
            paths=MappingProxyType(dict(data.get("paths", {}))),
            path_prefix=data.get("path_prefix", "/api/v1"),
            groups=MappingProxyType(dict(data.get("groups", {}))),
            writes=MappingProxyType(dict(data.get("writes", {}))),
            dead_letter_suffix=data.get("dead_letter_suffix", ".dlq"),
        )

    @property
    def has_own_rows(self) -> bool:
        """Whether the contract's tables may be missing, because the rows come from queries."""
        return self.runs_sql != _RUNS_SQL or self.steps_sql != _STEPS_SQL

    @property
    def tables(self) -> Mapping[str, str]:
        """The subject's table → the contract's that it stands for: the one table that a query of `rows` reads. One that both
        queries read holds runs; a query that reads several says nothing about which is which."""
        found: dict[str, str] = {}
        for sql, name in ((self.runs_sql, "workflow_runs"), (self.steps_sql, "step_executions")):
            read = {table.rsplit(".", 1)[-1].strip('"') for table in _READ.findall(sql)}
            if len(read) == 1 and not read & found.keys():
                found[read.pop()] = name
        return found

    @property
    def can_write_runs(self) -> bool:
        """Whether the harness can write a run's row as an API would: in the contract's tables, or as the binding says."""
        return bool(self.writes) or self.runs_sql == _RUNS_SQL

    def topic(self, short: str) -> str:
        """The subject's topic for a short name; any other text is taken for a topic."""
        return self.topics.get(short, TOPICS.get(short, short))

    def all_topics(self) -> dict[str, str]:
        """The subject's topic → its short name."""
        return {self.topic(short): short for short in TOPICS}

    def to_subject(self, short: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """A message in the contract's fields, as the subject names them."""
        names = self.fields.get(short, {})
        return {names.get(name, name): item for name, item in value.items()}

    def raw_to_subject(self, short: str, raw: bytes | None) -> bytes | None:
        """A message as it was written out, its fields as the subject names them; what is no object, or has no names to
        change, byte for byte."""
        if raw is None or not self.fields.get(short):
            return raw
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            return raw
        if not isinstance(value, dict):
            return raw
        return json.dumps(self.to_subject(short, value)).encode()

    def to_contract(self, short: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """A message of the subject's in the contract's fields."""
        names = {theirs: ours for ours, theirs in self.fields.get(short, {}).items()}
        return {names.get(name, name): item for name, item in value.items()}

    def path(self, path: str) -> str:
        """The subject's path for one of the contract's below ``/api/v1``, such as ``/runs/run-1/cancel``."""
        bare, mark, query = path.partition("?")
        for ours, theirs in self.paths.items():
            pattern = _WORD.sub(lambda word: f"(?P<{word[1]}>[^/]+)", ours)
            if match := re.fullmatch(pattern, bare):
                return theirs.format(**match.groupdict()) + mark + query
        return self.path_prefix + path
