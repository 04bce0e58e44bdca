"""The statement that starts a run, carried out on tables in memory."""

from __future__ import annotations

from collections.abc import Callable

from system.api import store_runs
from system.simulation.database.answers import Answer, Parameters, Taken
from system.simulation.database.consumer_statements import NEW_RUN
from system.simulation.database.jsonb import jsonb, loads
from system.simulation.database.outbox_statements import new_entry
from system.simulation.database.tables import Transaction


def start(keep_plan: bool) -> Callable[[Transaction, Parameters], Answer]:
    def work(tx: Transaction, given: Parameters) -> Answer:
        definition = tx.get("workflow_definitions", given["definition_id"])
        if definition is None or definition["version"] != given["version"] or definition["status"] != "active":
            return ("outbox_id",), [], 0
        if keep_plan and tx.is_held_by_another("workflow_plans", given["plan_digest"]):
            tx.hold("workflow_plans", given["plan_digest"])
        if tx.hold("workflow_runs", given["run_id"]) is not None:
            # What was inserted before this came to light has used its number up.
            tx.database["outbox"].fresh_id()
            raise Taken(store_runs.RUN_ID)
        if keep_plan and tx.get("workflow_plans", given["plan_digest"]) is None:
            values = {"digest": given["plan_digest"], "plan": jsonb(loads(given["plan"]))}
            tx.insert("workflow_plans", given["plan_digest"], values)
        entry_id = new_entry(tx, given)
        named = ("run_id", "workflow_id", "workflow_name", "triggered_by", "created_at", "plan_digest")
        values = NEW_RUN | {name: given[name] for name in named} | {
            "workflow_definition_id": given["definition_id"], "input_data": jsonb(loads(given["input_data"])),
            "updated_at": given["created_at"], "accepted_at": given["created_at"], "outbox_id": entry_id,
        }  # fmt: skip
        tx.insert("workflow_runs", given["run_id"], values)
        return ("outbox_id",), [(entry_id,)], 1

    return work
