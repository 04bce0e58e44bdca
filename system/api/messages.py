"""The messages that the API publishes (contract, section 1), and the plan that goes into an execution request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from system import json_values
from system.plans import digest
from system.ports import Message


@dataclass(frozen=True, slots=True)
class Plan:
    """A version of a definition, as runs are started with it.

    `encoded` is the plan as JSON, made once for all messages; `digest` is what `workflow_plans` keeps it under.
    """

    definition_id: UUID
    version: int
    name: str
    workflow_id: str
    encoded: bytes
    digest: str


def plan_of(definition_id: UUID, version: int, workflow_data: Mapping[str, Any]) -> Plan:
    """The plan of a version of a definition (MSG-10)."""
    document = plan_document(version, workflow_data)
    encoded, key = json_values.dumps(document), digest(document)
    return Plan(definition_id, version, document["name"], document["workflow_id"], encoded, key)


def plan_document(version: int, workflow_data: Mapping[str, Any]) -> dict[str, Any]:
    """`workflow_plan` of a version of a definition."""
    return {
        "workflow_id": f"wf-{workflow_data['name']}-{version}",
        "name": workflow_data["name"],
        "version": str(version),
        "start_step": workflow_data["start_step"],
        "steps": workflow_data["steps"],
    }


def execution_request(
    topic: str,
    run_id: str,
    plan: bytes,
    input_data: bytes,
    timestamp: datetime,
    resume_from_step: str | None = None,
) -> Message:
    """An ExecutionRequest from a plan and an input that are JSON already."""
    document = {
        "run_id": run_id,
        "workflow_plan": orjson.Fragment(plan),
        "input_data": orjson.Fragment(input_data),
        "timestamp": timestamp,
        "message_type": "execution_request",
    }
    if resume_from_step is not None:
        document["resume_from_step"] = resume_from_step
    return Message(topic, run_id.encode(), orjson.dumps(document, option=orjson.OPT_UTC_Z))


def cancellation_request(
    topic: str, run_id: str, cancelled_by: str | None, reason: str | None, timestamp: datetime
) -> Message:
    """A CancellationRequest; `timestamp` is the run's cancelled_at, so that copies of it can be told from later ones."""
    document = {
        "run_id": run_id,
        "cancelled_by": cancelled_by,
        "reason": reason,
        "timestamp": timestamp,
        "message_type": "cancellation_request",
    }
    return Message(topic, run_id.encode(), orjson.dumps(document, option=orjson.OPT_UTC_Z))
