"""What each SQL text of the reference does, in Python: (title, function) by the text itself.

The texts are imported from where they stand, so that one that is changed is carried out as before until the contract
suite, which runs both sides on the same parameters, tells of the difference.
"""

from __future__ import annotations

from collections.abc import Callable

from system import outbox
from system.adapters import membership
from system.api import store_runs
from system.bridge import redelivery
from system.consumer import store
from system.simulation.database import api_statements, consumer_statements, outbox_statements
from system.simulation.database.answers import Answer, Parameters
from system.simulation.database.tables import Transaction

TABLES = (
    "workflow_definitions", "workflow_definition_versions", "workflow_plans", "workflow_runs", "step_executions", "timers",
    "early_cancellations", "outbox", "execution_keys", "agents", "audit_logs",
)  # fmt: skip


def nothing(_: Transaction, __: Parameters) -> Answer:
    """SELECT 1."""
    return ("?column?",), ((1,),), 1


Known = tuple[str, Callable[[Transaction, Parameters], Answer]]

BY_TEXT: dict[str, Known] = {
    store._LOAD_RUNS.text: ("load runs", consumer_statements.load_runs),
    store._LOAD_STEPS.text: ("load steps", consumer_statements.load_steps),
    store._LOAD_PLANS.text: ("load plans", consumer_statements.load_plans),
    store._SAVE_PLANS.text: ("save plans", consumer_statements.save_plans),
    store._TAKE_TURNS.text: ("take turns", consumer_statements.take_turns),
    store._EARLY_CANCELLATIONS.text: ("early cancellations", consumer_statements.early_cancellations),
    store._FORGET_EARLY_CANCELLATIONS.text: (
        "forget early cancellations",
        consumer_statements.forget_early_cancellations,
    ),
    store._SAVE_EARLY_CANCELLATION.text: ("save early cancellation", consumer_statements.save_early_cancellation),
    store._INSERT_RUNS.text: ("insert runs", consumer_statements.insert_runs),
    store._WRITE.text: ("write", consumer_statements.write),
    store._SUPERSEDE.text: ("supersede", consumer_statements.supersede),
    store._SET_TIMERS.text: ("set timers", consumer_statements.set_timers),
    store._CLEAR_TIMERS.text: ("clear timers", consumer_statements.clear_timers),
    store._CLEAR_RUN_TIMERS.text: ("clear timers of runs", consumer_statements.clear_run_timers),
    store._DUE_TIMERS.text: ("due timers", consumer_statements.due_timers),
    store._UNANSWERED.text: ("unanswered runs", consumer_statements.unanswered),
    "SELECT 1 FROM workflow_runs WHERE run_id = :id": ("is the run known", consumer_statements.run_exists),
    outbox._ADOPT.text: ("adopt entries", outbox_statements.adopt),
    outbox._OTHERS.text: ("entries of others", outbox_statements.others),
    outbox.REMOVE.text: ("remove entries", outbox_statements.remove),
    "INSERT INTO outbox (owner, messages) VALUES (:owner, :messages) RETURNING id": (
        "new entry",
        outbox_statements.insert_entry,
    ),
    "SELECT pg_advisory_lock(:owner)": ("lock owner", outbox_statements.lock_owner),
    "SELECT pg_advisory_unlock(:owner)": ("unlock owner", outbox_statements.unlock_owner),
    membership._TRY_SLOT.text: ("try slot", outbox_statements.try_slot),
    redelivery._APPLIED.text: ("applied results", consumer_statements.applied),
    store_runs._START_KNOWN_PLAN.text: ("start run", api_statements.start(False)),
    store_runs._START_NEW_PLAN.text: ("start run with its plan", api_statements.start(True)),
}
