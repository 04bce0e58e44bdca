"""Functions that stand in for the API's own; see `replacements`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import text

Function = Callable[..., Any]

_LATE_SECONDS = 0.5
_NOT_THERE_YET = -1


def creating_over(create: Function) -> Function:
    """`store_workflows.create` that takes the name from whoever has it."""
    free = text("UPDATE workflow_definitions SET status = 'inactive' WHERE name = :name AND status = 'active'")

    def replaced(connection: Any, definition_id: Any, data: Any, actor: Any) -> Any:
        connection.execute(free, {"name": data["name"]})
        return create(connection, definition_id, data, actor)

    return replaced


def inserting_later(insert: Function) -> Function:
    """`Execution._insert`, or `_insert_keyed`, that says yes at once and writes half a second later."""

    def replaced(self: Any, begun: Any, *key: str) -> int:
        def write() -> None:
            time.sleep(_LATE_SECONDS)
            entry = insert(self, begun, *key)
            if entry is not None:
                self._backlog.send(entry, begun.message)

        threading.Thread(target=write, daemon=True).start()
        return _NOT_THERE_YET

    return replaced


def sending_what_is_there(send: Function) -> Function:
    """`Backlog.send` that leaves out what has no entry yet."""

    def replaced(self: Any, entry_id: int, message: Any) -> None:
        if entry_id != _NOT_THERE_YET:
            send(self, entry_id, message)

    return replaced


def publishing_first(insert: Function) -> Function:
    """`Execution._insert` that publishes the request before it writes the row."""

    def replaced(self: Any, begun: Any) -> Any:
        publisher = self._outbox._publisher
        publisher.publish(begun.message, lambda _: None)
        publisher.flush(2)
        time.sleep(_LATE_SECONDS)
        return insert(self, begun)

    return replaced


def moving_runs_to_the_new_version(replace: Function) -> Function:
    """`store_workflows.replace` that gives runs which have begun the new plan."""
    from system import json_values
    from system.api.messages import plan_document
    from system.plans import digest

    keep = text(
        "INSERT INTO workflow_plans (digest, plan) VALUES (:digest, cast(:plan AS jsonb)) ON CONFLICT DO NOTHING"
    )
    move = text(
        "UPDATE workflow_runs SET plan_digest = :digest, workflow_id = :workflow_id"
        " WHERE workflow_definition_id = :id AND status IN ('PENDING', 'RUNNING', 'FAILED', 'CANCELLED')"
    )

    def replaced(connection: Any, current: Any, data: Any, actor: Any) -> Any:
        row = replace(connection, current, data, actor)
        plan = plan_document(row["version"], row["workflow_data"])
        key = digest(plan)
        connection.execute(keep, {"digest": key, "plan": json_values.dumps(plan).decode()})
        connection.execute(move, {"digest": key, "workflow_id": plan["workflow_id"], "id": row["id"]})
        return row

    return replaced


def planning_by_the_current_version(_: Function) -> Function:
    """`Transitions._plan` that takes the definition as it is now, for the row and the request alike."""
    from system import json_values
    from system.api import store_workflows
    from system.api.messages import plan_document
    from system.plans import digest

    keep = text(
        "INSERT INTO workflow_plans (digest, plan) VALUES (:digest, cast(:plan AS jsonb)) ON CONFLICT DO NOTHING"
    )
    move = text("UPDATE workflow_runs SET plan_digest = :digest WHERE run_id = :run_id")

    def replaced(self: Any, connection: Any, run: Any) -> Any:
        current = store_workflows.get(connection, run["workflow_definition_id"])
        assert current is not None
        plan = plan_document(current["version"], current["workflow_data"])
        key = digest(plan)
        connection.execute(keep, {"digest": key, "plan": json_values.dumps(plan).decode()})
        connection.execute(move, {"digest": key, "run_id": run["run_id"]})
        return plan

    return replaced


def cancelling_nothing(_: Function) -> Function:
    """`store_runs.cancel` that finds out whether the run could be cancelled and leaves its row as it is."""
    from system.api import store_runs

    def replaced(connection: Any, run_id: str, cancelled_by: Any, now: Any) -> Any:
        row = store_runs.lock(connection, run_id)
        return row if row is not None and row["status"] in ("PENDING", "RUNNING") else None

    return replaced
