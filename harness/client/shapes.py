"""What the API answers with, as typed JSON objects. Readers ignore members that are not listed here."""

from __future__ import annotations

from typing import Any, Final, Generic, Literal, NotRequired, TypedDict, TypeVar

TERMINAL: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
"""The statuses that a run ends in."""

RunStatus = Literal["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"]
T = TypeVar("T")


class Workflow(TypedDict):
    """A definition in its newest version."""

    id: str
    name: str
    description: str | None
    version: int
    status: str
    start_step: str
    steps: dict[str, Any]


class Accepted(TypedDict):
    """An execution or a retry that was accepted."""

    run_id: str
    status: RunStatus


class Run(TypedDict):
    """A run. Times are ISO 8601 in UTC."""

    run_id: str
    workflow_id: str | None
    workflow_name: str | None
    workflow_definition_id: NotRequired[str | None]
    status: RunStatus
    input_data: dict[str, Any] | None
    error_message: str | None
    triggered_by: NotRequired[str | None]
    created_at: str
    started_at: NotRequired[str | None]
    completed_at: str | None
    cancelled_at: str | None
    cancelled_by: str | None


class Step(TypedDict):
    """One execution of a step."""

    id: NotRequired[int | str]
    run_id: str
    step_id: str
    step_name: str | None
    agent_name: str | None
    status: str
    input_data: dict[str, Any] | None
    output_data: dict[str, Any] | None
    error_message: str | None
    started_at: str | None
    completed_at: str | None
    parent_step_id: str | None
    branch_name: str | None
    join_policy: str | None


class LogEntry(TypedDict):
    """One event of a run."""

    timestamp: str
    event: str
    message: NotRequired[str | None]
    step_id: NotRequired[str | None]
    status: NotRequired[str | None]
    details: NotRequired[dict[str, Any] | None]


class Agent(TypedDict):
    """An agent of the registry, without its secrets."""

    id: str
    name: str
    url: str
    description: NotRequired[str | None]
    auth_type: NotRequired[str | None]
    timeout_ms: NotRequired[int]
    retry_config: NotRequired[dict[str, Any]]
    status: NotRequired[str]


class AgentHealth(TypedDict):
    """What a probe of an agent found."""

    status: str
    latency_ms: float | None
    detail: NotRequired[str | None]


class Page(TypedDict, Generic[T]):
    """A page of a list; pages count from 1."""

    items: list[T]
    total: int
    page: int
    page_size: int
    total_pages: int
