"""The statements of the consumer's store, and the bridge's look at finished steps, carried out on tables in memory."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from system.simulation.database.answers import NONE, Answer, Parameters
from system.simulation.database.jsonb import jsonb, loads
from system.simulation.database.outbox_statements import new_entry
from system.simulation.database.tables import Transaction, Values

NEW_RUN: Values = dict.fromkeys(
    (
        "run_id", "workflow_id", "workflow_name", "workflow_definition_id", "status", "input_data", "error_message",
        "triggered_by", "created_at", "updated_at", "started_at", "completed_at", "cancelled_at", "cancelled_by",
        "plan_digest", "accepted_at", "resume_from_step", "outbox_id", "updates_outbox_id",
    )
)  # fmt: skip
NEW_RUN |= {"status": "PENDING", "revision": 0, "generation": 0}


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


# runs

_LOADED = (
    "run_id", "workflow_name", "status", "revision", "generation", "input_data", "error_message", "created_at", "updated_at",
    "started_at", "accepted_at", "plan_digest", "resume_from_step",
)  # fmt: skip
_LOADED_KEYS = (*_LOADED, "awaits_outbox", "early_cancellation", "early_cancelled_by")


def load_runs(tx: Transaction, given: Parameters) -> Answer:
    rows = []
    for run_id in dict.fromkeys(given["run_ids"]):
        run = tx.get("workflow_runs", run_id)
        if run is None:
            continue
        entry = tx.get("outbox", run["updates_outbox_id"])
        awaits = run["updates_outbox_id"] if entry is not None and entry["owner"] != given["owner"] else None
        early = tx.get("early_cancellations", run_id)
        cancelled_by = None if early is None else early["cancelled_by"]
        rows.append((*(run[name] for name in _LOADED), awaits, early is not None, cancelled_by))
    return _LOADED_KEYS, rows, len(rows)


def run_exists(tx: Transaction, given: Parameters) -> Answer:
    return ("?column?",), [(1,)] if tx.get("workflow_runs", given["id"]) is not None else [], 0


def insert_runs(tx: Transaction, given: Parameters) -> Answer:
    wanted = sorted(loads(given["rows"]), key=lambda row: row["run_id"].encode())
    for row in wanted:
        # Who inserts the same key waits, whatever comes of it.
        if tx.is_held_by_another("workflow_runs", row["run_id"]):
            tx.hold("workflow_runs", row["run_id"])
    count = 0
    for row in wanted:
        if tx.get("workflow_runs", row["run_id"]) is not None:
            continue
        created_at = _moment(row["created_at"])
        new = NEW_RUN | row | {
            "input_data": jsonb(row["input_data"]), "created_at": created_at, "updated_at": created_at,
        }  # fmt: skip
        count += tx.insert("workflow_runs", row["run_id"], new)
    return (), (), count


def write(tx: Transaction, given: Parameters) -> Answer:
    runs, steps = loads(given["runs"]), loads(given["steps"])
    changed, kept = _locked(tx, runs, steps, given)
    for entry_id in given["delivered"]:
        tx.put("outbox", entry_id, None)
    entry = None
    if given["messages"] is not None:
        entry = new_entry(tx, given)
    for row, before in changed:
        tx.put("workflow_runs", row["run_id"], _changed(before, row, entry))
    for step, place, earlier in kept:
        _write_step(tx, step, place, earlier)
    told = [row["run_id"] for row, _ in changed] or None
    return ("id", "array_agg"), [(entry, told)], 1


Locked = tuple[list[tuple[Values, Values]], list[tuple[Values, tuple[str, str, int], Values | None]]]


def _locked(tx: Transaction, runs: list[Values], steps: list[Values], given: Parameters) -> Locked:
    """Hold everything that the statement changes before it changes anything, so that it can begin anew after a wait."""
    for entry_id in given["delivered"]:
        tx.hold("outbox", entry_id)
    changed = []
    for row in runs:
        seen = tx.get("workflow_runs", row["run_id"])
        if seen is None or not _is_as_seen(seen, row):
            continue
        now = tx.hold("workflow_runs", row["run_id"])
        if now is not None and _is_as_seen(now, row):
            changed.append((row, now))
    kept = []
    for row in steps:
        place = (row["run_id"], row["path"], row["generation"])
        kept.append((row, place, tx.hold("step_executions", place)))
    return changed, kept


def _is_as_seen(run: Values, row: Values) -> bool:
    return bool(run["revision"] == row["seen_revision"] and run["status"] == row["seen_status"])


def _changed(before: Values, row: Values, entry: int | None) -> Values:
    running = row["status"] == "RUNNING"
    after = {
        **before,
        "status": row["status"],
        "error_message": row["error_message"],
        "updated_at": _moment(row["updated_at"]),
        "revision": before["revision"] + 1,
        "generation": row["generation"],
        "started_at": before["started_at"] or _moment(row["started_at"]),
        "completed_at": None if running else _moment(row["completed_at"]) or before["completed_at"],
        "cancelled_at": None if running else before["cancelled_at"] or _moment(row["cancelled_at"]),
        "cancelled_by": None if running else _coalesced(before["cancelled_by"], row["cancelled_by"]),
        "accepted_at": _moment(row["accepted_at"]) or before["accepted_at"],
        "plan_digest": _coalesced(row["plan_digest"], before["plan_digest"]),
        "resume_from_step": before["resume_from_step"] if row["status"] == "PENDING" else None,
        "updates_outbox_id": _coalesced(entry, before["updates_outbox_id"]),
    }
    if before["input_data"] is None:
        after["input_data"] = jsonb(row["input_data"])
    return after


def _coalesced(first: Any, second: Any) -> Any:
    return second if first is None else first


def _write_step(tx: Transaction, row: Values, place: tuple[str, str, int], before: Values | None) -> None:
    if before is None:
        values = {
            **row, "id": tx.database["step_executions"].fresh_id(), "superseded": False,
            "started_at": _moment(row["started_at"]), "completed_at": _moment(row["completed_at"]),
            "input_data": jsonb(row["input_data"]), "output_data": jsonb(row["output_data"]),
        }  # fmt: skip
    else:
        values = {
            **before, "status": row["status"], "output_data": jsonb(row["output_data"]),
            "error_message": row["error_message"], "completed_at": _moment(row["completed_at"]),
        }  # fmt: skip
    tx.put("step_executions", place, values)


def unanswered(tx: Transaction, given: Parameters) -> Answer:
    before = given["before"]
    found = [
        (run["created_at"], run["run_id"])
        for _, run in tx.all("workflow_runs")
        if run["status"] == "RUNNING" and run["plan_digest"] is not None
        and run["created_at"] < before and run["updated_at"] < before
    ]  # fmt: skip
    return ("run_id",), [(run_id,) for _, run_id in sorted(found)[: given["limit"]]], 0


# steps, plans, timers

_STEP_KEYS = (
    "run_id", "path", "step_id", "status", "input_data", "started_at", "branch_name", "output_data", "error_message",
    "completed_at", "attempt", "generation", "task_id",
)  # fmt: skip


def load_steps(tx: Transaction, given: Parameters) -> Answer:
    found = [step for _, step in tx.of_runs("step_executions", given["run_ids"]) if not step["superseded"]]
    found.sort(key=lambda step: step["id"])
    return _STEP_KEYS, [tuple(step[name] for name in _STEP_KEYS) for step in found], 0


def supersede(tx: Transaction, given: Parameters) -> Answer:
    places = [(row["run_id"], row["path"], row["generation"]) for row in loads(given["rows"])]
    held = [(place, tx.hold("step_executions", place)) for place in places if tx.get("step_executions", place)]
    for place, step in held:
        if step is not None:
            tx.put("step_executions", place, {**step, "superseded": True})
    return (), (), len(held)


def applied(tx: Transaction, given: Parameters) -> Answer:
    wanted = set(given["task_ids"])
    open_: dict[tuple[str, str], bool] = {}
    for _, step in tx.of_runs("step_executions", given["run_ids"]):
        if step["task_id"] in wanted:
            key = (step["run_id"], step["task_id"])
            open_[key] = open_.get(key, False) or step["status"] in ("RUNNING", "PENDING")
    return ("run_id", "task_id"), [key for key, is_open in open_.items() if not is_open], 0


def load_plans(tx: Transaction, given: Parameters) -> Answer:
    rows = [
        (d, plan["plan"]) for d in dict.fromkeys(given["digests"]) if (plan := tx.get("workflow_plans", d)) is not None
    ]
    return ("digest", "plan"), rows, 0


def save_plans(tx: Transaction, given: Parameters) -> Answer:
    rows = sorted(loads(given["rows"]), key=lambda row: row["digest"])
    for row in rows:
        if tx.is_held_by_another("workflow_plans", row["digest"]):
            tx.hold("workflow_plans", row["digest"])
    for row in rows:
        if tx.get("workflow_plans", row["digest"]) is None:
            tx.insert("workflow_plans", row["digest"], {"digest": row["digest"], "plan": jsonb(row["plan"])})
    return NONE


def set_timers(tx: Transaction, given: Parameters) -> Answer:
    rows = [((row["run_id"], row["kind"], row["path"]), row) for row in loads(given["rows"])]
    for place, _ in rows:
        tx.hold("timers", place)
    for place, row in rows:
        before = tx.get("timers", place)
        number = tx.database["timers"].fresh_id() if before is None else before["id"]
        tx.put("timers", place, {**row, "id": number, "due_at": _moment(row["due_at"])})
    return NONE


def clear_timers(tx: Transaction, given: Parameters) -> Answer:
    return _cleared(tx, [(row["run_id"], row["kind"], row["path"]) for row in loads(given["rows"])])


def clear_run_timers(tx: Transaction, given: Parameters) -> Answer:
    return _cleared(tx, [place for place, _ in tx.of_runs("timers", given["run_ids"])])


def _cleared(tx: Transaction, places: list[Any]) -> Answer:
    held = [(place, tx.hold("timers", place)) for place in places if tx.get("timers", place) is not None]
    for place, _ in held:
        tx.put("timers", place, None)
    return (), (), len(held)


def due_timers(tx: Transaction, given: Parameters) -> Answer:
    due = [
        (timer["due_at"], timer["id"], place) for place, timer in tx.all("timers") if timer["due_at"] <= given["now"]
    ]
    return ("run_id", "kind", "path"), [place for _, _, place in sorted(due)[: given["limit"]]], 0


# cancellations


def take_turns(tx: Transaction, given: Parameters) -> Answer:
    for run_id in sorted(given["run_ids"], key=str.encode):
        tx.lock(("run", run_id))
    return ("?column?",), [("",)] * len(given["run_ids"]), 0


def early_cancellations(tx: Transaction, given: Parameters) -> Answer:
    kept = [tx.get("early_cancellations", run_id) for run_id in given["run_ids"]]
    rows = [(row["run_id"], row["cancelled_by"], row["reason"]) for row in kept if row is not None]
    return ("run_id", "cancelled_by", "reason"), rows, 0


def save_early_cancellation(tx: Transaction, given: Parameters) -> Answer:
    values = {name: given[name] for name in ("run_id", "cancelled_by", "reason", "received_at")}
    tx.insert("early_cancellations", given["run_id"], values)
    return NONE


def forget_early_cancellations(tx: Transaction, given: Parameters) -> Answer:
    held = [run_id for run_id in given["run_ids"] if tx.hold("early_cancellations", run_id) is not None]
    for run_id in held:
        tx.put("early_cancellations", run_id, None)
    return (), (), len(held)
