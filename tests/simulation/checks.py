"""What must hold in a simulated world: after every commit, every message and every committed offset, and at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from system.ports import Received
from system.simulation.database.tables import Values
from tests.simulation.expected import outcome
from tests.simulation.processes import BRIDGE_GROUP, GROUP, READ, RESULTS, TASKS, UPDATES

if TYPE_CHECKING:
    from tests.simulation.world import World

ENDED = ("COMPLETED", "FAILED", "CANCELLED")
_LEGAL = {
    "PENDING": {"PENDING", "RUNNING", *ENDED},
    "RUNNING": {"RUNNING", *ENDED},
    "COMPLETED": {"COMPLETED"},
    "FAILED": {"FAILED", "PENDING"},
    "CANCELLED": {"CANCELLED", "PENDING"},
}
_EXECUTION, _CANCELLATION, _ = READ


class Checks:
    """Watches a world; what is wrong is added to its `violations`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tasks: dict[str, tuple[str, str, bytes]] = {}
        self._answered: set[tuple[str, str]] = set()
        self._updates: dict[str, dict[tuple[str, int], list[str]]] = {}
        self._seen_updates: set[bytes] = set()
        self._generation_of: dict[tuple[str, str], int] = {}

    def _wrong(self, clause: str, what: str) -> None:
        self._world.violations.append(f"{clause}: {what}")

    # after every commit

    def on_commit(self, changes: list[tuple[str, Any, Values | None, Values | None]]) -> None:
        machine = self._world.machine
        for table, key, before, after in changes:
            if table == "workflow_runs":
                assert after is not None, "runs are never removed"
                machine.noted(
                    "run", key, None if before is None else before["status"], after["status"], after["revision"]
                )
                self._run(key, before, after)
                self._world.run_changed(key, after)
            elif table == "step_executions":
                assert after is not None, "steps are never removed"
                machine.noted(
                    "step", *key, None if before is None else before["status"], after["status"], after["superseded"]
                )
                self._step(key, before, after, changes)
            elif table == "audit_logs" and after is not None:
                self._world.act_granted(after)
            elif table == "outbox":
                machine.noted("outbox", key, None if after is None else "kept")
                if after is None and before is not None:
                    self._removed(key, before)

    def _run(self, run_id: str, before: Values | None, after: Values) -> None:
        if before is None:
            return
        if after["status"] not in _LEGAL[before["status"]]:
            self._wrong("RUN", f"{run_id} goes from {before['status']} to {after['status']}")
        if before["status"] in ENDED and after["status"] == before["status"]:
            kept = ("error_message", "completed_at", "cancelled_at", "cancelled_by", "input_data")
            differing = [name for name in kept if before[name] != after[name] and before[name] is not None]
            if differing:
                self._wrong("RUN", f"{run_id} had ended {before['status']}, and {differing} changed after that")

    def _step(self, key: tuple[str, str, int], before: Values | None, after: Values, changes: list[Any]) -> None:
        run_id = key[0]
        run = self._world.run(run_id)
        if before is None:
            self._begun(key, after)
        elif before["status"] != "RUNNING":
            differing = [n for n in before if before[n] != after[n] and n != "superseded"]
            if differing:
                self._wrong("STEP", f"{key} had ended {before['status']}, and {differing} changed")
        elif before["superseded"]:
            self._wrong("STEP", f"{key} is history, and goes from {before['status']} to {after['status']}")
        if before is not None and after["superseded"] and not before["superseded"] and before["status"] == "COMPLETED":
            self._wrong("RES", f"{key} was completed, and is put aside although nobody asked to begin before it")
        if run is None:
            self._wrong("STEP", f"{key} has no run")
        elif run["status"] in ENDED and after["status"] == "RUNNING" and not after["superseded"]:
            if before is None:
                self._wrong("STEP", f"{key} begins in a run that is {run['status']}")
        elif run["status"] == "CANCELLED" and before is not None and before["status"] == "RUNNING":
            was_over = not any(
                c[0] == "workflow_runs" and c[1] == run_id and c[2] and c[2]["status"] == "RUNNING" for c in changes
            )
            if was_over and after["status"] not in ("CANCELLED", "RUNNING"):
                self._wrong("CAN", f"{key} becomes {after['status']} in a run that was cancelled before")

    def _begun(self, key: tuple[str, str, int], after: Values) -> None:
        run_id, path, generation = key
        for number in range(generation):
            earlier = self._world.row("step_executions", (run_id, path, number))
            if earlier is None or earlier["task_id"] is None:
                continue
            if earlier["status"] == "COMPLETED" and not earlier["superseded"]:
                self._wrong("RES", f"{path} of {run_id} was completed in generation {number} and begins again")
            is_same = earlier["task_id"] == after["task_id"]
            if earlier["status"] == "CANCELLED" and not is_same and number == generation - 1:
                self._wrong("RES", f"{path} of {run_id} was in flight and gets another task_id when it goes on")
            if earlier["status"] in ("FAILED", "COMPLETED") and is_same:
                self._wrong(
                    "ID", f"{path} of {run_id} ended {earlier['status']} and gets the same task_id for a new attempt"
                )

    def _removed(self, entry_id: int, entry: Values) -> None:
        """An entry of the outbox may only go once all its messages stand in Kafka."""
        for topic, key, value, _ in orjson.loads(entry["messages"]):
            if (topic, value.encode()) not in self._world.published:
                self._wrong("OUT", f"entry {entry_id} is removed before its message to {topic} of {key} is in Kafka")
                return

    # after every message

    def on_append(self, received: Received) -> None:
        assert received.value is not None
        self._world.published.add((received.topic, received.value))
        if received.topic == TASKS:
            self._task(orjson.loads(received.value))
        elif received.topic == RESULTS:
            result = orjson.loads(received.value)
            self._answered.add((result["run_id"], result["task_id"]))
            if (result["run_id"], result["task_id"]) not in self._asked:
                self._wrong("BRG", f"a result for task {result['task_id']} that was never asked for")
        elif received.topic == UPDATES and received.value not in self._seen_updates:
            self._seen_updates.add(received.value)
            self._update(orjson.loads(received.value))

    @property
    def _asked(self) -> set[tuple[str, str]]:
        return self._world.asked

    def _task(self, task: Mapping[str, Any]) -> None:
        run_id, task_id = task["run_id"], task["task_id"]
        rows = [row for row in self._world.steps_of(run_id) if row["task_id"] == task_id]
        said = (run_id, task["agent_name"], orjson.dumps(task["input_data"], option=orjson.OPT_SORT_KEYS))
        if not rows:
            self._wrong("CMP", f"task {task_id} of {run_id} is published, and no row tells of it")
            return
        if any(row["input_data"] != task["input_data"] or row["agent_name"] != task["agent_name"] for row in rows):
            self._wrong("CMP", f"task {task_id} of {run_id} is not what its row says")
        if self._tasks.setdefault(task_id, said) != said:
            self._wrong("ID", f"task {task_id} is published with two contents")
        is_new = (run_id, task_id) not in self._asked
        if is_new and all(row["status"] == "COMPLETED" for row in rows):
            self._wrong("RES", f"task {task_id} of {run_id} is first published after its step was completed")
        self._world.asked.add((run_id, task_id))

    def _update(self, update: Mapping[str, Any]) -> None:
        path = update["metadata"].get("path")
        if path is None:
            return
        attempt = update["metadata"]["attempt"]
        told = self._updates.setdefault(update["run_id"], {}).setdefault((path, attempt), [])
        told.append(update["status"])

    # after every committed offset

    def on_offset(self, group: str, partition: tuple[str, int], before: int, after: int) -> None:
        world = self._world
        log = world.broker.logs[partition[0]][partition[1]]
        if after > len(log):
            self._wrong("OFF", f"{group} commits {after} of {partition}, which has {len(log)} messages")
        for received in log[before:after]:
            reason = self._undone(group, received)
            if reason is not None:
                self._wrong("OFF", f"{group} commits {partition}@{received.offset}, and {reason}")

    def _undone(self, group: str, received: Received) -> str | None:
        value = orjson.loads(received.value or b"null")
        run_id = value["run_id"]
        run = self._world.run(run_id)
        if group == BRIDGE_GROUP:
            key = (run_id, value["task_id"])
            rows = [row for row in self._world.steps_of(run_id) if row["task_id"] == key[1]]
            if key not in self._answered and all(row["status"] == "RUNNING" for row in rows):
                return f"task {key[1]} has no result"
            return None
        assert group == GROUP
        if received.topic == _EXECUTION:
            if run is None:
                return f"{run_id} has no row"
            if run["status"] == "PENDING" and run["generation"] == 0:
                return f"{run_id} has not begun"
        elif received.topic == _CANCELLATION:
            kept = self._world.row("early_cancellations", run_id) is not None
            if run is None and not kept:
                return f"the cancellation of {run_id} is not kept"
        elif run is not None and run["status"] == "RUNNING" and run["generation"] == 0:
            rows = [r for r in self._world.steps_of(run_id) if r["task_id"] == value["task_id"]]
            if any(row["status"] == "RUNNING" for row in rows):
                return f"the result of task {value['task_id']} is not applied"
        return None

    # at the end

    def at_the_end(self) -> None:
        world = self._world
        if (left := len(world.server.tables["outbox"].rows)) != 0:
            self._wrong("OUT", f"{left} entries stay in the outbox")
        if world.server.tables["timers"].rows:
            self._wrong("TIM", f"timers stay: {list(world.server.tables['timers'].rows)}")
        for run_id, planned in world.clients.started.items():
            run = world.run(run_id)
            if run is None:
                if run_id in world.clients.accepted:
                    self._wrong("CMP", f"{run_id} was accepted, and has no row")
                continue
            self._ended(run_id, run, planned)

    def _ended(self, run_id: str, run: Values, planned: Any) -> None:
        world = self._world
        if run["status"] not in ENDED:
            self._wrong("CMP", f"{run_id} has not ended: it is {run['status']}")
            return
        times = [run["created_at"], run["started_at"], run["completed_at"]]
        known = [moment for moment in times if moment is not None]
        if known != sorted(known) and not world.is_skewed:
            self._wrong("CMP", f"{run_id} has times out of order: {times}")
        current = {row["path"]: row for row in world.steps_of(run_id) if not row["superseded"]}
        latest: dict[str, Values] = {}
        for row in world.steps_of(run_id):
            if row["path"] not in latest or latest[row["path"]]["generation"] < row["generation"]:
                latest[row["path"]] = row
        for path, row in current.items():
            if row["status"] == "RUNNING":
                self._wrong("CMP", f"{path} of {run_id} is RUNNING in a run that is {run['status']}")
        self._told(run_id, latest)
        self._as_expected(run_id, run, planned, current)

    def _told(self, run_id: str, rows: Mapping[str, Values]) -> None:
        """The updates of each step end with what its row says, and begin with RUNNING unless it failed at once."""
        updates = self._updates.get(run_id, {})
        for path, row in rows.items():
            told = updates.get((path, row["attempt"]), [])
            if not told or told[-1] != row["status"]:
                self._wrong("OBS", f"{path} of {run_id} is {row['status']}, and the updates of it are {told}")

    def _as_expected(self, run_id: str, run: Values, planned: Any, rows: Mapping[str, Values]) -> None:
        world = self._world
        expected = outcome(planned.definition, planned.input_data, is_mended=world.is_mended(run_id))
        other = outcome(planned.definition, planned.input_data, is_mended=not world.is_mended(run_id))
        cancelled = world.last_act(run_id) == "cancel"
        allowed = {"CANCELLED"} if cancelled else {expected.status}
        if world.may_be_cancelled(run_id):
            allowed = {"CANCELLED", expected.status}
        if not (expected.is_certain and other.is_certain):
            allowed |= {"COMPLETED", "FAILED"}
        if run["status"] not in allowed:
            self._wrong(
                "OUT",
                f"{run_id} ended {run['status']}, expected {' or '.join(sorted(allowed))}: {run['error_message']}",
            )
            return
        if not (expected.is_certain and other.is_certain):
            return
        found = {path: (row["status"], row["input_data"], row["output_data"]) for path, row in rows.items()}
        if run["status"] != "CANCELLED" and found != expected.steps:
            paths = [p for p in found.keys() | expected.steps.keys() if found.get(p) != expected.steps.get(p)]
            path = min(paths)
            self._wrong("OUT", f"{path} of {run_id} is {found.get(path)}, expected {expected.steps.get(path)}")
        for path, (status, input_data, output) in found.items():
            if status == "COMPLETED" and run["status"] == "CANCELLED":
                wanted = [one.steps.get(path) for one in (expected, other)]
                if (status, input_data, output) not in wanted:
                    self._wrong("OUT", f"{path} of {run_id} is {found[path]}, expected one of {wanted}")
